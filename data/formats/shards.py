"""Tar shards: samples as ``key.ext`` files in a tar archive, as WebDataset reads and writes them.

Equal samples give equal bytes. A row, a JSON file next to the shard, holds its number of samples
and its SHA-256: with it every change is noticed; without it, those that
`intaglio.data.formats.tar` and the files themselves can see.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.regular_file import check_regular, read_text, visible_files
from intaglio.data.formats.tar import (
    BLOCK,
    MAX_MEMBER_BYTES,
    ShardError,
    tar_member,
    tar_members,
)

__all__ = [
    "ROWS",
    "SUFFIX",
    "Sample",
    "ShardError",
    "ShardRow",
    "ShardWriter",
    "check_list",
    "check_shard",
    "read_row",
    "read_shard",
    "row_path",
    "row_text",
    "write_row",
]

SUFFIX = ".tar"
ROWS = "shards.jsonl"  # the rows of all shards of a folder, written when every one is finished
MAX_SAMPLE_FILES = 64  # of one key; they are held in memory together
EMPTY_BYTES = 2 * BLOCK  # more zeros than that once were something
MAX_ROW_BYTES = 1 << 26
_COPY = "copy the folder again, or run `intaglio tokenize` again"


class Sample(NamedTuple):
    """Files of one key, by what follows the first dot of their name, in lower case."""

    key: str
    files: dict[str, bytes]


class ShardRow(NamedTuple):
    """What is known of a finished shard.

    Attributes:
        shard: name of the file.
        samples: number of samples.
        bytes: size.
        sha256: of the whole file, hexadecimal.
        about: further plain JSON data.
    """

    shard: str
    samples: int
    bytes: int
    sha256: str
    about: dict[str, Any]


class ShardWriter:
    """Writes samples as a ustar archive without times and owners; `close` ends it.

    Args:
        file: where to write.

    Attributes:
        count: samples so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.count = 0
        self._file = file
        self._keys: set[str] = set()

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write the files of one sample, in their order.

        Raises:
            ValueError: the key was there before, or a name does not fit into a ustar header.
        """
        if key in self._keys or not files:
            raise ValueError(f"sample {key!r} was written before or has no files")
        if len(files) > MAX_SAMPLE_FILES:
            raise ValueError(f"sample {key!r} has {len(files)} files, the limit {MAX_SAMPLE_FILES}")
        for ext, content in files.items():
            name = f"{key}.{ext}"
            if _split_name(name) != (key, ext):
                raise ValueError(f"{name!r} would not be read as file {ext!r} of sample {key!r}")
            self._file.write(tar_member(name, content))
        self._keys.add(key)
        self.count += 1

    def close(self) -> None:
        """Write the end of the archive; the file stays open."""
        self._file.write(bytes(2 * BLOCK))


def read_shard(path: str | Path, *, max_bytes: int = MAX_MEMBER_BYTES) -> Iterator[Sample]:
    """Samples of a shard in their order, checked as they come: errors may follow good samples.

    Files whose name begins with a dot are left out, folders too.

    Args:
        path: the archive.
        max_bytes: largest file that is accepted.

    Raises:
        ShardError: truncated, damaged, no tar archive, empty, a member that is unsafe, too large
            or there twice, or more than `MAX_SAMPLE_FILES` of one key.
        ValueError: a folder, a device or a pipe.
        OSError: it cannot be read.
    """
    seen: set[str] = set()
    sample: Sample | None = None
    for name, content in tar_members(Path(path), max_bytes):
        key, ext = _split_name(name)
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            if key in seen:
                raise ShardError(f"{path}: files of sample {key!r} do not follow each other")
            seen.add(key)
            sample = Sample(key, {})
        if len(sample.files) == MAX_SAMPLE_FILES:
            raise ShardError(
                f"{path}: sample {key!r} has more than {MAX_SAMPLE_FILES} files, the limit"
            )
        if ext in sample.files:
            raise ShardError(f"{path}: {name!r} is there twice")
        sample.files[ext] = content
    if sample is not None:
        yield sample
    elif Path(path).stat().st_size > EMPTY_BYTES:
        raise ShardError(f"{path} holds no samples")


def check_shard(path: str | Path, row: ShardRow) -> None:
    """Compare a shard with its row.

    Raises:
        ShardError: its size or its SHA-256 differs.
        OSError: it cannot be read.
    """
    path = Path(path)
    check_regular(path, "a tar archive")
    size = path.stat().st_size
    if size != row.bytes:
        raise ShardError(f"{path} has {size} bytes, its row says {row.bytes}; copy it again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != row.sha256:
        raise ShardError(f"{path} is damaged: its SHA-256 is not that of its row; copy it again")


def check_list(folder: Path) -> None:
    """Compare the shards of a folder, at any depth, with their rows and the lists of these.

    Shards without a list have no rows either: others have made them.

    Raises:
        ShardError: a row has no shard or is in no list, or a list has other shards or rows than
            there are: some are missing, or those of another set that was to replace this one.
    """
    files = visible_files(folder)
    shards = [path for path in files if path.suffix == SUFFIX]
    known = set(shards)
    for path in files:
        shard = path.with_suffix(SUFFIX)
        if path == row_path(shard) and shard not in known and has_row(shard):
            raise ShardError(f"{shard} is missing, its row {path} is there; {_COPY}")
    of_list: dict[Path, list[Path]] = {path.parent: [] for path in files if path.name == ROWS}
    for shard in shards:
        nearest = next((parent for parent in shard.parents if parent in of_list), None)
        if nearest is not None:
            of_list[nearest].append(shard)
        elif has_row(shard):
            raise ShardError(
                f"{shard} has a row, but no {ROWS} lists it: the set is not finished, or a part of "
                "one; run `intaglio tokenize` again, or copy it whole"
            )
    for parent, own in of_list.items():
        _check_rows(parent / ROWS, own)


def _check_rows(path: Path, shards: Sequence[Path]) -> None:
    """Compare the rows of shards with a list of them, which names no folders."""
    named: dict[str, dict[Path, str]] = defaultdict(dict)  # texts of the rows of shards of a name
    for shard in shards:
        row = row_path(shard)
        named[shard.name][shard] = row.read_text("utf-8", "replace") if row.is_file() else ""
    for line in read_text(path, "a list of shards").splitlines():
        try:
            name = json.loads(line)["shard"]
            same = named.get(name, {})
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ShardError(f"{path} is damaged: it is no list of rows") from error
        if not same:
            raise ShardError(f"{path.parent / str(name)} is missing, {path} lists it; {_COPY}")
        found = next((shard for shard, text in same.items() if text == f"{line}\n"), None)
        if found is None:
            row = row_path(next(iter(same)))
            if not row.exists():
                raise ShardError(f"{row} is missing, {path} lists it; {_COPY}")
            raise ShardError(
                f"{row} is not as listed in {path}: its shards are of several sets; make them anew "
                "with `intaglio tokenize --overwrite`"
            )
        del same[found]
    for shard in (shard for same in named.values() for shard in same):
        raise ShardError(
            f"{shard} is not listed in {path}: it is of another set, or the set is not finished; "
            "move it away, or run `intaglio tokenize` again"
        )


def has_row(shard: Path) -> bool:
    """Whether a shard has a row that can be read."""
    try:
        read_row(shard)
    except (ValueError, OSError):
        return False
    return True


def row_path(shard: Path) -> Path:
    """Where the row of a shard is."""
    return shard.with_suffix(".json")


def write_row(shard: Path, row: ShardRow) -> None:
    """Write the row of a shard; an old one is replaced as a whole."""
    with replacing(row_path(shard)) as part:
        part.write_text(row_text(row) + "\n", encoding="utf-8")


def row_text(row: ShardRow) -> str:
    """A row as one line of JSON."""
    return json.dumps(row._asdict(), sort_keys=True, allow_nan=False)


def read_row(shard: str | Path) -> ShardRow:
    """Row of a shard.

    Raises:
        ShardError: it is damaged or the row of another shard.
        FileNotFoundError: there is none.
    """
    shard = Path(shard)
    path = row_path(shard)
    check_regular(path, "the row of a shard")
    with path.open("rb") as file:
        text = file.read(MAX_ROW_BYTES + 1)
    try:
        fields = json.loads(text.decode()) if len(text) <= MAX_ROW_BYTES else None
    except (ValueError, RecursionError) as error:
        raise ShardError(f"{path} is damaged: it is no JSON") from error
    if not isinstance(fields, dict) or set(fields) != set(ShardRow._fields):
        raise ShardError(f"{path} is not the row of a shard")
    row = ShardRow(**fields)
    valid = (
        row.shard == shard.name
        and all(type(value) is int and value >= 0 for value in (row.samples, row.bytes))
        and isinstance(row.sha256, str)
        and re.fullmatch("[0-9a-f]{64}", row.sha256)
        and isinstance(row.about, dict)
    )
    if not valid:
        raise ShardError(f"{path} is not the row of {shard.name}")
    return row


def _split_name(name: str) -> tuple[str, str]:
    """Key and extension: the first dot of the last part is between them."""
    folder, slash, base = name.rpartition("/")
    stem, _, ext = base.partition(".")
    return folder + slash + stem, ext.lower()
