"""``intaglio ids``: token files or shards as plain ids for a language model, NumPy or Parquet."""

import argparse
from pathlib import Path

from intaglio.data.formats.printable import counted, printable
from intaglio.recipes.commands.options.evaluation import check_folders
from intaglio.recipes.tokenization.flat_ids import check_installed, write_ids

EPILOG = """\
examples:
  intaglio ids tokens/ -o ids.npy
  intaglio ids tokens/ -o ids.parquet

ids.npy is one array of all items, each followed by an id that marks its end, with ids.json next to
it; ids.parquet has a row for each item and needs the extra parquet. Groups of a position follow one
another, each with ids of its own: docs/language_models.md.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument("input", metavar="IN", help="token file, shard, or folder of either")
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="file to write, .npy or .parquet"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Write the ids.

    Raises:
        OSError: the input is missing, or the output exists or cannot be written.
        ValueError: the format is unknown, or a token file is damaged or of another codec.
        ModuleNotFoundError: an extra is missing.
    """
    out = Path(args.out)
    check_installed(out.suffix)
    check_folders(args.out)
    record = write_ids(args.input, out, overwrite=args.overwrite)
    print(
        f"{counted(record['items'], 'item')}, {counted(record['ids'], 'id')} below "
        f"{record['vocab_size']:,} in {printable(str(out))}; "
        f"codec {record['codec']} ({record['fingerprint']})"
    )
