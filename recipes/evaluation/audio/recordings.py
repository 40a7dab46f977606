"""Recordings of an evaluation: read, measured in seconds, and the decoded ones written."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.manifest import Record, source_key
from intaglio.recipes.evaluation.items import Item, read_items


def read_recordings(folder: Path, chosen: Sequence[Record], sample_rate: int | None) -> list[Item]:
    """Recordings, mono; damaged ones are named on standard error and left out.

    Args:
        folder: what their paths are relative to.
        chosen: which ones.
        sample_rate: to resample to, in Hz; None keeps their own.

    Raises:
        ValueError: none can be read.
    """

    def read(record: Record) -> Item:
        wave, rate = read_wave(folder / record.path, sample_rate)
        return Item(record.path, wave[0], rate, record.text, record.speaker, source_key(record))

    return read_items(folder, chosen, read)


def duration(items: Sequence[Item]) -> Fraction:
    """Seconds of all recordings together."""
    return sum((Fraction(len(item.content), item.sample_rate) for item in items), Fraction())


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
