"""Samples as files of a folder or in tar shards; a run that was interrupted can be repeated.

A folder belongs to one request, which is stored in ``request.json``. Existing files are kept. Those
of another request are replaced at once, when all of the new ones are drawn.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from tqdm import tqdm

from intaglio.codecs import Codec
from intaglio.codecs.bundle import fingerprint
from intaglio.data.formats.atomic import replacing, replacing_set
from intaglio.data.formats.locks import locked, sweep
from intaglio.data.formats.shards import ShardWriter
from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Event
from intaglio.generators.samplers.statistics import Statistics
from intaglio.recipes.sampling.pipeline import Medium, SamplingPipeline
from intaglio.recipes.sampling.requests import SampleRequest

REQUEST = "request.json"
RECORDS = "samples.json"
GRID = "grid.png"  # of those that have one
SHARD_SUFFIX = ".tar"


class SampleFile(NamedTuple):
    """A file to write, and the requests whose items go into it."""

    path: Path
    requests: Sequence[SampleRequest]


class SampledFolder(NamedTuple):
    """What a folder holds after a run.

    Attributes:
        files: all that belong to the request, in order.
        kept: how many of them were there before.
    """

    files: list[SampleFile]
    kept: int


def provenance_record(generator: Generator, codec: Codec) -> dict[str, str]:
    """Names and fingerprints of the parts that made a sample."""
    return {
        "generator": generator.name,
        "generator_fingerprint": fingerprint(generator),
        "codec": codec.name,
        "codec_fingerprint": codec.fingerprint,
    }


def write_samples(
    pipeline: SamplingPipeline,
    requests: Sequence[SampleRequest],
    out: Path,
    *,
    about: dict[str, Any],
    batch_size: int = 16,
    per_shard: int | None = None,
    overwrite: bool = False,
) -> SampledFolder:
    """Draw what is missing: ``OUT/000000.png`` or shards, ``samples.json`` and ``request.json``.

    Args:
        pipeline: draws the items.
        requests: one for each item.
        out: folder, made if it is missing.
        about: what else determines the items; part of every record.
        batch_size: items drawn together; does not change them.
        per_shard: items of a tar shard, each with a JSON record; None for a file each.
        overwrite: draw items again that are there, also of another request; these stay until all
            are drawn, and then vanish.

    Raises:
        FileExistsError: the folder holds items of another request, or records of another program.
        OSError: the folder cannot be written.
        ValueError: the sampler does not fit the generator.
    """
    medium = pipeline.medium
    text = json.dumps(about | {"requests": [one._asdict() for one in requests]}, indent=1) + "\n"
    if overwrite and _held(out, medium):
        with replacing_set(out, drop=_earlier_names(out, medium)) as new:
            files = list(_files(new, requests, medium, per_shard))
            _fill(pipeline, new, files, about, text, batch_size)
        return SampledFolder(list(_files(out, requests, medium, per_shard)), 0)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out):
            sweep(out)
            if (found := _held(out, medium)) and not _is_of(out, text):
                raise FileExistsError(
                    f"{out} holds {found}; add --overwrite or choose another folder"
                )
            files = list(_files(out, requests, medium, per_shard))
            kept = sum(file.path.exists() for file in files)
            _fill(pipeline, out, files, about, text, batch_size)
    except BaseException:
        with suppress(OSError):  # not empty: what was drawn stays
            for folder in made:
                folder.rmdir()
        raise
    return SampledFolder(files, kept)


def _fill(
    pipeline: SamplingPipeline,
    folder: Path,
    files: Sequence[SampleFile],
    about: dict[str, Any],
    text: str,
    batch_size: int,
) -> None:
    """Draw the files that are missing, and write down the request and all records."""
    missing = [file for file in files if not file.path.exists()]
    figures = _earlier_figures(folder)
    claim = partial(_write, folder / REQUEST, text)
    figures |= _draw(pipeline, missing, about, batch_size, claim)
    records = [
        {"file": file.path.name, **request.record(), **about, **figures.get(request.seed, {})}
        for file in files
        for request in file.requests
    ]
    _write(folder / RECORDS, json.dumps(records, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def _earlier_figures(folder: Path) -> dict[int, dict[str, float]]:
    """What the sampler said of the items that are there, by their seeds."""
    try:
        records = json.loads((folder / RECORDS).read_text("utf-8"))
        names = Statistics().record().keys()
        return {one["seed"]: {name: one[name] for name in names & one.keys()} for one in records}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _held(out: Path, medium: Medium) -> str:
    """What a folder holds that is in the way of another request, in words; empty if nothing is."""
    suffixes = (medium.suffix, SHARD_SUFFIX)
    if out.is_dir() and any(file.suffix in suffixes for file in out.iterdir()):
        return f"{medium.noun}s of another request"
    foreign = [name for name in (REQUEST, RECORDS) if _is_foreign(out / name)]
    return f"{' and '.join(foreign)} of another program" if foreign else ""


def _is_foreign(path: Path) -> bool:
    """Whether a request or records, without items, were not written here."""
    if not path.exists():
        return False
    try:
        content = json.loads(path.read_text("utf-8"))
        items = content["requests"] if path.name == REQUEST else content
        return not isinstance(items, list) or any("seed" not in item.keys() for item in items)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return True


def _is_of(folder: Path, text: str) -> bool:
    """Whether the items of a folder are those of this request."""
    path = folder / REQUEST
    return path.is_file() and path.read_bytes() == text.encode()


def _earlier_names(out: Path, medium: Medium) -> set[str]:
    """Files of the request whose items a folder holds."""
    try:
        count = len(json.loads((out / REQUEST).read_text("utf-8"))["requests"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return set()
    suffixes = (medium.suffix, SHARD_SUFFIX)
    items = {f"{number:06}{suffix}" for number in range(count) for suffix in suffixes}
    return items | {REQUEST, RECORDS, GRID}


def _files(
    out: Path, requests: Sequence[SampleRequest], medium: Medium, per_shard: int | None
) -> Iterator[SampleFile]:
    size = per_shard or 1
    suffix = SHARD_SUFFIX if per_shard else medium.suffix
    for number, start in enumerate(range(0, len(requests), size)):
        yield SampleFile(out / f"{number:06}{suffix}", requests[start : start + size])


def _draw(
    pipeline: SamplingPipeline,
    files: Sequence[SampleFile],
    about: dict[str, Any],
    batch_size: int,
    claim: Callable[[], None],
) -> dict[int, dict[str, float]]:
    """Write the files one by one; items of a batch may go into several. Gives what the sampler says
    of each item, by its seed.

    ``claim`` writes down the request when the first file is drawn: one that is refused leaves none.
    """
    medium = pipeline.medium
    requests = [request for file in files for request in file.requests]
    unfit, figures = 0, {}
    with tqdm(total=len(requests), unit=medium.noun, disable=None, file=sys.stderr) as progress:

        def show(event: Event) -> None:
            progress.set_postfix_str(f"step {event.step.number + 1}/{event.step.total}")

        drawn = pipeline.batches(requests, batch_size, show)
        for file in files:
            content: list[tuple[dict[str, Any], Tensor]] = []
            for _ in file.requests:
                request, item, record = next(drawn)
                figures[request.seed] = record
                if item is None:
                    unfit += 1
                else:
                    content.append((request.record() | about | record, item))
                progress.update()
            if file is files[0]:
                claim()
            if len(content) < len(file.requests):
                continue
            with replacing(file.path) as part:
                if file.path.suffix == SHARD_SUFFIX:
                    _write_shard(part, content, medium)
                else:
                    part.write_bytes(medium.to_bytes(content[0][1]))
    if unfit:
        raise ValueError(
            f"{unfit} of {len(requests)} {medium.noun}s do not fit into memory, and the files that "
            "they belong to are not written; see above"
        )
    return figures


def _write_shard(
    path: Path, content: Sequence[tuple[dict[str, Any], Tensor]], medium: Medium
) -> None:
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for record, item in content:
            files = {medium.suffix[1:]: medium.to_bytes(item), "json": json.dumps(record).encode()}
            writer.add(f"{record['seed']:09}", files)
        writer.close()
