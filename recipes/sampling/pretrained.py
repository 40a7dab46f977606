"""Generators that come with the package, each with its codec: folders of ``weights``."""

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "weights"


class Pretrained(NamedTuple):
    """Bundles of a generator and of its codec."""

    generator: Path
    codec: Path


def pretrained(name: str) -> Pretrained | None:
    """What comes with the package under a name, or None; a folder of the user goes before."""
    folder = FOLDER / name
    known = folder.parent == FOLDER and folder.is_dir() and not Path(name).exists()
    return Pretrained(folder / "generator", folder / "codec") if known else None
