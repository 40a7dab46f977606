"""``intaglio recipes``: the shipped recipes with a line on each, or one of them whole."""

import argparse
import difflib
from pathlib import Path

from intaglio.recipes.errors import WrongUsage

FOLDER = Path(__file__).parents[1]
GROUPS = {
    "audio": "codecs of waveforms",
    "image": "tokenizers of images, and generators of their tokens",
    "overlays": "changes to one of these, after it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = (
        "examples:\n  intaglio recipes\n  intaglio recipes audio/speech_small\n\n"
        "The lines are the first of each file; the header of a recipe has its commands."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this recipe")


def run(args: argparse.Namespace) -> None:
    """Print the table or the recipe.

    Raises:
        WrongUsage: there is no such recipe.
    """
    found = {group: listed(group) for group in GROUPS}
    if args.name is not None:
        names = [name for group in found.values() for name in group]
        if args.name not in names:
            near = difflib.get_close_matches(args.name, names, n=3, cutoff=0.5)
            hint = f": did you mean {' or '.join(near)}?" if near else ""
            raise WrongUsage(f"there is no recipe {args.name!r}{hint}")
        print((FOLDER / f"{args.name}.yaml").read_text(encoding="utf-8"), end="")
        return
    width = max(len(name) for names in found.values() for name in names)
    for group, about in GROUPS.items():
        print(f"{group}: {about}")
        for name, line in found[group].items():
            print(f"  {name:{width}}  {line}")
    print(
        "\ntrain with one: intaglio fit -c audio/speech_small -c overlays/bf16 --data.root FOLDER"
    )


def listed(group: str) -> dict[str, str]:
    """The recipes of a folder by name, each with the first line of its header."""
    paths = sorted((FOLDER / group).glob("*.yaml"))
    return {f"{group}/{path.stem}": _first_line(path) for path in paths}


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
