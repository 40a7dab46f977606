"""Files and folders to token files and back, with a codec of any modality."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from intaglio.codecs import Codec
from intaglio.data.formats.printable import counted
from intaglio.data.formats.tokens import SUFFIX, iter_tokens
from intaglio.recipes import modalities
from intaglio.recipes.errors import explain, of_file, say
from intaglio.recipes.file_jobs import (
    DEFAULTS,
    STANDARD,
    FileJob,
    JobOptions,
    plan_files,
    run_all,
)
from intaglio.recipes.tokenization.same_codec import check_same_codec


def encode_files(
    codec: Codec,
    inputs: Sequence[str],
    out: str,
    *,
    options: Any = None,
    files: JobOptions = DEFAULTS,
) -> None:
    """Encode files and folders to token files.

    Args:
        codec: frozen, on its device.
        inputs: files and folders, or "-" for standard input.
        out: token file for a single input file, or "-"; otherwise a folder.
        options: an `AudioEncoding` or `ImageEncoding`, by the codec; its defaults if None.
        files: how to treat files that exist, and those that fail.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: an option or an input is damaged or does not fit.
    """
    modality = modalities.modality_of(codec)
    chosen = modality.encoding() if options is None else options
    modality.check_encoding(codec, chosen)
    jobs = plan_files(inputs, out, modality.tokenizer.suffixes, SUFFIX, options=files)
    for other in modalities.MODALITIES:
        foreign = set(other.tokenizer.suffixes) - set(modality.tokenizer.suffixes)
        refuse_suffixes(
            jobs, foreign, f"it is {other.item}, {codec.name} is a codec of {modality.plural}"
        )

    def check(target: Path) -> None:
        with target.open("rb") as file:
            header, blocks = iter_tokens(file)
            check_same_codec(header, codec)
            for _ in blocks:
                pass

    run_all(
        unfinished(jobs, check) if files.resume else jobs,
        lambda job: modality.encode_file(codec, job, chosen),
        "encoded",
        max_bad_share=files.max_bad_share,
        resumable=True,
    )


def decode_files(
    codec: Codec,
    inputs: Sequence[str],
    out: str,
    *,
    options: Any = None,
    files: JobOptions = DEFAULTS,
) -> None:
    """Decode token files and folders of them.

    Args:
        codec: that made them; frozen, on its device.
        inputs: files and folders, or "-" for standard input.
        out: file for a single input file, or "-"; otherwise a folder.
        options: an `AudioDecoding` or `ImageDecoding`, by the codec; its defaults if None.
        files: how to treat files that exist, and those that fail.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: an input is damaged, or of another codec.
    """
    modality = modalities.modality_of(codec)
    chosen = modality.decoding() if options is None else options
    jobs = plan_files(inputs, out, (SUFFIX,), modality.decoded_suffix, options=files)
    for job in jobs:
        if job.target != STANDARD:
            modality.check_decoded(job.target)
    run_all(
        unfinished(jobs, modality.check_decoded) if files.resume else jobs,
        lambda job: modality.decode_file(codec, job, chosen),
        "decoded",
        max_bad_share=files.max_bad_share,
        resumable=True,
    )


def unfinished(jobs: list[FileJob], check: Callable[[Path], None]) -> list[FileJob]:
    """The jobs whose file is not there yet. No file is ever half-written, so the others are done.

    Args:
        jobs: all of them.
        check: raises ValueError for a file that this command cannot have made.

    Raises:
        FileExistsError: a file is older than what it should have been made from.
        ValueError: the check refused one.
    """
    done = {job for job in jobs if job.target != STANDARD and job.target.exists()}
    for source, target, _ in sorted(done):
        if source == STANDARD or target.stat().st_mtime_ns < source.stat().st_mtime_ns:
            name = "standard input" if source == STANDARD else source
            raise FileExistsError(
                f"{target} is older than {name}: --resume replaces nothing; move it away"
            )
        try:
            check(target)
        except ValueError as error:
            raise ValueError(f"{explain(of_file(target, error))}; move it away") from error
    if done:
        say(f"kept {counted(len(done), 'file')} of {len(jobs)}, made before")
    return [job for job in jobs if job not in done]


def refuse_suffixes(jobs: list[FileJob], suffixes: Collection[str], why: str) -> None:
    """Raise ValueError, with the reason, if a file to read has one of the suffixes."""
    for job in jobs:
        if job.source.suffix.lower() in suffixes:
            raise ValueError(f"{job.source}: {why}")
