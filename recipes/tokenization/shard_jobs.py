"""Tokenizing as jobs of one shard: which there are, which are finished, and how one is run.

A shard of tokens is a function of its source and the codec. It is written atomically, and its row,
which says that it is finished, comes after it: whatever is killed is done again, with equal bytes.
The row names every file that could not be read.
"""

import hashlib
import io
import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.locks import sweep
from intaglio.data.formats.named import named
from intaglio.data.formats.regular_file import check_regular, visible_files
from intaglio.data.formats.shards import (
    ROWS,
    SUFFIX,
    ShardError,
    ShardRow,
    ShardWriter,
    read_row,
    read_shard,
    row_path,
    row_text,
    write_row,
)
from intaglio.data.manifest import Record
from intaglio.recipes.tokenization.batch import SourceFile, Tokenizer

KEPT = ("txt", "json")  # files of a sample that go along with its tokens


AnyTokenizer = Tokenizer[Any, Any]


class ShardItem(NamedTuple):
    """A file with its key, and the files that go along with its tokens."""

    key: str
    source: SourceFile
    files: dict[str, bytes]


class ShardJob(NamedTuple):
    """A shard to make: of a range of a list of records, or of a shard of files.

    Attributes:
        target: the shard to write.
        source: what it is made of, as plain data: other data, other shard.
        folder: where the paths of the records start.
        records: the range.
        shard: the shard of files, if it is made of one.
    """

    target: Path
    source: dict[str, Any]
    folder: Path
    records: Sequence[Record] = ()
    shard: Path | None = None


def plan_shards(tokenizer: AnyTokenizer, source: str, out: Path, per_shard: int) -> list[ShardJob]:
    """All jobs, in order; the same for the same input, wherever it lies.

    Args:
        tokenizer: that will do them.
        source: folder, manifest or set of files; or a tar shard of them, or a folder of such.
        out: folder for the shards of tokens.
        per_shard: files in a shard, unless the input comes in shards.

    Raises:
        ValueError: there is nothing, or there are both files and shards, or ``out`` lies within.
        FileNotFoundError: there is no such input.
    """
    if per_shard < 1:
        raise ValueError(f"a shard must hold at least one item, got {per_shard}")
    path = named(source, f"folder of {tokenizer.noun}").expanduser()
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise ValueError(f"{out} lies within the input {path}; choose another output")
    if path.exists() and not path.is_dir():
        check_regular(path, "an input")
    folder = path if path.is_dir() else path.parent
    shards = [path] if path.suffix == SUFFIX else _shards(path)
    if shards:
        if path.is_dir() and any(
            other.suffix.lower() in tokenizer.suffixes for other in visible_files(path)
        ):
            raise ValueError(f"{path} holds both shards and {tokenizer.noun}; take them apart")
        names = [shard.relative_to(folder).as_posix() for shard in shards]
        return [
            ShardJob(
                out / name, {"shard": name, "bytes": shard.stat().st_size}, folder, shard=shard
            )
            for name, shard in zip(names, shards, strict=True)
        ]
    folder, records = tokenizer.find(source)
    jobs = []
    for number, first in enumerate(range(0, len(records), per_shard)):
        chosen = records[first : first + per_shard]
        digest = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()
        about = {"first": first, "count": len(chosen), "records": digest}
        jobs.append(ShardJob(out / f"{number:06}{SUFFIX}", about, folder, chosen))
    return jobs


def finished(job: ShardJob, tokenizer: AnyTokenizer) -> ShardRow | None:
    """Row of a shard that is there, or None.

    Raises:
        ValueError: it was made of something else, or in another way.
    """
    try:
        row = read_row(job.target)
        size = job.target.stat().st_size
    except (ShardError, FileNotFoundError):
        return None
    for name, value in _about(job, tokenizer).items():
        if row.about.get(name) != value:
            raise ValueError(
                f"{job.target} was made with another {name} ({row.about.get(name)}, now {value}); "
                "add --overwrite or choose another output"
            )
    listed = isinstance(row.about.get("damaged"), list) and type(row.about.get("total")) is int
    return row if listed and size == row.bytes else None


def make(job: ShardJob, tokenizer: AnyTokenizer, progress: tqdm) -> ShardRow:
    """Write a shard of tokens and its row.

    Raises:
        ValueError: the shard of files is damaged, or not one file is there.
        OSError: something cannot be read or written.
    """
    shard = io.BytesIO()  # written at once at the end: tokens are small
    writer = ShardWriter(shard)
    damaged: list[dict[str, str]] = []
    waiting: deque[ShardItem] = deque()

    def sources() -> Iterator[SourceFile]:
        for item in _items(job, tokenizer):
            waiting.append(item)
            yield item.source

    total = gone = 0
    for outcome in tokenizer.run(sources()):
        item = waiting.popleft()
        total += 1
        progress.update()
        if outcome.tokens:
            writer.add(item.key, {"intaglio": outcome.tokens} | item.files)
            continue
        name, content = item.source.name, item.source.content
        gone += isinstance(content, Path) and not content.exists()
        damaged.append({"key": item.key, "name": name, "reason": outcome.reason})
    if gone == total:  # a disk was unmounted, perhaps: this must not count as done
        raise ValueError(
            f"{job.target}: none of {total} {tokenizer.noun} is there, in {job.folder}"
        )
    writer.close()
    return _publish(job, tokenizer, writer.count, shard.getvalue(), damaged)


def surplus(jobs: Sequence[ShardJob], out: Path) -> list[Path]:
    """Shards of an earlier, longer list of records, which would be read along with the new ones."""
    if not jobs or jobs[0].shard is not None:  # shards of shards are named by their sources
        return []
    found = []
    for shard in sorted({*out.glob(f"*{SUFFIX}")} - {job.target for job in jobs}):
        with suppress(ShardError, FileNotFoundError):
            if "first" in read_row(shard).about.get("source", {}):
                found.append(shard)
    return found


def gather(jobs: Sequence[ShardJob], tokenizer: AnyTokenizer, out: Path) -> bool:
    """Once every shard is finished, list all rows in one file and remove what killed runs left, and
    what an earlier data set has too much.

    Returns:
        Whether every shard is finished.
    """
    lines = []
    for job in jobs:
        try:
            row = finished(job, tokenizer)
        except ValueError:  # another job is going to overwrite it
            row = None
        if row is None:
            return False
        lines.append(row_text(row) + "\n")
    for shard in surplus(jobs, out):
        shard.unlink(missing_ok=True)
        row_path(shard).unlink(missing_ok=True)
    with replacing(out / ROWS) as part:
        part.write_text("".join(lines), encoding="utf-8")
    for folder in {job.target.parent for job in jobs}:
        sweep(folder)
    return True


def _publish(
    job: ShardJob,
    tokenizer: AnyTokenizer,
    count: int,
    content: bytes,
    damaged: list[dict[str, str]],
) -> ShardRow:
    about = _about(job, tokenizer) | {
        "codec": tokenizer.codec.name,
        "total": count + len(damaged),
        "damaged": damaged,
    }
    digest = hashlib.sha256(content).hexdigest()
    row = ShardRow(job.target.name, count, len(content), digest, about)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(ShardError, FileNotFoundError):
        if read_row(job.target) != row:  # no row may stand by another's shard: it is emptied
            with replacing(row_path(job.target)):
                pass
    with replacing(job.target) as part:
        part.write_bytes(content)
    write_row(job.target, row)
    return row


def _about(job: ShardJob, tokenizer: AnyTokenizer) -> dict[str, Any]:
    """What decides the content of a shard."""
    return tokenizer.about | {"source": job.source}


def _items(job: ShardJob, tokenizer: AnyTokenizer) -> Iterator[ShardItem]:
    """Every view of every file; of several views, the key ends with the number of the view."""
    for item in _files(job, tokenizer):
        for view in range(tokenizer.views):
            key = f"{item.key}-{view}" if tokenizer.views > 1 else item.key
            yield item._replace(key=key, source=item.source._replace(view=view))


def _files(job: ShardJob, tokenizer: AnyTokenizer) -> Iterator[ShardItem]:
    if job.shard is None:
        first = job.source["first"]
        for number, record in enumerate(job.records, first):
            known = {name: value for name, value in record._asdict().items() if value}
            source = SourceFile(record.path, job.folder / record.path)
            yield ShardItem(f"{number:09}", source, {"json": json.dumps(known).encode()})
        return
    for sample in read_shard(job.shard):
        found = [ext for ext in sample.files if f".{ext}" in tokenizer.suffixes]
        if len(found) == 1:
            source = SourceFile(f"{sample.key}.{found[0]}", sample.files[found[0]])
        else:
            names = " ".join(sorted(sample.files))
            fault = f"{sample.key} has {len(found)} {tokenizer.kind} files, not 1: {names}"
            source = SourceFile(sample.key, b"", fault)
        kept = {ext: sample.files[ext] for ext in KEPT if ext in sample.files}
        yield ShardItem(sample.key, source, kept)


def _shards(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return [file for file in visible_files(path) if file.suffix == SUFFIX]
