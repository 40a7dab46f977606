"""Files and folders to token files and back, with a codec of any modality."""

from collections.abc import Sequence
from typing import Any

from intaglio.codecs import Codec
from intaglio.data.formats.tokens import SUFFIX
from intaglio.recipes import modalities
from intaglio.recipes.file_jobs import MAX_STDIN, STANDARD, plan_files, refuse_suffixes, run_all


def encode_files(
    codec: Codec,
    inputs: Sequence[str],
    out: str,
    *,
    options: Any = None,
    overwrite: bool = False,
    max_bad_share: float = 1.0,
    max_stdin: int = MAX_STDIN,
) -> None:
    """Encode files and folders to token files.

    Args:
        codec: frozen, on its device.
        inputs: files and folders, or "-" for standard input.
        out: token file for a single input file, or "-"; otherwise a folder.
        options: an `AudioEncoding` or `ImageEncoding`, by the codec; its defaults if None.
        overwrite: whether the files to write may exist.
        max_bad_share: share of the files, in [0, 1], that may fail before the rest is given up.
        max_stdin: bytes of standard input, at most.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: an option or an input is damaged or does not fit.
    """
    modality = modalities.modality_of(codec)
    chosen = modality.encoding() if options is None else options
    modality.check_encoding(codec, chosen)
    jobs = plan_files(inputs, out, modality.tokenizer.suffixes, SUFFIX, overwrite=overwrite)
    jobs = [job._replace(max_stdin=max_stdin) for job in jobs]
    for other in modalities.MODALITIES:
        foreign = set(other.tokenizer.suffixes) - set(modality.tokenizer.suffixes)
        refuse_suffixes(
            jobs, foreign, f"it is {other.item}, {codec.name} is a codec of {modality.plural}"
        )
    run_all(
        jobs,
        lambda job: modality.encode_file(codec, job, chosen),
        "encoded",
        max_bad_share=max_bad_share,
    )


def decode_files(
    codec: Codec,
    inputs: Sequence[str],
    out: str,
    *,
    options: Any = None,
    overwrite: bool = False,
    max_bad_share: float = 1.0,
    max_stdin: int = MAX_STDIN,
) -> None:
    """Decode token files and folders of them.

    Args:
        codec: that made them; frozen, on its device.
        inputs: files and folders, or "-" for standard input.
        out: file for a single input file, or "-"; otherwise a folder.
        options: an `AudioDecoding` or `ImageDecoding`, by the codec; its defaults if None.
        overwrite: whether the files to write may exist.
        max_bad_share: share of the files, in [0, 1], that may fail before the rest is given up.
        max_stdin: bytes of standard input, at most.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: an input is damaged, or of another codec.
    """
    modality = modalities.modality_of(codec)
    chosen = modality.decoding() if options is None else options
    jobs = plan_files(inputs, out, (SUFFIX,), modality.decoded_suffix, overwrite=overwrite)
    jobs = [job._replace(max_stdin=max_stdin) for job in jobs]
    for job in jobs:
        if job.target != STANDARD:
            modality.check_decoded(job.target)
    run_all(
        jobs,
        lambda job: modality.decode_file(codec, job, chosen),
        "decoded",
        max_bad_share=max_bad_share,
    )
