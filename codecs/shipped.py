"""Parts with trained weights that come with the package, by name: folders of ``recipes/weights``.

Each has a ``MODEL_CARD.md`` and a bundle for each kind of part, ``codec`` or ``generator``.
"""

from collections.abc import Iterable
from pathlib import Path

from intaglio.data.formats.named import named

FOLDER = Path(__file__).parents[1] / "recipes" / "weights"
CARD = "MODEL_CARD.md"
KINDS = ("codec", "generator")
BUNDLE_FILES = ("config.json", "model.safetensors")


def shipped(name: str | Path, kind: str) -> Path | None:
    """The bundle of a kind under a name, or None."""
    return FOLDER / name / kind if str(name) in shipped_names([kind]) else None


def shipped_names(kinds: Iterable[str] = KINDS) -> list[str]:
    """Names under which a bundle of one of the kinds comes with the package."""
    kinds = list(kinds)
    folders = sorted(FOLDER.iterdir()) if FOLDER.is_dir() else []
    return [each.name for each in folders if any((each / kind).is_dir() for kind in kinds)]


def located(source: str | Path, *kinds: str) -> Path:
    """Path of a source: its own, unless it is a name of the package with one of the kinds.

    A file or a bundle of the user goes before; a folder of recordings called so is no bundle.

    Raises:
        ValueError: the name is empty, which would be the current folder.
    """
    path = named(source, " or ".join(kinds))
    if path.is_file() or any((path / name).exists() for name in BUNDLE_FILES):
        return path
    return next((found for kind in kinds if (found := shipped(source, kind))), path)
