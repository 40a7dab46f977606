"""What is evaluated and where the records go: the options that all kinds of `eval` share."""

import argparse
from pathlib import Path

from intaglio.data.formats.atomic import check_target
from intaglio.recipes.commands.options.words import SEED, SHARE, whole

SIDES = ("test", "validation", "all")


def add_evaluation_options(
    parser: argparse.ArgumentParser,
    *,
    data: str,
    limit: str,
    sides: tuple[str, ...] = SIDES,
    side: str = "all",
    several: bool = False,
) -> None:
    """Add the options ``--data``, ``--limit``, ``--split`` with its shares and seed, ``--json``.

    Args:
        parser: of a kind.
        data: help of ``--data``.
        limit: help of ``--limit``.
        sides: of the split to choose from.
        side: the default.
        several: ``--data`` may be repeated and gives a list.
    """
    action = "append" if several else "store"
    parser.add_argument("--data", required=True, action=action, help=data)
    parser.add_argument("--limit", type=whole(1), help=limit)
    left_out = "what training on the same data left out"
    parser.add_argument(
        "--split",
        choices=sides,
        default=side,
        help=f"{left_out}, or all ({side})" if "all" in sides else f"{left_out} ({side})",
    )
    parser.add_argument(
        "--validation-share",
        type=SHARE,
        default=0.05,
        help="share of validation, as in training (0.05)",
    )
    parser.add_argument(
        "--test-share",
        type=SHARE,
        default=0.05,
        help="share of the test split, as in training (0.05)",
    )
    parser.add_argument(
        "--seed", type=SEED, default=0, help="seed of the split and of the intervals (0)"
    )
    parser.add_argument("--json", metavar="FILE", help="write one record per system")


def check_folders(*paths: str | None) -> None:
    """Refuse output files that cannot be written, before hours of work.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: something else than a file is there.
    """
    for path in filter(None, paths):
        if not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {Path(path).parent}")
        check_target(Path(path))
