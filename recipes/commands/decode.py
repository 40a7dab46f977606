"""``intaglio decode``: token files to recordings and images.

Recordings come block by block, in constant memory; for images see
`intaglio.recipes.tokenization.image_file`.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.data.formats.image import image_format
from intaglio.data.formats.resampling import resample_blocks
from intaglio.data.formats.tokens import SUFFIX, TokenFileError, TokenHeader, iter_tokens
from intaglio.data.formats.wave import wave_format, write_blocks
from intaglio.recipes.commands.options.codec import add_codec_options, chosen_any_codec
from intaglio.recipes.file_jobs import STANDARD, Job, plan, read_from, run_all, watched, write_to
from intaglio.recipes.tokenization.audio_file import (
    BLOCK_SECONDS,
    Recording,
    from_streams,
    recording_of,
    scales_of,
)
from intaglio.recipes.tokenization.image_file import (
    PICTURE_SUFFIX,
    check_same_codec,
    decode_picture,
)

EPILOG = """\
examples:
  intaglio decode speech.intaglio -o speech.wav
  intaglio decode tokens/ -o decoded/ --codec demo/codec
  intaglio decode - -o - < speech.intaglio | aplay
  intaglio decode picture.intaglio -o picture.webp --codec BUNDLE

Of recordings it writes 16-bit WAV (or FLAC, if OUT is a file that ends so) with the rate, the
channels and the number of samples that the recording had. Of images it writes PNG (or WebP or JPEG,
if OUT is a file that ends so); a codec that takes any size gives back the size that the image had.
Only the codec that made a token file can decode it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="token file or folder, or - for standard input"
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help="file for one input file, or - for WAV or PNG on standard output; otherwise a folder",
    )
    add_codec_options(parser)
    parser.add_argument(
        "--codec-rate", action="store_true", help="keep the codec's sample rate, do not resample"
    )
    parser.add_argument(
        "--tokens",
        type=int,
        metavar="N",
        help="decode the first N positions (flexible image codecs)",
    )
    parser.add_argument("--seed", type=int, help="of the noise of a generative image decoder (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Decode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec or an input is damaged, or they do not belong together.
    """
    codec = chosen_any_codec(args)
    fingerprint = codec.fingerprint  # hashes all weights: once, not once a file
    if isinstance(codec, AudioCodec):
        if args.tokens is not None or args.seed is not None:
            raise ValueError(f"--tokens and --seed are for images, {codec.name} is for audio")
        jobs = _planned(args, ".wav", wave_format)
        run_all(
            jobs,
            lambda job: decode_file(codec, fingerprint, job, keep_rate=args.codec_rate),
            "decoded",
        )
        return
    if args.codec_rate:
        raise ValueError(f"--codec-rate is for audio, {codec.name} is a codec of images")
    jobs = _planned(args, PICTURE_SUFFIX, image_format)
    run_all(
        jobs,
        lambda job: decode_picture(
            codec, fingerprint, job, positions=args.tokens, seed=args.seed or 0
        ),
        "decoded",
    )


def _planned(
    args: argparse.Namespace, suffix: str, check_format: Callable[[Path], str]
) -> list[Job]:
    """Jobs whose outputs have a format that can be written."""
    jobs = plan(args.inputs, args.out, (SUFFIX,), suffix, overwrite=args.overwrite)
    for job in jobs:
        if job.target != STANDARD:
            check_format(job.target)
    return jobs


def decode_file(codec: AudioCodec, fingerprint: str, job: Job, *, keep_rate: bool) -> None:
    """Decode one token file of any length; every checksum is compared before anything is written.

    Args:
        codec: the codec that made the file.
        fingerprint: the codec's.
        job: the files to read and to write.
        keep_rate: stay at the codec's sample rate.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is damaged or of another codec.
    """
    with read_from(job.source) as source:
        try:
            header, recording = _checked(codec, fingerprint, source)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        with source.open("rb") as file, write_to(job.target, ".wav") as target:
            _, ids = iter_tokens(file)
            waves = _waves(codec, header, recording, ids)
            waves = _exactly(waves, header.length, recording.channels)
            waves = watched(waves, header.length / header.sample_rate, header.sample_rate)
            rate, length = header.sample_rate, header.length
            if not keep_rate:
                # Resampling there and back gives some samples too many, or too few in files of
                # earlier versions.
                rate, length = recording.sample_rate, recording.length
                waves = resample_blocks(waves, header.sample_rate, rate)
                waves = _exactly(waves, length, recording.channels)
            write_blocks(target, waves, rate, channels=recording.channels, samples=length)


def _checked(codec: AudioCodec, fingerprint: str, source: Path) -> tuple[TokenHeader, Recording]:
    """Header of a sound token file of this codec, and the recording that it tells of."""
    with source.open("rb") as file:
        header, blocks = iter_tokens(file)
        recording = _check_codec(header, codec, fingerprint)
        for _ in blocks:
            pass
    return header, recording


def _check_codec(header: TokenHeader, codec: AudioCodec, fingerprint: str) -> Recording:
    check_same_codec(header, codec.name, fingerprint)
    said = (header.sample_rate, header.hop_length, header.channels, header.positions)
    positions = int(codec.frames(torch.tensor(header.length)))
    if said == (codec.sample_rate, codec.hop_length, codec.channels, positions) and positions:
        recording = recording_of(header)
        depths = itertools.accumulate(codec.quantizer.level_groups)
        vocabs = [codec.vocab[:groups] * recording.streams for groups in depths]
        scales = recording.streams * scales_of(codec, header.length)
        if header.vocab in vocabs and len(header.scale) == scales:
            return recording
    raise TokenFileError("refused: its header contradicts its codec or its own length")


def _waves(
    codec: AudioCodec, header: TokenHeader, recording: Recording, blocks: Iterable[Tensor]
) -> Iterator[Tensor]:
    """Waveforms [channels, samples] at the codec's rate, at least as long as the recording."""
    tokens = _tokens(codec, header, recording.streams, blocks)
    for streams in codec.decode_blocks(tokens):
        wave = from_streams(streams.float().cpu(), recording.channels, recording.stereo)
        yield wave / recording.gain


def _tokens(
    codec: AudioCodec, header: TokenHeader, streams: int, blocks: Iterable[Tensor]
) -> Iterator[Tokens]:
    """Tokens of all streams, a batch, of ids [positions, groups of all streams]."""
    device = next(codec.parameters()).device
    size = max(1, round(BLOCK_SECONDS * codec.frame_rate))
    # All scales come first; decoding takes them as it needs them.
    scale = torch.tensor(header.scale, device=device).view(-1, streams).T if header.scale else None
    for ids in itertools.chain.from_iterable(block.split(size) for block in blocks):
        batch = ids.to(device).unflatten(1, (streams, -1)).transpose(0, 1)
        yield codec.tokens(batch)._replace(scale=scale)
        scale = None


def _exactly(blocks: Iterable[Tensor], samples: int, channels: int) -> Iterator[Tensor]:
    """The first samples of a waveform in blocks; silence fills it up."""
    missing = samples
    for block in blocks:
        yield block[..., :missing]
        missing -= min(missing, block.shape[-1])
    yield torch.zeros(channels, missing)
