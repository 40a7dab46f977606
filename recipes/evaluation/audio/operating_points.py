"""Which codecs a suite compares, and with how many levels: ``BUNDLE@3000,6000``, ``BUNDLE@L1``."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from intaglio.codecs import AudioCodec
from intaglio.data.formats.printable import counted
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.audio.comparison import OperatingPoint

LEVELS = re.compile(r"L[1-9][0-9]{0,5}")


def points(specs: Sequence[str], load: Callable[[str], AudioCodec]) -> list[OperatingPoint]:
    """Codecs and bit rates that are written ``BUNDLE`` (full depth) or ``BUNDLE@3000,6000``.

    A bit rate allows as many levels as stay within it, and ``L2`` is two levels; the point is named
    by the bits that these take. Codecs of the same name are named by their bundles.

    Args:
        specs: of one codec each.
        load: gives the codec of a bundle.

    Raises:
        ValueError: a bit rate that is no number or below the codec's lowest, or two of one codec
            that allow the same levels; and as ``load``.
    """
    found = []
    split = [_split(spec) for spec in specs]
    codecs = [load(source) for source, _ in split]
    counts = Counter(codec.name for codec in codecs)
    for codec, (source, rates) in zip(codecs, split, strict=True):
        name = codec.name if counts[codec.name] == 1 else source
        if not rates:
            found.append(OperatingPoint(name, codec))
        for rate in rates:
            levels = _levels(codec, rate)
            found.append(OperatingPoint(f"{name}@{nominal_rate(codec, levels):.0f}", codec, levels))
    twice = [name for name, count in Counter(point.name for point in found).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]} would be two rows; give bit rates a level of it apart")
    return found


def nominal_rate(codec: AudioCodec, levels: int) -> float:
    """Bits per second of the ids of a codec's first levels."""
    groups = sum(codec.quantizer.level_groups[:levels])
    return codec.frame_rate * sum(math.log2(size) for size in codec.vocab[:groups])


def _levels(codec: AudioCodec, rate: float | str) -> int:
    """Levels of a codec that a bit rate allows, or that ``L2`` names."""
    if isinstance(rate, str):
        levels = int(rate[1:])
        if levels > codec.depth:
            raise ValueError(f"{codec.name} has {counted(codec.depth, 'level')}, not {levels}")
        return levels
    if rate < nominal_rate(codec, 1) * (1 - 1e-9):
        raise ValueError(
            f"{codec.name} takes {nominal_rate(codec, 1):.0f} bits a second at least, more "
            f"than {rate:g}"
        )
    return codec.levels_at(rate)


def _split(spec: str) -> tuple[str, list[float | str]]:
    """Bundle and bit rates or levels; a path that exists is a bundle, whatever it looks like."""
    source, at, text = spec.rpartition("@")
    if not at or Path(spec).exists():
        return spec, []
    words = text.split(",")
    rates = [word if LEVELS.fullmatch(word) else _number(word) for word in words]
    if not source or not all(isinstance(rate, str) or 0 < rate < math.inf for rate in rates):
        raise WrongUsage(f"{spec!r} is no codec with bit rates: write BUNDLE@3000,6000")
    return source, rates


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
