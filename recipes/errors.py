"""Errors that a user can cause or meet, in one line; all others are ours and keep a traceback."""

import errno
import re

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError)

# the beginning of a list of reasons by jsonargparse, with an indented one for each type
NO_TYPE_FITS = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?Errors:\n( +)- (.*)", re.DOTALL
)
_ADVICE = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EACCES: "permission denied; choose another path or change its permissions",
    errno.EROFS: "it cannot be written to; choose another path",
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EISDIR: "it is a folder; give a file",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the path",
}


def explain(error: BaseException) -> str:
    """One line: what happened, why, and what to do."""
    if isinstance(error, OSError) and error.errno is not None:
        reason = _ADVICE.get(error.errno, error.strerror or type(error).__name__)
        return _line(f"{error.filename}: {reason}" if error.filename else reason)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name} is not installed; `intaglio doctor` names what is missing"
    return _line(_first_reason(str(error))) or type(error).__name__


def _first_reason(text: str) -> str:
    """If a value fits none of several types: why not the first, which is the one that is meant."""
    while match := NO_TYPE_FITS.search(text):
        indent, rest = match.groups()
        others = re.search(rf"\n(?:{indent}- |\s*Given value)", rest)
        text = text[: match.start()] + (rest[: others.start()] if others else rest)
    return text


def _line(text: str) -> str:
    return " ".join(text.split())
