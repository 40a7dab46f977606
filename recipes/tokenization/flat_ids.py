"""Token files as plain sequences of ids for language models: a NumPy array or a Parquet table.

The groups of a position follow one another. An id of group g counts from the sum of the
vocabularies before g, so that every group has ids of its own; one more id marks the end of an item.
"""

import importlib.util
import io
import json
import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from intaglio.data.formats.atomic import replacing, replacing_set
from intaglio.data.formats.named import named
from intaglio.data.formats.regular_file import regular_file, visible_files
from intaglio.data.formats.shards import SUFFIX as SHARD
from intaglio.data.formats.shards import check_list, read_shard, row_path
from intaglio.data.formats.tokens import SUFFIX as TOKENS
from intaglio.data.formats.tokens import TokenHeader, read_tokens

FORMATS = (".npy", ".parquet")
ROWS = 1000  # of a row group


class FlatItem(NamedTuple):
    """One item: its key, int64 ids [positions · groups], and what is known of it."""

    key: str
    ids: NDArray[np.int64]
    about: dict[str, Any]


class Vocabulary(NamedTuple):
    """The ids of a codec as those of a language model.

    Attributes:
        codec: its name.
        fingerprint: likewise.
        vocab: ids of each group.
    """

    codec: str
    fingerprint: str
    vocab: tuple[int, ...]

    @property
    def offsets(self) -> list[int]:
        """What is added to the ids of each group."""
        return [0, *accumulate(self.vocab)][:-1]

    @property
    def end(self) -> int:
        """The id after the last of an item."""
        return sum(self.vocab)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **self._asdict(),
            "offsets": self.offsets,
            "end": self.end,
            "vocab_size": self.end + 1,
        }


def check_installed(suffix: str) -> None:
    """Ask for what a format needs before any work.

    Raises:
        ValueError: there is no such format.
        ModuleNotFoundError: Parquet needs pyarrow.
    """
    if suffix not in FORMATS:
        raise ValueError(f"ids are written to a file .npy or .parquet, not {suffix or 'none'}")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ModuleNotFoundError("Parquet needs pyarrow: pip install 'intaglio[parquet]'")


def flat_items(source: str | Path) -> tuple[Vocabulary, Iterator[FlatItem]]:
    """The vocabulary and all items of a token file, a shard, or a folder of either.

    Raises:
        FileNotFoundError: there is nothing of the kind.
        ValueError: shards are missing or of several sets; or a file is damaged, or of another codec
            than the first, when it is reached.
    """
    path = named(source, "token file or folder")
    paths = [path]
    if path.is_dir():
        check_list(path)
        paths = [file for file in visible_files(path) if file.suffix in (SHARD, TOKENS)]
    if not paths:
        raise FileNotFoundError(f"{path}: there are no token files ({TOKENS}) or shards ({SHARD})")
    found = _items(paths, path)
    first = next(found, None)
    if first is None:
        raise ValueError(f"{path}: the shards have no token files")
    header = first[0]
    vocabulary = Vocabulary(header.codec, header.fingerprint, tuple(header.vocab))

    def flat() -> Iterator[FlatItem]:
        yield first[1]
        for other, item in found:
            if other.fingerprint != header.fingerprint:
                raise ValueError(
                    f"{item.key} was made with {other.codec} ({other.fingerprint}), those before "
                    f"with {header.codec} ({header.fingerprint}); give folders of one codec"
                )
            yield item

    return vocabulary, flat()


def write_ids(source: str | Path, target: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write all ids of token files or shards to a ``.npy`` or ``.parquet`` file.

    A ``.npy`` file is one unsigned array of all items, each followed by `Vocabulary.end`, with its
    record in a JSON file next to it. A ``.parquet`` file has a row for each item, with the columns
    ``key``, ``ids`` and ``about`` (JSON text), and the record under ``intaglio`` in its metadata.

    Args:
        source: as in `flat_items`.
        target: the file to write.
        overwrite: replace files that exist.

    Returns:
        The record: codec, vocabulary, offsets, and numbers of items and ids.

    Raises:
        FileExistsError: a file to write exists.
        OSError, ValueError: as `flat_items`, or a file to write would take the place of an input;
            nothing half-written is left.
        ModuleNotFoundError: Parquet needs pyarrow.
    """
    target = Path(target)
    check_installed(target.suffix)
    _check_outputs(Path(source), target, overwrite=overwrite)
    vocabulary, items = flat_items(source)
    if target.suffix == ".parquet":
        with replacing(target) as part:
            return vocabulary.record() | _write_parquet(part, items, vocabulary)
    with replacing_set(target.parent) as new:
        with (new / target.name).open("wb") as file:
            record = vocabulary.record() | _write_npy(file, items, vocabulary.end)
        text = json.dumps(record, indent=2) + "\n"
        (new / target.name).with_suffix(".json").write_text(text, encoding="utf-8")
    return record


def _check_outputs(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raise FileExistsError or ValueError if a file may not be written."""
    outputs = [target, *([target.with_suffix(".json")] if target.suffix == ".npy" else [])]
    for path in outputs:
        shard = path.with_suffix(SHARD)
        if path == row_path(shard) and shard.exists():
            raise ValueError(f"{path} is for the row of the shard {shard}; choose another output")
        if path.exists() and source.exists() and path.samefile(source):
            raise ValueError(f"{path} is the input itself; choose another output")
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is a folder, a device or a pipe, not a file")
        if os.path.lexists(path) and not overwrite:
            raise FileExistsError(f"{path} exists; choose another output, or add --overwrite")


def _items(paths: Sequence[Path], root: Path) -> Iterator[tuple[TokenHeader, FlatItem]]:
    for path in paths:
        if path.suffix != SHARD:
            key = path.relative_to(root) if path != root else Path(path.name)
            with regular_file(path, "a token file") as (file, _):
                yield _item(file, key.with_suffix("").as_posix(), str(path), {})
            continue
        for sample in read_shard(path):
            if TOKENS[1:] in sample.files:
                where = f"{path}, {sample.key}{TOKENS}"
                try:
                    about = json.loads(sample.files.get("json", b"{}"))
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{where}: a damaged record: {error}") from error
                yield _item(io.BytesIO(sample.files[TOKENS[1:]]), sample.key, where, about)


def _item(
    file: BinaryIO, key: str, where: str, about: dict[str, Any]
) -> tuple[TokenHeader, FlatItem]:
    try:
        header, ids = read_tokens(file)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    offsets = torch.tensor([0, *accumulate(header.vocab)][:-1])
    return header, FlatItem(key, (ids.long() + offsets).flatten().numpy(), about)


def _utf8(text: str) -> str:
    """The text with what no UTF-8 can hold, bytes of file names, as in Python and JSON."""
    return text.encode("utf-8", "backslashreplace").decode()


def _write_npy(file: BinaryIO, items: Iterator[FlatItem], end: int) -> dict[str, int]:
    kind = np.dtype("<u2" if end < 1 << 16 else "<u4" if end < 1 << 32 else "<u8")
    count = total = 0

    def head(length: int) -> None:  # NumPy leaves room for any length in it
        fields = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": (length,)}
        npy.write_array_header_1_0(file, fields)

    head(0)
    for item in items:
        file.write(item.ids.astype(kind).tobytes() + np.array([end], kind).tobytes())
        count, total = count + 1, total + len(item.ids) + 1
    file.seek(0)
    head(total)
    return {"items": count, "ids": total}


def _write_parquet(path: Path, items: Iterator[FlatItem], vocabulary: Vocabulary) -> dict[str, int]:
    import pyarrow
    from pyarrow import parquet

    text = json.dumps(vocabulary.record())
    kind = pyarrow.int32() if vocabulary.end < 1 << 31 else pyarrow.int64()
    fields = [("key", pyarrow.string()), ("ids", pyarrow.list_(kind))]
    schema = pyarrow.schema([*fields, ("about", pyarrow.string())], metadata={"intaglio": text})
    count = total = 0
    with parquet.ParquetWriter(path, schema) as writer:
        rows: list[dict[str, Any]] = []
        for item in items:
            about = json.dumps(item.about, ensure_ascii=False)
            rows.append({"key": _utf8(item.key), "ids": item.ids, "about": _utf8(about)})
            count, total = count + 1, total + len(item.ids)
            if len(rows) == ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return {"items": count, "ids": total}
