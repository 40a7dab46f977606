"""Tokenizing as jobs of one shard: which there are, which are finished, and how one is done.

A shard of tokens is a function of its source and the codec. It takes its place in one step, and its
row, which says that it is finished, comes after it: whatever is killed is done again, with equal
bytes. The row names every recording that could not be read.
"""

import hashlib
import io
import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.shards import (
    SUFFIX,
    ShardError,
    ShardRow,
    ShardWriter,
    read_row,
    read_shard,
    row_text,
    write_row,
)
from intaglio.data.manifest import Record
from intaglio.recipes.tokenization.batch import Recording, Tokenizer

ROWS = "shards.jsonl"
KEPT = ("txt", "json")  # files of a sample that go along with its tokens


AnyTokenizer = Tokenizer[Any, Any]


class Clip(NamedTuple):
    """A recording with its key, and the files that go along with its tokens."""

    key: str
    recording: Recording
    files: dict[str, bytes]


class Job(NamedTuple):
    """A shard to make: of a stretch of a list of records, or of a shard of audio.

    Attributes:
        target: the shard to write.
        source: what it is made of, as plain data: other data, other shard.
        folder: where the paths of the records start.
        records: the stretch.
        shard: the shard of audio, if it is made of one.
    """

    target: Path
    source: dict[str, Any]
    folder: Path
    records: Sequence[Record] = ()
    shard: Path | None = None


def plan(tokenizer: AnyTokenizer, source: str, out: Path, per_shard: int) -> list[Job]:
    """All jobs, in order; the same for the same input, wherever it lies.

    Args:
        tokenizer: that will do them.
        source: folder, manifest or set of recordings; or a tar shard of them, or a folder of such.
        out: folder for the shards of tokens.
        per_shard: recordings in a shard, unless the input comes in shards.

    Raises:
        ValueError: nothing or both recordings and shards are there, or ``out`` lies within.
        FileNotFoundError: there is no such input.
    """
    if per_shard < 1:
        raise ValueError(f"a shard must hold at least one recording, got {per_shard}")
    path = Path(source).expanduser()
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise ValueError(f"{out} lies within the input {path}; choose another output")
    folder = path if path.is_dir() else path.parent
    shards = [path] if path.suffix == SUFFIX else _shards(path)
    if shards:
        if path.is_dir() and any(
            other.suffix.lower() in tokenizer.suffixes for other in _visible(path)
        ):
            raise ValueError(f"{path} holds both shards and {tokenizer.noun}; take them apart")
        names = [shard.relative_to(folder).as_posix() for shard in shards]
        return [
            Job(out / name, {"shard": name, "bytes": shard.stat().st_size}, folder, shard=shard)
            for name, shard in zip(names, shards, strict=True)
        ]
    folder, records = tokenizer.find(source)
    jobs = []
    for number, first in enumerate(range(0, len(records), per_shard)):
        some = records[first : first + per_shard]
        digest = hashlib.sha256(json.dumps(some).encode()).hexdigest()
        about = {"first": first, "count": len(some), "records": digest}
        jobs.append(Job(out / f"{number:06}{SUFFIX}", about, folder, some))
    return jobs


def finished(job: Job, tokenizer: AnyTokenizer) -> ShardRow | None:
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


def make(job: Job, tokenizer: AnyTokenizer, progress: tqdm) -> ShardRow:
    """Write a shard of tokens and its row.

    Raises:
        ValueError: the shard of audio is damaged, or not one recording is there.
        OSError: something cannot be read or written.
    """
    content = io.BytesIO()  # written in a moment at the end: tokens are small
    writer = ShardWriter(content)
    damaged: list[dict[str, str]] = []
    waiting: deque[Clip] = deque()

    def recordings() -> Iterator[Recording]:
        for clip in _clips(job, tokenizer):
            waiting.append(clip)
            yield clip.recording

    total = gone = 0
    for outcome in tokenizer.run(recordings()):
        clip = waiting.popleft()
        total += 1
        progress.update()
        if outcome.tokens:
            writer.add(clip.key, {"intaglio": outcome.tokens} | clip.files)
            continue
        name, sound = clip.recording.name, clip.recording.content
        gone += isinstance(sound, Path) and not sound.exists()
        damaged.append({"key": clip.key, "name": name, "reason": outcome.reason})
    if gone == total:  # as when a disk has gone: this must not count as done
        raise ValueError(
            f"{job.target}: none of {total} {tokenizer.noun} is there, in {job.folder}"
        )
    writer.close()
    return _publish(job, tokenizer, writer.count, content.getvalue(), damaged)


def gather(jobs: Sequence[Job], tokenizer: AnyTokenizer, out: Path) -> bool:
    """Once every shard is finished, list all rows in one file and remove what killed runs left.

    Returns:
        Whether every shard is finished.
    """
    lines = []
    for job in jobs:
        row = finished(job, tokenizer)
        if row is None:
            return False
        lines.append(row_text(row) + "\n")
    with replacing(out / ROWS) as part:
        part.write_text("".join(lines), encoding="utf-8")
    for folder in {job.target.parent for job in jobs}:
        for left in folder.glob(".*.part"):
            left.unlink(missing_ok=True)
    return True


def _publish(
    job: Job, tokenizer: AnyTokenizer, count: int, content: bytes, damaged: list[dict[str, str]]
) -> ShardRow:
    about = _about(job, tokenizer) | {
        "codec": tokenizer.codec.name,
        "total": count + len(damaged),
        "damaged": damaged,
    }
    digest = hashlib.sha256(content).hexdigest()
    row = ShardRow(job.target.name, count, len(content), digest, about)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(job.target) as part:
            part.write_bytes(content)
        write_row(job.target, row)
    except FileNotFoundError:  # another process did the same, finished, and tidied up
        if finished(job, tokenizer) is None:
            raise
    return row


def _about(job: Job, tokenizer: AnyTokenizer) -> dict[str, Any]:
    """What decides the content of a shard."""
    return tokenizer.about | {"source": job.source}


def _clips(job: Job, tokenizer: AnyTokenizer) -> Iterator[Clip]:
    """Every view of every recording; of several views, the key ends with the number of the view."""
    for clip in _recordings(job, tokenizer):
        for view in range(tokenizer.views):
            key = f"{clip.key}-{view}" if tokenizer.views > 1 else clip.key
            yield clip._replace(key=key, recording=clip.recording._replace(view=view))


def _recordings(job: Job, tokenizer: AnyTokenizer) -> Iterator[Clip]:
    if job.shard is None:
        first = job.source["first"]
        for number, record in enumerate(job.records, first):
            said = {name: value for name, value in record._asdict().items() if value}
            recording = Recording(record.path, job.folder / record.path)
            yield Clip(f"{number:09}", recording, {"json": json.dumps(said).encode()})
        return
    for sample in read_shard(job.shard):
        found = [ext for ext in sample.files if f".{ext}" in tokenizer.suffixes]
        if len(found) == 1:
            content = sample.files[found[0]]
            recording = Recording(f"{sample.key}.{found[0]}", content)
        else:
            names = " ".join(sorted(sample.files))
            fault = f"{sample.key} has {len(found)} {tokenizer.kind} files, not 1: {names}"
            recording = Recording(sample.key, b"", fault)
        kept = {ext: sample.files[ext] for ext in KEPT if ext in sample.files}
        yield Clip(sample.key, recording, kept)


def _shards(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(one for one in _visible(path) if one.suffix == SUFFIX)


def _visible(folder: Path) -> list[Path]:
    """Files at any depth but hidden ones."""
    return [
        path
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
