"""``intaglio tokenize``: a data set to tar shards of tokens, in jobs that may be killed."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from intaglio.data.formats import entropy
from intaglio.data.formats.printable import counted, first_of, printable
from intaglio.data.formats.shards import ShardRow
from intaglio.recipes.commands.options.codec import add_codec_options, chosen_any_codec
from intaglio.recipes.commands.options.jobs import add_share_option
from intaglio.recipes.commands.options.words import whole
from intaglio.recipes.errors import WrongUsage, ends_a_job, explain_file, say, show_traceback
from intaglio.recipes.modalities import modality_of
from intaglio.recipes.modalities.options import add_modality_options, modality_options
from intaglio.recipes.tokenization.foreign_shards import foreign_files
from intaglio.recipes.tokenization.shard_jobs import (
    ROWS,
    AnyTokenizer,
    ShardJob,
    finished,
    gather,
    make,
    plan_shards,
    surplus,
)

EPILOG = """\
examples:
  intaglio tokenize recordings/ -o tokens/ --codec demo/codec
  intaglio tokenize shards/ -o tokens/ --codec demo/codec --job-index 3 --num-jobs 16
  intaglio tokenize emoji-3d -o tokens/ --codec BUNDLE --views 10

IN is a folder or a manifest of recordings or images, the name of a fetched set, a tar shard of
audio or images, or a folder of such shards. Next to each shard a row is written, a JSON file with
its SHA-256 and the names of the files that could not be read. To continue after an interruption,
run the same command again: finished shards are kept.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument("input", metavar="IN", help="recordings or images, or tar shards of them")
    parser.add_argument("-o", "--out", required=True, help="folder for the shards of tokens")
    add_codec_options(parser)
    parser.add_argument("--per-shard", type=whole(1), default=1000, help="items in a shard (1000)")
    parser.add_argument(
        "--entropy", action="store_true", help="entropy-code where that saves bytes"
    )
    parser.add_argument(
        "--job-index", type=whole(0), default=0, metavar="I", help="number of this job, from 0 (0)"
    )
    parser.add_argument(
        "--num-jobs", type=whole(1), default=1, metavar="N", help="number of jobs (1)"
    )
    add_share_option(parser, 0.01)
    parser.add_argument("--overwrite", action="store_true", help="make finished shards again")
    parser.add_argument("--dry-run", action="store_true", help="only list the shards")
    add_modality_options(parser, "tokenize")


def run(args: argparse.Namespace) -> None:
    """Make the shards of this job that are not finished.

    Raises:
        OSError: an input is missing, or the output cannot be written.
        ValueError: an option is wrong, a shard is damaged, or too many recordings are.
        ModuleNotFoundError: an extra is missing.
    """
    if not 0 <= args.job_index < args.num_jobs:
        raise WrongUsage(
            f"job {args.job_index} of {args.num_jobs}: jobs are counted from 0, to the number of "
            "jobs less 1"
        )
    share = args.max_bad_share
    out = Path(args.out)
    tokenizer = _tokenizer(args)
    jobs = plan_shards(tokenizer, args.input, out, args.per_shard)
    if args.dry_run:
        _list(jobs, tokenizer, args)
        return
    left = surplus(jobs, out)
    if left and not args.overwrite:
        raise ValueError(
            f"{left[0]} is of other data ({counted(len(left), 'such shard')}); add --overwrite or "
            "choose another output"
        )
    others = [] if args.overwrite else foreign_files(jobs, tokenizer, out)
    if others:
        raise ValueError(
            f"{others[0]} is none that this codec made ({counted(len(others), 'such file')}); move "
            "it away, add --overwrite or choose another output"
        )
    own = jobs[args.job_index :: args.num_jobs]
    rows, failures = _make_all(own, tokenizer, share, overwrite=args.overwrite)
    complete = not failures and gather(jobs, tokenizer, out)
    _report(rows, complete, tokenizer, out)
    for reason in failures:
        say(f"skipped: {reason}")
    if failures:
        raise ValueError(
            f"{len(failures)} of {counted(len(own), 'shard')} could not be made; see above"
        )
    _check_share(rows, len(own), tokenizer, share)


def _tokenizer(args: argparse.Namespace) -> AnyTokenizer:
    if args.entropy:  # a missing extra is reported now, not after hours
        entropy.check_installed()
    codec = chosen_any_codec(args)
    modality = modality_of(codec)
    given = modality_options(codec, modality, "tokenize", args)
    return modality.tokenizer(codec, entropy=args.entropy, **given)


def _make_all(
    jobs: Sequence[ShardJob], tokenizer: AnyTokenizer, max_share: float, *, overwrite: bool
) -> tuple[list[ShardRow], list[str]]:
    """Rows of all shards of this job, and reasons why there are not more.

    Fewer if so many files are damaged that the share of all is sure to be too large.
    """
    rows, failures = [], []
    known = [None if overwrite else finished(job, tokenizer) for job in jobs]
    left = tokenizer.views * sum(
        len(job.records) for job, row in zip(jobs, known, strict=True) if row is None
    )
    total = tokenizer.views * sum(len(job.records) for job in jobs)  # 0: they come in shards
    with tqdm(total=left or None, unit="file", disable=None, file=sys.stderr) as progress:
        for job, row in zip(jobs, known, strict=True):
            try:
                rows.append(make(job, tokenizer, progress) if row is None else row)
            except Exception as error:
                if ends_a_job(error):
                    raise
                show_traceback(error)
                failures.append(explain_file(job.shard or job.target, error))
            if total and len(_damaged(rows)) > max_share * total:
                break
    return rows, failures


def _list(jobs: Sequence[ShardJob], tokenizer: AnyTokenizer, args: argparse.Namespace) -> None:
    for number, job in enumerate(jobs):
        done = not args.overwrite and finished(job, tokenizer) is not None
        what = (
            job.shard
            if job.shard is not None
            else counted(len(job.records), tokenizer.noun.removesuffix("s"))
        )
        state = "finished" if done else "to do"
        print(printable(f"{job.target}  job {number % args.num_jobs}  {what}  {state}"))


def _files(count: int, tokenizer: AnyTokenizer) -> str:
    noun = tokenizer.noun.removesuffix("s")
    if tokenizer.views == 1:
        return counted(count, noun)
    return counted(count, f"view of {tokenizer.noun}", f"views of {tokenizer.noun}")


def _report(rows: Sequence[ShardRow], complete: bool, tokenizer: AnyTokenizer, out: Path) -> None:
    count = sum(row.samples for row in rows)
    end = (
        f"all shards are listed in {out / ROWS}"
        if complete
        else "other shards are not finished yet"
    )
    found = f"{_files(count, tokenizer)} in {counted(len(rows), 'shard')}"
    print(f"{found}, {len(_damaged(rows))} damaged; {printable(end)}")


def _damaged(rows: Sequence[ShardRow]) -> list[str]:
    """Why each of the damaged files cannot be read."""
    return [file["reason"] for row in rows for file in row.about["damaged"]]


def _check_share(
    rows: Sequence[ShardRow], num_jobs: int, tokenizer: AnyTokenizer, max_share: float
) -> None:
    total = sum(row.about["total"] for row in rows)
    damaged = _damaged(rows)
    if len(damaged) > max_share * total:
        shards = f"{len(rows)} of {counted(num_jobs, 'shard')}"
        end = "" if len(rows) == num_jobs else f"stopped after {shards}: "
        raise ValueError(
            f"{end}{len(damaged)} of {_files(total, tokenizer)} cannot be read, more than "
            f"{max_share:.1%} (--max-bad-share); the rows next to the shards name all: "
            f"{first_of(damaged, joined_by='; ')}"
        )
