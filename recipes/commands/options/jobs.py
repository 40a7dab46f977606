"""How commands treat many files, and standard input: ``--max-bad-share``, ``--max-stdin``."""

import argparse
import math


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


def add_stdin_option(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the option; ``default`` is in bytes."""
    parser.add_argument(
        "--max-stdin",
        type=float,
        default=default / 2**30,
        metavar="GIB",
        help=f"gibibytes of standard input that are kept on the disk ({default / 2**30:g})",
    )


def stdin_bytes(args: argparse.Namespace) -> int:
    """The limit that the option names, in bytes.

    Raises:
        ValueError: it is not above 0.
    """
    if not 0 < args.max_stdin < math.inf:
        raise ValueError(f"--max-stdin is a number of gibibytes above 0, not {args.max_stdin}")
    return int(args.max_stdin * 2**30)


def bad_share(args: argparse.Namespace) -> float:
    """The share that the option names.

    Raises:
        ValueError: it is not in [0, 1].
    """
    share: float = args.max_bad_share
    if not 0 <= share <= 1:
        raise ValueError(f"the share of damaged files is in [0, 1], not {share}")
    return share
