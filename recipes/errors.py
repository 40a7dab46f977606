"""What a user did or met, told in one line; other errors are ours and keep their traceback."""

import errno

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError)

_ADVICE = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EACCES: "permission denied; choose another place or change its permissions",
    errno.EROFS: "it cannot be written to; choose another place",
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EISDIR: "it is a folder; give a file",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the path",
}


def explain(error: BaseException) -> str:
    """One line that says what happened, why, and what to do."""
    if isinstance(error, OSError) and error.errno is not None:
        reason = _ADVICE.get(error.errno, error.strerror or type(error).__name__)
        return _line(f"{error.filename}: {reason}" if error.filename else reason)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name} is not installed; `intaglio doctor` names what is missing"
    return _line(str(error)) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())
