"""Recordings of an evaluation: which ones, read from where, and the decoded ones written."""

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.manifest import Record, source_key, split_of
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.audio.comparison import Item


def choose(
    found: Sequence[Record],
    side: str,
    *,
    shares: tuple[float, float],
    seed: int = 0,
    limit: int | None = None,
) -> list[Record]:
    """Records to evaluate on.

    Args:
        found: all records of a data set, sorted.
        side: "test", "validation" or "all".
        shares: of validation and test in the split.
        seed: of the split.
        limit: at most so many, evenly spread over the data set; all of them if None.

    Raises:
        ValueError: none is left, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    chosen = [
        record
        for record in found
        if side == "all" or split_of(source_key(record), shares, seed) == side
    ]
    if not chosen:
        raise ValueError(
            f"none of {len(found)} recordings falls into the {side} split; use --split all"
        )
    count = min(limit or len(chosen), len(chosen))
    return [chosen[number * len(chosen) // count] for number in range(count)]


def read_items(folder: Path, chosen: Sequence[Record], sample_rate: int | None) -> list[Item]:
    """Recordings, mono; damaged ones are named on standard error and left out.

    Args:
        folder: what their paths are relative to.
        chosen: which ones.
        sample_rate: to resample to, in Hz; None keeps their own.

    Raises:
        ValueError: none can be read.
    """
    items = []
    for record in tqdm(chosen, desc="reading", unit="file", disable=None, leave=False):
        try:
            wave, rate = read_wave(folder / record.path, sample_rate)
        except (ValueError, OSError) as error:
            tqdm.write(f"intaglio: skipped: {explain(error)}", file=sys.stderr)
            continue
        items.append(Item(record.path, wave[0], rate, record.text))
    if not items:
        raise ValueError(f"none of {len(chosen)} recordings in {folder} can be read")
    return items


def save_audio(folder: Path, items: Sequence[Item], waves: Sequence[Tensor]) -> None:
    """Write what a system made of the items as ``folder/name.wav``."""
    for number, (item, wave) in enumerate(zip(items, waves, strict=True)):
        path = Path(item.name)
        if path.is_absolute() or ".." in path.parts:  # it would leave the folder
            path = Path(f"{number:05d}-{path.name}")
        target = folder / (path if path.suffix == ".wav" else f"{path}.wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_wave(target, wave, item.sample_rate)


def file_name(name: str) -> str:
    """Name of a folder for a system or a data set; no separators, and not a parent."""
    return name.strip("./").replace("/", "-")
