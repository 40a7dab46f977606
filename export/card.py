"""``export.json``: what a folder of exported files holds, and what the next export replaces of it.

A folder belongs to one codec or generator. An export of the same in other formats keeps the files
that the earlier ``export.json`` lists, and lists them again; one of another removes them, if asked.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

CARD = "export.json"
LLAMA = ("model.safetensors", "config.json", "generation_config.json")
SUFFIXES = ("_stream.onnx", ".onnx", ".onnx.data", ".ts", ".pt2")
# Whatever a card says, no other file is ever removed.
NAMES = {
    *(f"{part}{suffix}" for part in ("encoder", "decoder") for suffix in SUFFIXES),
    *LLAMA,
}


def earlier(folder: Path) -> dict[str, Any]:
    """The card that an earlier export left; empty if there is none that can be read."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        records = card["exports"]
        files = [name for record in records for name in record["files"].keys()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return card if set(files) <= NAMES else {}


def check_free(folder: Path, names: Collection[str], kind: str, fingerprint: str) -> None:
    """Refuse to replace files that no earlier export lists, and an export of something else.

    Args:
        folder: where the export goes.
        names: of the files that it writes, besides the card.
        kind: whose they may be, in the message.
        fingerprint: of what is exported.

    Raises:
        ValueError: such a file or export is there.
    """
    card = earlier(folder)
    ours = listed(card["exports"]) | {CARD} if card else set()
    others = [name for name in (*names, CARD) if name not in ours and (folder / name).exists()]
    if others:
        raise ValueError(
            f"{folder} holds {' and '.join(others)} of {kind}, which the export would replace; "
            "add --overwrite or choose another folder"
        )
    if card and card.get("fingerprint") != fingerprint:
        raise ValueError(
            f"{folder} holds an export of another model; add --overwrite or choose another folder"
        )


def listed(records: list[dict[str, Any]]) -> set[str]:
    """Names of the files of some records."""
    return {name for record in records for name in record["files"]}


def kept(folder: Path, card: dict[str, Any], fingerprint: str) -> list[dict[str, Any]]:
    """Records of the earlier exports of the same part whose files are there as they were."""
    if card.get("fingerprint") != fingerprint:
        return []
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return [record for record in card["exports"] if record["files"].items() <= sizes.items()]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
