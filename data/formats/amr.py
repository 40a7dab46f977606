"""Frames of an AMR file (RFC 4867, single channel), counted: FFmpeg takes microseconds for each."""

import mmap
import re
from pathlib import Path
from typing import NamedTuple

FREE_FRAMES = 1 << 12  # of any size; more have, on average, as many bytes as this:
FRAME_BYTES = 4
MANY_FRAMES = 1 << 18  # of a file that has more, the first so many may be enough to refuse it


class _Form(NamedTuple):
    """The mark of a file, the samples of a frame of 20 ms, and the bytes of each of 16 types."""

    mark: bytes
    samples: int
    sizes: tuple[int, ...]


FORMS = (
    _Form(b"#!AMR\n", 160, (13, 14, 16, 18, 20, 21, 27, 32, 6, *[1] * 7)),
    _Form(b"#!AMR-WB\n", 320, (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, *[1] * 6)),
)


def _frame(sizes: tuple[int, ...]) -> bytes:
    """Pattern of a frame: its type, which gives its size, is in the middle of the first byte."""
    forms = []
    for size in sorted(set(sizes), reverse=True):
        first = (b"\\x%02x" % byte for byte in range(256) if sizes[byte >> 3 & 15] == size)
        forms.append(b"[%s].{%d}" % (b"".join(first), size - 1))
    return b"(?:" + b"|".join(forms) + b")"


def _frames(sizes: tuple[int, ...], count: int) -> re.Pattern[bytes]:
    return re.compile(_frame(sizes) + b"{%d}+" % count, re.DOTALL)


# So many frames at once, and the rest one by one
PATTERNS = {form: [(count, _frames(form.sizes, count)) for count in (1024, 1)] for form in FORMS}


def amr_samples(path: Path, content: mmap.mmap) -> int | None:
    """Samples of an AMR file; None of another one.

    Raises:
        ValueError: the last frame is cut, or frames are so small that there is no sound in them.
    """
    form = next((form for form in FORMS if content[: len(form.mark)] == form.mark), None)
    if form is None:
        return None
    count, at = 0, len(form.mark)
    for several, frames in PATTERNS[form]:
        while found := frames.match(content, at):
            count, at = count + several, found.end()
            if count > MANY_FRAMES:
                _check_sizes(path, count, at)
    if at < len(content):
        raise ValueError(f"{path} is truncated: its last frame is cut")
    if count > FREE_FRAMES:
        _check_sizes(path, count, at)
    return count * form.samples


def _check_sizes(path: Path, count: int, size: int) -> None:
    if size < FRAME_BYTES * count:
        raise ValueError(f"{path} is damaged: {count} packets have {size} bytes")
