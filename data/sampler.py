"""The order of clips: a function of the seed and the epoch, known to the dataset too.

A worker that outlives the epoch does not learn from the trainer that a new one has begun. The
sampler runs in the main process, so it gives with each index the pass over the data that the clip
is drawn in: what the dataset draws for it depends on (seed, pass, index) only, for any number of
workers. The loader knows how far a training has come: a checkpoint counts the batches that were
trained on, not those that workers had prepared, and a resumed training goes on with the next one.

Both samplers are `DistributedSampler`s only because Lightning replaces all others when there are
several processes. They distribute the clips themselves.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from intaglio.data.transforms import generator_of


class PassSampler(DistributedSampler[tuple[int, int]]):
    """Indices of shuffled passes over a data set, each with the number of its pass.

    Epochs are consecutive parts of an endless sequence of shuffled passes. With the default size an
    epoch is exactly one pass; with another, every clip is still used equally often. Several
    processes take turns, a batch each, so that their batches together are one batch of a single
    process; what is left at the end of an epoch and does not suffice for all of them is left out.

    Args:
        count: clips in the data set.
        seed: of the shuffling.
        size: samples in an epoch, of all processes; one pass by default.
        epoch: the first epoch to give; each further iteration gives the next one, and the trainer
            may name one by `set_epoch`.
        batch_size: samples that a process takes at a time.
        rank: number of this process.
        num_processes: how many there are.

    Raises:
        ValueError: there is nothing to draw, or not one batch for every process.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int = 0,
        size: int | None = None,
        epoch: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        num_processes: int = 1,
    ) -> None:
        self.size = count if size is None else size
        if count < 1 or self.size < 1:
            raise ValueError(f"cannot draw {self.size} samples from {count} clips")
        self.num_batches = self.size // (batch_size * num_processes)
        if self.num_batches == 0:
            raise ValueError(
                f"an epoch of {self.size} samples holds no batch of {batch_size} for each of "
                f"{num_processes} processes"
            )
        self.count, self.seed, self.epoch = count, seed, epoch
        self.batch_size, self.rank, self.num_processes = batch_size, rank, num_processes
        self.skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration give this epoch; the one under way goes on."""
        self.epoch = epoch

    def seek(self, epoch: int, batches: int) -> None:
        """Let the next iteration give what is left of an epoch after some batches."""
        self.epoch, self.skipped = epoch, batches

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        first, self.skipped = self.skipped, 0
        return self._pairs(epoch * self.size, first)

    def _pairs(self, start: int, first: int) -> Iterator[tuple[int, int]]:
        for batch in range(first, self.num_batches):
            begin = start + (batch * self.num_processes + self.rank) * self.batch_size
            for position in range(begin, begin + self.batch_size):
                number, index = divmod(position, self.count)
                yield number, _shuffled(self.count, self.seed, number)[index]


class ShareSampler(DistributedSampler[int]):
    """Indices in their order, each in one process only; a process without any gets the first.

    Args:
        count: items of the data set.
        rank: number of this process.
        num_processes: how many there are.
    """

    def __init__(self, count: int, *, rank: int = 0, num_processes: int = 1) -> None:
        # what all processes report together must come from all: none may be without an item
        self.share = range(rank, count, num_processes) or range(min(count, 1))

    def __len__(self) -> int:
        return len(self.share)

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the order is always the same."""


class PassLoader(DataLoader[Any]):
    """Batches in the order of a `PassSampler`, from where a checkpoint stopped.

    Args:
        dataset: takes the pairs of the sampler.
        sampler: also sets the batch size.
        collate_fn: makes a batch of items.
        trained: epoch, and batches of it, that the training has finished.
        num_workers: processes that read.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: PassSampler,
        *,
        collate_fn: Callable[[list[Any]], Any],
        trained: Callable[[], tuple[int, int]],
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            collate_fn=collate_fn,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
        self.trained = trained

    def state_dict(self) -> dict[str, int]:
        """Where the training stands, for Lightning's checkpoints."""
        epoch, batches = self.trained()
        return {"epoch": epoch, "batches": batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there with the next iteration."""
        assert isinstance(self.sampler, PassSampler)
        self.sampler.seek(state["epoch"], state["batches"])


def trained_batches(trainer: Any) -> tuple[int, int]:
    """Epoch, and batches of it, that a Lightning trainer has finished training on."""
    total = trainer.fit_loop.epoch_loop.batch_progress.total.processed
    return divmod(total, int(trainer.num_training_batches))


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, number: int) -> list[int]:
    return torch.randperm(count, generator=generator_of(seed, number)).tolist()
