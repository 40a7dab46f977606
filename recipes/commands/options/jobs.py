"""How a command treats many files: the option ``--max-bad-share``."""

import argparse


def add_share_option(parser: argparse.ArgumentParser, default: float) -> None:
    """Add the option; ``default`` is the share that is tolerated if it is not given."""
    parser.add_argument(
        "--max-bad-share",
        type=float,
        default=default,
        metavar="SHARE",
        help="stop once more than this share of all files cannot be treated, in [0, 1] "
        f"({default:g})",
    )


def bad_share(args: argparse.Namespace) -> float:
    """The share that the option names.

    Raises:
        ValueError: it is not in [0, 1].
    """
    share: float = args.max_bad_share
    if not 0 <= share <= 1:
        raise ValueError(f"the share of damaged files is in [0, 1], not {share}")
    return share
