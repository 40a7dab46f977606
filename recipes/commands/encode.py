"""``intaglio encode``: audio files to token files."""

import argparse
from pathlib import Path
from typing import Any

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.bundle import replacing
from intaglio.data.formats.tokens import SUFFIX, TokenHeader, write_tokens
from intaglio.data.formats.wave import SUFFIXES, read_wave, resample
from intaglio.recipes.codec_option import add_codec_options, chosen_codec
from intaglio.recipes.files import Job, plan, run_all

EPILOG = """\
examples:
  intaglio encode speech.wav -o speech.intaglio
  intaglio encode recordings/ more/take1.flac -o tokens/ --codec demo/codec

Audio is resampled to the codec's rate; the token file remembers the recording's own rate and
length, which `decode` restores. Of a folder, hidden files and files that do not end as audio does
are left out; damaged ones are skipped, named at the end, and make the exit status 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="IN", help="audio file or folder")
    parser.add_argument(
        "-o", "--out", required=True, help="token file for one input file, otherwise a folder"
    )
    add_codec_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Encode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec or an input is damaged or does not fit.
    """
    jobs = plan(args.inputs, args.out, SUFFIXES, SUFFIX, overwrite=args.overwrite)
    codec = chosen_codec(args)
    fingerprint = codec.fingerprint  # hashes all weights: once, not once a file
    run_all(jobs, lambda job: encode_file(codec, fingerprint, job), "encoded")


def encode_file(codec: AudioCodec, fingerprint: str, job: Job) -> None:
    """Encode one audio file as a whole; ``fingerprint`` is the codec's.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is no sound audio file, or has other channels than the codec.
    """
    source, rate = read_wave(job.source, channels=codec.channels)
    wave = resample(source, rate, codec.sample_rate)
    device = next(codec.parameters()).device
    tokens = codec.encode(wave.unsqueeze(0).to(device))
    extras = {"source": {"sample_rate": rate, "length": source.shape[-1]}}
    write_item(codec, fingerprint, tokens, Path(job.target), extras=extras)


def write_item(
    codec: AudioCodec,
    fingerprint: str,
    tokens: Tokens,
    target: Path,
    *,
    item: int = 0,
    extras: dict[str, Any] | None = None,
) -> None:
    """Write one item of a batch of tokens as a token file; folders are made.

    Args:
        codec: that made the tokens.
        fingerprint: the codec's.
        tokens: of a batch, with ``lengths``.
        target: the file, replaced if it exists.
        item: which of the batch.
        extras: of the header.

    Raises:
        OSError: the file cannot be written.
    """
    assert tokens.lengths is not None
    ids = tokens.ids[item][tokens.mask[item]]
    header = TokenHeader(
        codec=codec.name,
        fingerprint=fingerprint,
        vocab=tokens.vocab,
        positions=len(ids),
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        channels=codec.channels,
        length=int(tokens.lengths[item]),
        extras=extras or {},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part, part.open("wb") as file:
        write_tokens(file, header, ids)
