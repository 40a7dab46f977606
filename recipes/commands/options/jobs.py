"""How commands treat many files, those that exist, those that fail, and standard input."""

import argparse

from intaglio.recipes.commands.options.words import POSITIVE, SHARE
from intaglio.recipes.file_jobs import MAX_STDIN, JobOptions


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that make files of files."""
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace files that exist")
    existing.add_argument(
        "--resume", action="store_true", help="keep files that exist, and do the rest"
    )
    add_share_option(parser, 1.0)
    parser.add_argument(
        "--max-stdin",
        type=POSITIVE,
        default=MAX_STDIN / 2**30,
        metavar="GIB",
        help=f"gibibytes of standard input that are kept on the disk ({MAX_STDIN / 2**30:g})",
    )


def job_options(args: argparse.Namespace) -> JobOptions:
    """What these options say."""
    return JobOptions(
        overwrite=args.overwrite,
        resume=args.resume,
        max_bad_share=args.max_bad_share,
        max_stdin=int(args.max_stdin * 2**30),
    )


def add_share_option(parser: argparse.ArgumentParser, default: float) -> None:
    """Add the option; ``default`` is the share that is tolerated if it is not given."""
    parser.add_argument(
        "--max-bad-share",
        type=SHARE,
        default=default,
        metavar="SHARE",
        help="stop once more than this share of all files cannot be treated, in [0, 1] "
        f"({default:g})",
    )
