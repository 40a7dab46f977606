"""Parts with trained weights that come with the package, by name: folders of ``recipes/weights``.

Each has a ``MODEL_CARD.md`` and a bundle for each kind of part, ``codec`` or ``generator``.
"""

from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "recipes" / "weights"
CARD = "MODEL_CARD.md"
KINDS = ("codec", "generator")


def shipped(name: str | Path, kind: str) -> Path | None:
    """The bundle of a kind under a name, or None."""
    return FOLDER / name / kind if str(name) in shipped_names([kind]) else None


def shipped_names(kinds: Iterable[str] = KINDS) -> list[str]:
    """Names under which a bundle of one of the kinds comes with the package."""
    kinds = list(kinds)
    folders = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []
    return [each.name for each in folders if any((each / kind).is_dir() for kind in kinds)]
