"""Files and folders to token files and back, with a codec of any modality."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intaglio.codecs import Codec
from intaglio.data.formats.tokens import SUFFIX, iter_tokens
from intaglio.recipes import modalities
from intaglio.recipes.file_jobs import (
    DEFAULTS,
    STANDARD,
    JobOptions,
    plan_files,
    refuse_suffixes,
    run_all,
    unfinished,
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
