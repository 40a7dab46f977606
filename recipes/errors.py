"""Errors that a user can cause or meet, in one line, and how lines are printed.

An error of another class is ours and keeps its traceback, unless it concerns one of several files:
then it is a line as well, and the others go on.
"""

import errno
import os
import re
import sys
import traceback
from pathlib import Path

from intaglio.data.formats.printable import printable


class WrongUsage(ValueError):
    """The words of a command line do not fit, whatever is in the files: the exit status is 2."""


USER_ERRORS = (ValueError, OSError, ModuleNotFoundError)
TRACEBACK = "INTAGLIO_TRACEBACK"  # if set to anything but 0, tracebacks are shown
MAX_REASON = 300  # characters of an error that is ours

# the beginning of a list of reasons by jsonargparse, with an indented one for each type
NO_TYPE_FITS = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?Errors:\n( +)- (.*)", re.DOTALL
)
_ADVICE = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EACCES: "permission denied; choose another path or change its permissions",
    errno.EROFS: "it cannot be written to; choose another path",
    errno.ENOSPC: "the disk is full; free some space and {again}",
    errno.EDQUOT: "the disk quota is used up; free some space and {again}",
    errno.EISDIR: "it is a folder; give a file",
    errno.ENOTDIR: "a part of its path is a file, not a folder; check the path",
}
# What PyTorch and its libraries say, on a CPU and on other devices; NumPy has MemoryError.
_NO_MEMORY = re.compile(
    "out of memory|can't allocate memory|cannot allocate memory|not enough memory|bad_alloc"
    "|failed to allocate|_ALLOC_FAILED|could not create a (?:primitive|memory)",
    re.IGNORECASE,
)
# What Python's own readers say, in words for who runs a command
_PLAIN = {
    r"maximum recursion depth exceeded[\w ]*": "it is nested too deeply",
    r"Exceeds the limit \(\d+ digits\) .* increase the limit": "a number has too many digits",
    r"'utf-8' codec can't decode .*": "it is not UTF-8 text",
}
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the next file would fare no better


def explain(error: BaseException, *, again: str = "run the command again") -> str:
    """One line, safe to print: what happened, why, and what to do.

    Args:
        error: what happened.
        again: how to repeat the command once the cause is mended.
    """
    if is_out_of_memory(error):
        return (
            "there is not enough memory; free some, take a machine or device that has more, or "
            "make the input smaller"
        )
    if isinstance(error, OSError) and error.errno is not None:
        reason = _ADVICE.get(error.errno, error.strerror or type(error).__name__)
        reason = reason.replace("{again}", again)
        return _line(f"{error.filename}: {reason}" if error.filename else reason)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package {error.name} is not installed; `intaglio doctor` names what is missing"
    text = _line(_first_reason(str(error)))
    if isinstance(error, USER_ERRORS):
        return text or type(error).__name__
    short = text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def explain_file(file: str | Path, error: BaseException) -> str:
    """As `explain`, of an error that concerns a file; the line names it."""
    name, reason = printable(str(file)), explain(error)
    return reason if name in reason else f"{name}: {reason}"


def of_file(file: str | Path, error: Exception) -> Exception:
    """The error if it is a user's and its line names the file; else one of which both is true."""
    reason = explain_file(file, error)
    if isinstance(error, USER_ERRORS) and reason == explain(error):
        return error
    return type(error)(reason) if isinstance(error, OSError) else ValueError(reason)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, of the machine or of a device, could not be allocated."""
    if error.__cause__ is not None and is_out_of_memory(error.__cause__):
        return True
    if isinstance(error, RuntimeError):
        named = type(error).__name__ == "OutOfMemoryError"  # of torch, which is not imported here
        return named or _NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def ends_a_job(error: BaseException) -> bool:
    """Whether the other files would fail as well: the disk is full or cannot be written to."""
    return isinstance(error, OSError) and error.errno in _HOPELESS


def say(line: str) -> None:
    """Print a line to standard error, safe for a terminal, and above the progress bars on it."""
    from tqdm import tqdm  # a tenth of a second, which `intaglio --help` need not wait for

    tqdm.write(f"intaglio: {printable(line)}", file=sys.stderr)


def show_traceback(error: BaseException) -> None:
    """Print the traceback of an error if the user has asked for tracebacks."""
    if os.environ.get(TRACEBACK, "0") != "0":
        traceback.print_exception(error)


def _first_reason(text: str) -> str:
    """If a value fits none of several types: why not the first, which is the one that is meant."""
    while match := NO_TYPE_FITS.search(text):
        indent, rest = match.groups()
        others = re.search(rf"\n(?:{indent}- |\s*Given value)", rest)
        text = text[: match.start()] + (rest[: others.start()] if others else rest)
    return text


def _line(text: str) -> str:
    text = " ".join(text.split())
    for pattern, words in _PLAIN.items():
        text = re.sub(pattern, words, text)
    return printable(text)
