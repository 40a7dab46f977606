"""The order of clips: a function of the seed and the epoch, known to the dataset too.

A worker that outlives the epoch cannot be told by the trainer that a new one has begun. The sampler
runs in the main process, so it says with each index in which pass over the data the clip is drawn:
what the dataset draws for it depends on (seed, pass, index) only, for any number of workers.
"""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch.utils.data import Sampler

from intaglio.data.transforms import generator_of


class PassSampler(Sampler[tuple[int, int]]):
    """Indices of shuffled passes over a data set, each with the number of its pass.

    Epochs are stretches of one endless row of shuffled passes. With the default size an epoch is
    exactly one pass; with another, every clip is still used equally often.

    Args:
        count: clips in the data set.
        seed: of the shuffling.
        size: samples in an epoch; one pass by default.
        epoch: the first epoch to give; each further iteration gives the next one, and the trainer
            may name one by `set_epoch`.
    """

    def __init__(
        self, count: int, *, seed: int = 0, size: int | None = None, epoch: int = 0
    ) -> None:
        self.size = count if size is None else size
        if count < 1 or self.size < 1:
            raise ValueError(f"cannot draw {self.size} samples from {count} clips")
        self.count, self.seed, self.epoch = count, seed, epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration give this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._pairs(epoch * self.size)

    def _pairs(self, start: int) -> Iterator[tuple[int, int]]:
        for position in range(start, start + self.size):
            number, place = divmod(position, self.count)
            yield number, _shuffled(self.count, self.seed, number)[place]


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, number: int) -> list[int]:
    return torch.randperm(count, generator=generator_of(seed, number)).tolist()
