"""Tokens that `intaglio tokenize` made, in memory, for training generators: shards to batches."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from intaglio.data.formats.named import named
from intaglio.data.formats.printable import counted
from intaglio.data.formats.regular_file import visible_files
from intaglio.data.formats.shards import SUFFIX, check_list, read_shard
from intaglio.data.formats.tokens import TokenFileError, TokenHeader, read_tokens
from intaglio.data.image import UNKNOWN
from intaglio.data.manifest import Record, Side, record_of, source_key, split_of
from intaglio.data.modules import Sided
from intaglio.data.pictures import classes_of
from intaglio.data.transforms import generator_of


class TokenSource(NamedTuple):
    """Where tokens come from; the same of all items of a set.

    Attributes:
        codec: name of the codec.
        fingerprint: of the codec.
        vocab: sizes of the codebooks of the groups.
        shape: rows and columns, or the number of positions alone if they are no grid.
        any_length: whether items have different numbers of positions; ``shape`` is that of the
            longest.
    """

    codec: str
    fingerprint: str
    vocab: tuple[int, ...]
    shape: tuple[int, ...]
    any_length: bool = False


class TokenItem(NamedTuple):
    """One item of a batch: int64 [positions, groups], and what is known of it."""

    tokens: Tensor
    label: int
    caption: str
    path: str


class _Entry(NamedTuple):
    """All views of one item, each [positions, groups] in a small integer type."""

    views: list[Tensor]
    record: Record


class TokenItems(Dataset[TokenItem]):
    """First views; or, by (pass, index), a view drawn from the seed, the pass and the index.

    Args:
        entries: the items.
        labels: number of each class by the path of a record.
        seed: of what is drawn.
    """

    def __init__(self, entries: Sequence[_Entry], labels: dict[str, int], seed: int = 0) -> None:
        self.entries, self.labels, self.seed = entries, labels, seed

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, key: int | tuple[int, int]) -> TokenItem:
        number, index = (None, key) if isinstance(key, int) else key
        views, record = self.entries[index]
        view = 0
        if number is not None and len(views) > 1:
            generator = generator_of(self.seed, number, index)
            view = int(torch.randint(len(views), (1,), generator=generator))
        label = self.labels.get(record.path, UNKNOWN)
        return TokenItem(views[view].long(), label, record.text, record.path)


def collate_tokens(items: list[TokenItem]) -> dict[str, Any]:
    """Batch ``tokens`` [batch, positions, groups], ``label`` [batch], ``caption`` and ``path``."""
    tokens, labels, captions, paths = zip(*items, strict=True)
    return {
        "tokens": torch.stack(tokens),
        "label": torch.tensor(labels),
        "caption": list(captions),
        "path": list(paths),
    }


def collate_sequences(items: list[TokenItem]) -> dict[str, Any]:
    """As `collate_tokens`, of items of any length: zeros behind them, and ``mask``.

    The mask, bool [batch, positions], is True where an item has a position.
    """
    tokens = [item.tokens for item in items]
    padded = pad_sequence(tokens, batch_first=True)
    lengths = torch.tensor([len(ids) for ids in tokens])
    batch = collate_tokens([item._replace(tokens=tokens[0]) for item in items])
    return batch | {
        "tokens": padded,
        "mask": torch.arange(padded.shape[1]) < lengths.unsqueeze(1),
    }


class TokenShards(Sided):
    """Tokens from shards; every view of an image falls on the same side of the split.

    Batches are dictionaries of ``tokens``, int64 [batch, positions, groups]; ``label``, int64
    [batch], the number of an item's class in `classes`, or -1; and the lists ``caption`` and
    ``path``. If items have different numbers of positions, the shorter ones end in zeros, and
    ``mask``, bool [batch, positions], tells where the positions of each are. Training takes one
    view of each item in an epoch, drawn by the seed and the epoch; validation takes the first.
    Items of one source, or with the same caption, are on one side.

    Args:
        root: a folder of shards.
        batch_size: items in a batch of each process; incomplete training batches are dropped.
        num_workers: processes that read; 0 is best, as all tokens are in memory.
        validation_share: share of the sources kept for validation.
        test_share: share of the sources kept for the test.
        seed: of split, order and views.
        samples_per_epoch: images in an epoch; by default all for training, at least one batch.

    Attributes:
        classes: names of the classes, sorted; from `setup` on.
        source: of the tokens; from `setup` on.

    Raises:
        ValueError: in `setup`: no shards, a damaged one, tokens of several codecs, or of grids of
            several shapes, none for training.
    """

    collate_training = staticmethod(collate_tokens)
    collate_whole = staticmethod(collate_tokens)

    def __init__(
        self,
        root: str,
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        validation_share: float = 0.05,
        test_share: float = 0.05,
        seed: int = 0,
        samples_per_epoch: int | None = None,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            samples_per_epoch=samples_per_epoch,
        )
        self.root = root
        self.shares = (validation_share, test_share)
        self.classes: list[str] = []
        self.labels: dict[str, int] = {}
        self.source: TokenSource | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read and split the tokens, once."""
        if self.source is not None:
            return
        source, entries = read_token_set(named(self.root, "folder of token shards"))
        of_path = classes_of([entry.record for entry in entries])
        self.classes = sorted(set(of_path.values()) - {""})
        number = {name: label for label, name in enumerate(self.classes)}
        self.labels = {path: number[name] for path, name in of_path.items() if name}
        sides: dict[Side, list[_Entry]] = {"train": [], "validation": [], "test": []}
        for entry in entries:
            sides[split_of(source_key(entry.record), self.shares, self.seed)].append(entry)
        items = counted(len(entries), "item")
        if not sides["train"]:
            raise ValueError(f"none of {items} of {self.root} is for training")
        self.source, self.readers = source, sides
        texts = sum(bool(entry.record.text.strip()) for entry in entries)
        self.found = (
            f"{self.root}: {items} of {source.codec}, "
            f"{counted(len(self.classes), 'class', 'classes')}, {texts} with a text"
        )
        if source.any_length:
            self.collate_training = self.collate_whole = collate_sequences

    def conditions(self) -> tuple[tuple[int, ...], int]:
        """Items for training of each class, and items for training with a text."""
        records = [entry.record for entry in self.readers["train"]]
        labels = [self.labels[record.path] for record in records if record.path in self.labels]
        counts = torch.bincount(
            torch.tensor(labels, dtype=torch.int64), minlength=len(self.classes)
        )
        return tuple(counts.tolist()), sum(bool(record.text.strip()) for record in records)

    def training_tokens(self) -> Tensor:
        """First views of all items for training.

        Returns:
            int64 [items, positions, groups]; of items of any length [tokens of all items, groups].
        """
        views = [entry.views[0] for entry in self.readers["train"]]
        assert self.source is not None
        return (torch.cat(views) if self.source.any_length else torch.stack(views)).long()

    def training_items(self, reader: list[_Entry]) -> TokenItems:
        """A view of each image."""
        return TokenItems(reader, self.labels, self.seed)

    def whole_items(self, reader: list[_Entry]) -> TokenItems:
        """The first views."""
        return TokenItems(reader, self.labels)


def read_token_set(folder: Path) -> tuple[TokenSource, list[_Entry]]:
    """Where the tokens of a folder of shards come from, and all of them, item by item.

    Raises:
        ValueError: no shards, a damaged one, or tokens that differ in codec or, of grids, in shape.
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of token shards")
    check_list(folder)
    shards = [path for path in visible_files(folder) if path.suffix == SUFFIX]
    source: TokenSource | None = None
    views: dict[str, list[Tensor]] = {}
    records: dict[str, Record] = {}
    for shard in shards:
        for sample in read_shard(shard):
            if "intaglio" not in sample.files:
                raise ValueError(f"{shard}: {sample.key} has no tokens; make some with tokenize")
            try:
                header, ids = read_tokens(io.BytesIO(sample.files["intaglio"]))
            except TokenFileError as error:
                raise ValueError(f"{shard}: {sample.key}: {error}") from error
            found = _source(header, len(ids))
            source = source or found
            if found != source:
                if _without_length(found) != _without_length(source):
                    raise ValueError(
                        f"{shard}: {sample.key} is of {_described(found)}, others of "
                        f"{_described(source)}; a set has one codec, and grids of one shape"
                    )
                longest = max(found.shape, source.shape)
                source = source._replace(shape=longest, any_length=True)
            try:
                record = _record(sample.files, _image_key(sample.key, header))
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(f"{shard}: {sample.key}: a damaged record: {error}") from error
            records[record.path] = record
            views.setdefault(record.path, []).append(ids.to(_small(header.vocab)))
    if source is None:
        raise ValueError(f"there are no token shards in {folder}; make some with tokenize")
    return source, [_Entry(views[path], records[path]) for path in views]


def _source(header: TokenHeader, positions: int) -> TokenSource:
    picture = header.picture
    grid = picture is not None and picture.rows > 0
    shape = (picture.rows, picture.columns) if picture is not None and grid else (positions,)
    return TokenSource(header.codec, header.fingerprint, header.vocab, shape)


def _without_length(source: TokenSource) -> TokenSource:
    """A source without the length of its items, which sequences may differ in."""
    shape = source.shape if len(source.shape) > 1 else (0,)
    return source._replace(shape=shape, any_length=False)


def _described(source: TokenSource) -> str:
    shape = " x ".join(map(str, source.shape))
    return f"{source.codec} {source.fingerprint[:12]} ({shape})"


def _image_key(key: str, header: TokenHeader) -> str:
    """Key of the image that a sample is a view of."""
    return key.rpartition("-")[0] if "view" in header.extras else key


def _record(files: dict[str, bytes], key: str) -> Record:
    """The record of a sample; without one its path is its key."""
    given = json.loads(files.get("json", b"{}"))
    if not isinstance(given, dict):
        raise ValueError(f"its JSON is no object, but {given!r:.40}")
    known = {name: value for name, value in given.items() if value is not None}
    if "txt" in files:
        known.setdefault("text", files["txt"].decode().strip())
    return record_of({"path": key} | known)


def _small(vocab: Sequence[int]) -> torch.dtype:
    largest = max(vocab)
    if largest <= 1 << 15:
        return torch.int16
    return torch.int32 if largest <= 1 << 31 else torch.int64
