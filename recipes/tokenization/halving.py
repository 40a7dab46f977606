"""Work on as much at once as fits into memory: what does not fit is halved and done again.

A smaller batch, or a smaller block of a long signal, is remembered for what follows, and announced
once. Nothing else changes: the result is the one that the smaller size gives.
"""

import ctypes
import gc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from intaglio.recipes.errors import is_out_of_memory, say

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h: larger blocks are the system's, not the heap's

Item = TypeVar("Item")
Result = TypeVar("Result")


class Halving:
    """A size that is halved whenever memory runs out.

    Args:
        size: at first.
        least: smallest that is tried.
        unit: what is counted, for the message: "images at once".

    Attributes:
        size: at present.
    """

    def __init__(self, size: float, *, least: float, unit: str) -> None:
        self.size, self._first, self._least, self._unit = size, size, least, unit
        self._announced = False

    def run(self, work: Callable[[float], Result]) -> Result:
        """``work(size)``, with smaller and smaller sizes until it fits.

        Raises:
            Exception: what the work raised: of memory, if not even the smallest size fits.
        """
        before = self.size
        while True:
            try:
                result = work(self.size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self.size <= self._least:
                    self.size = before  # the size is not what was too large
                    raise
            else:
                self._announce()
                return result
            self._shrink(self.size / 2)  # here, where the error no longer holds what had been made

    def map(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> Iterator[Result | Exception]:
        """Results of the items in order, computed in batches of at most the size.

        Where an item is the cause of an error, or does not fit alone, the error is its result.
        """
        start, before = 0, self.size
        while start < len(items):
            batch = items[start : start + max(1, int(min(self.size, len(items))))]
            results: Sequence[Result] = ()
            fault: Exception | None = None
            try:
                results = work(batch)
            except Exception as error:
                # a new one: the old one holds, by its frames, what had been made
                fault = MemoryError(str(error)) if is_out_of_memory(error) else error
            if fault is None:
                assert len(results) == len(batch)
                self._announce()
                before = self.size
                yield from results
            elif len(batch) == 1:
                self.size = before
                yield fault
            elif isinstance(fault, MemoryError):
                self._shrink(len(batch) // 2)
                continue
            else:
                for item in batch:
                    yield from self.map([item], work)
            start += len(batch)

    def _shrink(self, size: float) -> None:
        self.size = max(self._least, size)
        _give_back()

    def _announce(self) -> None:
        """Say once that memory is short, as soon as a smaller size fits."""
        if self.size < self._first and not self._announced:
            self._announced = True
            unit = re.sub(r"^(\w+)s\b", r"\1", self._unit) if self.size == 1 else self._unit
            say(f"memory is short: it goes on with {self.size:g} {unit}")


def _give_back() -> None:
    """Return to the system, or the device, what is free already, and large blocks from now on."""
    gc.collect()
    library: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):  # glibc keeps freed blocks
        library.mallopt(M_MMAP_THRESHOLD, 1 << 20)
        library.malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
