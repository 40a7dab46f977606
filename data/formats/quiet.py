"""Keeps what libmpg123 remarks on damaged files off standard error: errors have one line.

libsndfile offers no way to switch it off. FFmpeg is silent through PyAV.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

REMARKS = re.compile(rb"^(\[src/libmpg123/.*|Note: .*|Warning: .*)?\n", re.MULTILINE)
_lock = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold standard error back, in all threads, and then write what is not by libmpg123."""
    with _lock, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        stack.callback(os.close, saved)
        if hasattr(os, "memfd_create"):
            held = os.memfd_create("stderr")
            stack.callback(os.close, held)
        else:
            held = stack.enter_context(tempfile.TemporaryFile()).fileno()
        os.dup2(held, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.lseek(held, 0, os.SEEK_SET)
            rest = b""
            while block := os.read(held, 1 << 20):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                os.write(2, REMARKS.sub(b"", whole + newline))
            os.write(2, rest)
