"""``intaglio data``: list the real data sets, and fetch one by name."""

import argparse
import shutil
from collections.abc import Iterable, Iterator
from textwrap import TextWrapper

from rich.table import Table
from tqdm import tqdm

from intaglio.data.manifest import Record
from intaglio.data.sets import SETS, complete, folder_of, get, home, set_named
from intaglio.recipes.commands.options.words import given
from intaglio.recipes.evaluation.tables import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the words after ``intaglio data``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,get}")
    listing = actions.add_parser(
        "list", help="list the sets with size, licence, source, and whether they are there"
    )
    fetching = actions.add_parser("get", help="fetch a set; does nothing if it is there")
    fetching.add_argument(
        "name",
        type=_set_name,
        metavar="NAME",
        help=f"one of {', '.join(known.name for known in SETS)}",
    )
    for action in (listing, fetching):
        action.add_argument("--root", help=f"folder that holds the sets; default {home()}")


def run(args: argparse.Namespace) -> None:
    """Do what the words ask for; the folder of a fetched set goes to standard output.

    Raises:
        ValueError: there is nothing of the set in its packages.
        OSError: it cannot be fetched or written.
    """
    if args.action == "list":
        _list(args.root)
    else:
        print(get(args.name, args.root, progress=_bar))


def _set_name(text: str) -> str:
    """The text, for argparse, if it names a set."""
    try:
        return set_named(given(text)).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _bar(records: Iterator[Record], total: int) -> Iterable[Record]:
    return tqdm(records, total=total, desc="writing")


def _list(root: str | None) -> None:
    table = Table(box=None)
    for title in ("name", "items", "minutes", "MB", "present"):
        right = title in ("items", "minutes", "MB")
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for known in SETS:
        present = "yes" if complete(folder_of(known.name, root)) else "no"
        minutes = f"{known.minutes:.1f}" if known.minutes else ""
        numbers = (f"{known.items} {known.unit}", minutes, f"{known.megabytes:g}")
        table.add_row(known.name, *numbers, present)
    print_table(table)
    wrapper = TextWrapper(
        width=shutil.get_terminal_size().columns - 1,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    for known in SETS:
        print(f"\n{known.name}:")
        for line in (known.about, f"licence: {known.licence}", f"from: {known.source}"):
            print(wrapper.fill(line))
