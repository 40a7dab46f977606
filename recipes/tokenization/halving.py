"""Work on as much at once as fits into memory: what does not fit is halved and done again.

A smaller batch, or a smaller block of a long signal, is remembered for what follows, and announced
once. Nothing else changes: the result is the one that the smaller size gives.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from intaglio.recipes.errors import is_out_of_memory, say

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
        self.size, self._least, self._unit = size, least, unit
        self._halved = self._announced = False

    def run(self, work: Callable[[float], Result]) -> Result:
        """``work(size)``, with smaller and smaller sizes until it fits.

        Raises:
            Exception: what the work raised: of memory, if not even the smallest size fits.
        """
        while True:
            try:
                result = work(self.size)
            except Exception as error:
                if not is_out_of_memory(error) or self.size <= self._least:
                    raise
            else:
                self._announce()
                return result
            self._halve(self.size)  # here, where the error no longer holds what had been made

    def map(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]
    ) -> Iterator[Result | Exception]:
        """Results of the items in order, computed in batches of at most the size.

        Where an item is the cause of an error, or does not fit alone, the error is its result.
        """
        start = 0
        while start < len(items):
            batch = items[start : start + max(1, int(min(self.size, len(items))))]
            results: Sequence[Result | Exception]
            try:
                results = work(batch)
            except Exception as error:
                # a new one: the old one holds, by its frames, what had been made
                results = [MemoryError(str(error)) if is_out_of_memory(error) else error]
            else:
                self._announce()
            if len(results) < len(batch):
                (fault,) = results
                assert isinstance(fault, Exception)
                if isinstance(fault, MemoryError):
                    self._halve(len(batch))
                    continue
                results = [result for item in batch for result in self.map([item], work)]
            yield from results
            start += len(batch)

    def _halve(self, size: float) -> None:
        self.size, self._halved = max(self._least, size / 2), True
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _announce(self) -> None:
        """Say once that memory is short, as soon as a size fits."""
        if self._halved and not self._announced:
            self._announced = True
            say(f"memory is short: it goes on with {self.size:g} {self._unit}")
