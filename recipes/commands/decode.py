"""``intaglio decode``: token files to audio files."""

import argparse
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.data.formats.tokens import SUFFIX, TokenFileError, TokenHeader, read_tokens
from intaglio.data.formats.wave import LIMITS, resample, write_wave
from intaglio.recipes.codec_option import add_codec_options, chosen_codec
from intaglio.recipes.files import Job, plan, run_all

EPILOG = """\
examples:
  intaglio decode speech.intaglio -o speech.wav
  intaglio decode tokens/ -o decoded/ --codec demo/codec

Writes 16-bit WAV (or FLAC, if OUT is a file that ends so) with the sample rate and the number of
samples that the recording had. Only the codec that made a token file can decode it.
"""


class Extent(NamedTuple):
    """Sample rate of a recording and its samples per channel."""

    sample_rate: int
    length: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument("inputs", nargs="+", metavar="IN", help="token file or folder")
    parser.add_argument(
        "-o", "--out", required=True, help="audio file for one input file, otherwise a folder"
    )
    add_codec_options(parser)
    parser.add_argument(
        "--codec-rate", action="store_true", help="keep the codec's sample rate, do not resample"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Decode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec or an input is damaged, or they do not belong together.
    """
    jobs = plan(args.inputs, args.out, (SUFFIX,), ".wav", overwrite=args.overwrite)
    codec = chosen_codec(args)
    fingerprint = codec.fingerprint  # hashes all weights: once, not once a file

    def work(job: Job) -> None:
        extent, wave = decode_file(codec, fingerprint, job, keep_rate=args.codec_rate)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_wave(job.target, wave, extent.sample_rate)

    run_all(jobs, work, "decoded")


def decode_file(
    codec: AudioCodec, fingerprint: str, job: Job, *, keep_rate: bool
) -> tuple[Extent, Tensor]:
    """Waveform, float32 [channels, samples], of one token file, and its extent.

    Args:
        codec: the codec that made the file.
        fingerprint: the codec's.
        job: the file to read.
        keep_rate: stay at the codec's sample rate.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged or of another codec.
    """
    try:
        with job.source.open("rb") as file:
            header, ids = read_tokens(file)
        _check_codec(header, codec, fingerprint)
        extent = Extent(header.sample_rate, header.length) if keep_rate else source_extent(header)
    except ValueError as error:
        raise ValueError(f"{job.source}: {error}") from error
    device = next(codec.parameters()).device
    tokens = Tokens(
        ids=ids.unsqueeze(0).to(device),
        mask=torch.ones(1, header.positions, dtype=torch.bool, device=device),
        vocab=header.vocab,
        lengths=torch.tensor([header.length], device=device),
    )
    wave = codec.decode(tokens)[0].float().cpu()
    wave = resample(wave, header.sample_rate, extent.sample_rate)
    # Resampling there and back gives some samples too many, or too few where a length was rounded.
    return extent, torch.nn.functional.pad(wave, (0, extent.length - wave.shape[-1]))


def source_extent(header: TokenHeader) -> Extent:
    """Extent of the recording that was encoded; as the codec heard it if the header does not say.

    Raises:
        TokenFileError: it does not fit the rest of the header.
    """
    source = header.extras.get("source")
    if source is None:
        return Extent(header.sample_rate, header.length)
    if not isinstance(source, dict) or set(source) != set(Extent._fields):
        raise TokenFileError("refused: its header does not say what was encoded")
    rate, length = source["sample_rate"], source["length"]
    if type(rate) is not int or type(length) is not int:
        raise TokenFileError("refused: rate and length of what was encoded are no integers")
    slack = 2 + header.length // 1_000_000  # float32 may have rounded the length
    if (
        length < 1
        or not LIMITS.min_rate <= rate <= LIMITS.max_rate
        or abs(length * header.sample_rate // rate - header.length) > slack
    ):
        raise TokenFileError(
            f"refused: {length} samples at {rate} Hz cannot have become {header.length} at "
            f"{header.sample_rate} Hz"
        )
    return Extent(rate, length)


def _check_codec(header: TokenHeader, codec: AudioCodec, fingerprint: str) -> None:
    if header.fingerprint != fingerprint:
        raise TokenFileError(
            f"made with the codec {header.codec} ({header.fingerprint}), which is not this one, "
            f"{codec.name} ({fingerprint}); name the right one with --codec"
        )
    said = (header.vocab, header.sample_rate, header.hop_length, header.channels)
    true = (codec.vocab, codec.sample_rate, codec.hop_length, codec.channels)
    positions = -(-header.length // header.hop_length)
    if said != true or header.positions != positions or positions == 0:
        raise TokenFileError("refused: its header contradicts its codec or its own length")
