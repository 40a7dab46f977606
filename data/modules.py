"""What all data modules share: loaders that resume exactly, and files split by their source."""

import logging
from collections.abc import Callable, Collection, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from intaglio.data.formats.printable import counted, first_of
from intaglio.data.listing import Damage, find_all
from intaglio.data.manifest import Record, Side, source_key, split_of
from intaglio.data.sampler import PassLoader, PassSampler, ShareSampler, trained_batches

logger = logging.getLogger(__name__)


class Loading(LightningDataModule):
    """Base of the data modules: distributes items over processes, and resumes where it stopped.

    Args:
        batch_size: items in a batch of each process.
        num_workers: processes that read; 0 reads in the main one.
        seed: of the order.

    Raises:
        ValueError: no items in a batch, or a negative number of workers.
    """

    def __init__(self, *, batch_size: int, num_workers: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"cannot batch {batch_size} items read by {num_workers} workers")
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    def in_passes(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Any],
        *,
        count: int,
        size: int | None = None,
    ) -> DataLoader[Any]:
        """Loader of shuffled batches; its sampler starts in the epoch in which the trainer is.

        Args:
            dataset: takes pairs of pass and index.
            collate: makes a batch of items.
            count: items of the data set.
            size: samples in an epoch, of all processes; one pass if None.
        """
        rank, num_processes = self.rank()
        sampler = PassSampler(
            count,
            seed=self.seed,
            size=size,
            epoch=self.trainer.current_epoch if self.trainer is not None else 0,
            batch_size=self.batch_size,
            rank=rank,
            num_processes=num_processes,
        )
        return PassLoader(
            dataset,
            sampler,
            collate_fn=collate,
            trained=lambda: trained_batches(self.trainer),
            num_workers=self.num_workers,
        )

    def in_order(
        self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]
    ) -> DataLoader[Any]:
        """Loader of all items in their order, each in one process only."""
        rank, num_processes = self.rank()
        assert isinstance(dataset, Sized)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=ShareSampler(len(dataset), rank=rank, num_processes=num_processes),
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def summary(self) -> str:
        """What there is to train on, in a line; from `setup` on."""
        return type(self).__name__

    def rank(self) -> tuple[int, int]:
        """Number of this process and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)


class Sided(Loading):
    """Base of the data modules whose items are on sides: for training, validation or the test.

    Args:
        batch_size: items in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read.
        seed: of the order, and of what a sub-class draws.
        samples_per_epoch: items in an epoch; by default as many as there are for training, but at
            least one batch.

    Attributes:
        readers: of the items of each side, with their number as length; from `setup` on.
        collate_training: batch of items for training.
        collate_whole: batch of items for validation.
    """

    # plain functions, as `staticmethod`: a worker process is sent them without the module
    collate_training: Callable[[list[Any]], dict[str, Any]]
    collate_whole: Callable[[list[Any]], dict[str, Any]]

    def __init__(
        self, *, batch_size: int, num_workers: int, seed: int, samples_per_epoch: int | None
    ) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.samples_per_epoch, self.found = samples_per_epoch, ""
        self.readers: dict[Side, Any] = {}

    def summary(self) -> str:
        """See `Loading.summary`."""
        counts = [len(self.readers[side]) for side in ("train", "validation", "test")]
        return "{}: {} to train on, {} for validation, {} for the test".format(self.found, *counts)

    def training_items(self, reader: Any) -> Dataset[Any]:
        """Items for training, by pairs of pass and index."""
        raise NotImplementedError

    def whole_items(self, reader: Any) -> Dataset[Any]:
        """Items for validation, by index."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches for training."""
        reader = self.readers["train"]
        _, num_processes = self.rank()
        return self.in_passes(
            self.training_items(reader),
            self.collate_training,
            count=len(reader),
            size=self.samples_per_epoch or max(len(reader), self.batch_size * num_processes),
        )

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Batches of whole items; no loader if nothing was kept for validation."""
        return self._whole("validation")

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Batches of whole items; no loader if nothing was kept for the test."""
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Batches of all items, whatever side of the split they are on."""
        items = [self.whole_items(reader) for reader in self.readers.values() if len(reader)]
        return self.in_order(ConcatDataset(items), self.collate_whole)

    def _whole(self, side: Side) -> list[DataLoader[Any]]:
        reader = self.readers[side]
        if len(reader) == 0:
            if self.trainer is not None and self.trainer.state.fn in ("validate", "test"):
                raise ValueError(
                    f"no item of the data is on the {side} side of the split: give a larger "
                    f"data.{side}_share, or more data"
                )
            return []
        return [self.in_order(self.whole_items(reader), self.collate_whole)]


class Folder(Sided):
    """Base of the data modules over the files of any folder, manifest or fetched set.

    A sub-class defines how its files are checked and read. Files of one source fall on the same
    side of the split. Files that cannot be read are named with the reason and replaced by others.

    Args:
        root: a folder searched at any depth, a ``.jsonl`` manifest (a folder's ``manifest.jsonl``
            counts as one), or the name of a set fetched with ``intaglio data get``; or a list of
            them.
        batch_size: items in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read.
        shares: of the sources, for validation and for the test.
        seed: of split, order and all that is drawn.
        max_bad_share: share of files that may be damaged before the run stops.
        samples_per_epoch: items in an epoch; by default as many as there are files for training,
            but at least one batch.

    Attributes:
        kind: of the files, as a set names it: "audio" or "image".
        noun: what one of them is called in messages.
        suffixes: of the files to take from a folder.
    """

    kind: str
    noun: str
    suffixes: Collection[str]

    def __init__(
        self,
        root: str | list[str],
        *,
        batch_size: int,
        num_workers: int,
        shares: tuple[float, float],
        seed: int,
        max_bad_share: float,
        samples_per_epoch: int | None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            samples_per_epoch=samples_per_epoch,
        )
        self.roots = [root] if isinstance(root, str) else root
        self.shares, self.max_bad_share = shares, max_bad_share
        self.damage: Damage | None = None

    def setup(self, stage: str | None = None) -> None:
        """Find, check and split the files, once; with a cache, also decode them.

        Raises:
            ValueError: none of the kind, none for training, too many damaged ones.
            FileNotFoundError: nothing at ``root``.
        """
        if self.damage is not None:
            return
        folder, records = find_all(self.roots, self.suffixes, kind=self.kind)
        damage = Damage(len(records), self.max_bad_share)
        files = self.scanned(folder, records, damage)
        damage.check()
        kept, left_out = self.chosen(files)
        sides: dict[Side, list[Any]] = {"train": [], "validation": [], "test": []}
        for file in kept:
            sides[self.side_of(file.record)].append(file)
        readers = {side: self.reader(members, damage) for side, members in sides.items()}
        damage.check()
        if len(damage):
            logger.warning("%s", damage.summary())
        if left_out:
            logger.warning("left out: %s", left_out)
        if len(readers["train"]) == 0:
            reasons = [counted(len(records), "file"), f"{len(damage)} damaged", left_out]
            others = len(sides["validation"]) + len(sides["test"])
            raise ValueError(
                f"no {self.noun} for training in {', '.join(self.roots)}: "
                f"{', '.join(filter(None, reasons))}, "
                f"{others} kept for validation and test"
            )
        self.readers, self.damage = readers, damage
        self.found = (
            f"{', '.join(self.roots)}: {counted(sum(map(len, readers.values())), self.noun)}"
            f"{self.amount(kept)}, {len(damage)} damaged, {len(files) - len(kept)} left out"
        )

    def side_of(self, record: Record) -> Side:
        """Side of the split that an item is on."""
        return split_of(source_key(record), self.shares, self.seed)

    def scanned(self, folder: Path, records: Sequence[Record], damage: Damage) -> list[Any]:
        """Files whose headers can be read, with their ``record``; ``damage`` has the others."""
        raise NotImplementedError

    def chosen(self, files: list[Any]) -> tuple[list[Any], str]:
        """The files to use, and what was left out for which reason; "" if nothing was."""
        return files, ""

    def kept(
        self, files: list[Any], wanted: Callable[[Any], bool], why_not: str
    ) -> tuple[list[Any], str]:
        """For `chosen`: the files that are wanted, and how many others there are, and which."""
        others = [file.record.path for file in files if not wanted(file)]
        reason = f"{len(others)} {why_not} ({first_of(others)})" if others else ""
        return [file for file in files if wanted(file)], reason

    def amount(self, files: list[Any]) -> str:
        """How much is in the files, besides their number, for a message."""
        return ""

    def reader(self, files: list[Any], damage: Damage) -> Any:
        """What reads the files of one side of the split; its length is their number."""
        raise NotImplementedError

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Stop the run when the workers have met too many damaged files."""
        if self.damage is not None:
            self.damage.check()
        return batch
