"""The parts of a PNM file that Pillow reads byte by byte: the header, and comments in the text."""

import itertools
import mmap
import re

SIGNATURE = re.compile(rb"P[0-6fy]")
MAX_HEADER = 1 << 16  # bytes
MAX_COMMENTS = 256
COMMENT = re.compile(rb"#[^\r\n]*")
BITS, TEXT = (b"P1", b"P4"), (b"P1", b"P2", b"P3")  # without a largest value; numbers as text


def check_pnm(content: mmap.mmap) -> None:
    """Look at the header and at comments; other files have neither.

    Raises:
        ValueError: the header is too long, or there are too many comments.
    """
    if SIGNATURE.match(content) is None:
        return
    words = COMMENT.sub(b"", content[:MAX_HEADER]).split(maxsplit=4)
    if len(words) < (3 if words[0] in BITS else 4) and len(content) > MAX_HEADER:
        raise ValueError(f"its header is longer than {MAX_HEADER} bytes")
    comments = itertools.islice(COMMENT.finditer(content), MAX_COMMENTS, None)
    if words[0] in TEXT and next(comments, None) is not None:
        raise ValueError(f"it has more than {MAX_COMMENTS} comments")
