"""``intaglio encode``: recordings and images to token files.

Recordings go block by block, in constant memory; for images see
`intaglio.recipes.tokenization.image_file`.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from torch import Tensor

from intaglio.codecs import AudioCodec, ImageCodec, Tokens
from intaglio.codecs.bundle import replacing
from intaglio.data.formats import image
from intaglio.data.formats.entropy import StaticPrior, encode_chunk
from intaglio.data.formats.loudness import LoudnessMeter
from intaglio.data.formats.resampling import resample_blocks
from intaglio.data.formats.tokens import SUFFIX, TokenHeader, TokenWriter, write_tokens
from intaglio.data.formats.wave import LIMITS, SUFFIXES, probe, read_blocks
from intaglio.recipes.commands.options.codec import add_codec_options, chosen_any_codec
from intaglio.recipes.file_jobs import (
    Job,
    plan,
    read_from,
    refuse_suffixes,
    run_all,
    watched,
    write_to,
)
from intaglio.recipes.tokenization.audio_file import (
    BLOCK_SECONDS,
    STEREO,
    Recording,
    scales_of,
    stereo_mode,
    to_streams,
)
from intaglio.recipes.tokenization.image_file import PictureOptions, encode_picture

EPILOG = """\
examples:
  intaglio encode speech.wav -o speech.intaglio
  intaglio encode recordings/ more/take1.flac -o tokens/ --codec demo/codec
  intaglio encode concert.flac -o concert.intaglio --stereo mid-side --bitrate 12000
  ffmpeg -i talk.mkv -f wav - | intaglio encode - -o - > talk.intaglio
  intaglio encode pictures/ -o tokens/ --codec BUNDLE

What the codec is made for decides between recordings and images. Recordings may be of any length.
They are resampled to the codec's rate; the token file remembers
all that `decode` undoes. An image is given whole to a codec that takes any size, and resized to a
codec of one size. Of a folder, hidden files and files that do not end as the codec's do are left
out; damaged ones are skipped, named at the end, and make the exit status 1. Standard input is
recognised by its content; it is kept in a temporary file.
"""
ANY_LENGTH = LIMITS._replace(max_seconds=math.inf)


class Options(NamedTuple):
    """How to encode.

    Attributes:
        levels: of the quantizer; None for all, or for what ``bitrate`` allows.
        bitrate: bits per second that all streams of a recording may take together, or None.
        stereo: one of `STEREO`.
        loudness: LUFS to bring a recording to before it is encoded, or None.
        entropy: entropy code the ids if that makes the file smaller.
    """

    levels: int | None = None
    bitrate: float | None = None
    stereo: str = "mix"
    loudness: float | None = None
    entropy: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="audio or image file or folder, or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help="token file for one input file, or - for standard output; otherwise a folder",
    )
    add_codec_options(parser)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--levels", type=int, help="first levels of the quantizer to use (all)")
    size.add_argument(
        "--bitrate", type=float, metavar="BITS", help="as many levels as stay within BITS a second"
    )
    parser.add_argument(
        "--stereo",
        choices=STEREO,
        default="mix",
        help="two channels in a codec of one: their mean (mix, the default), each apart (folded), "
        "or half their sum and difference (mid-side)",
    )
    parser.add_argument(
        "--loudness",
        type=float,
        metavar="LUFS",
        help="bring every recording to this loudness, such as -16, as far as its peak allows; "
        "decoding undoes it",
    )
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="keep the first N positions (flexible image codecs)"
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "letterbox"),
        help="for a codec of one size, keep the middle of an image (crop, the default) or all",
    )
    parser.add_argument("--entropy", action="store_true", help="entropy code where it saves bytes")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> None:
    """Encode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec, an option or an input is damaged or does not fit.
        ModuleNotFoundError: an extra is missing.
    """
    if args.loudness is not None and not -70 <= args.loudness <= 0:
        raise ValueError(f"a loudness lies in [-70, 0] LUFS, not {args.loudness}")
    if args.entropy:  # a missing extra is told now, not after hours
        encode_chunk(np.zeros((1, 1), np.int64), StaticPrior.of([np.ones(2, np.int64)]))
    codec = chosen_any_codec(args)
    fingerprint = codec.fingerprint  # hashes all weights: once, not once a file
    if isinstance(codec, AudioCodec):
        jobs, work = _audio_jobs(args, codec, fingerprint)
    else:
        jobs, work = _image_jobs(args, codec, fingerprint)
    run_all(jobs, work, "encoded")


Work = Callable[[Job], None]


def _audio_jobs(
    args: argparse.Namespace, codec: AudioCodec, fingerprint: str
) -> tuple[list[Job], Work]:
    if args.tokens is not None or args.fit is not None:
        raise ValueError(f"--tokens and --fit are for images, {codec.name} is a codec of audio")
    options = Options(args.levels, args.bitrate, args.stereo, args.loudness, args.entropy)
    jobs = plan(args.inputs, args.out, SUFFIXES, SUFFIX, overwrite=args.overwrite)
    refuse_suffixes(jobs, image.SUFFIXES, f"it is an image, {codec.name} is a codec of audio")
    return jobs, lambda job: encode_file(codec, fingerprint, job, options)


def _image_jobs(
    args: argparse.Namespace, codec: ImageCodec, fingerprint: str
) -> tuple[list[Job], Work]:
    wrong = (args.levels, args.bitrate, args.loudness) != (None,) * 3 or args.stereo != "mix"
    if wrong:
        raise ValueError(
            f"--levels, --bitrate, --stereo and --loudness are for audio, {codec.name} is a codec "
            "of images"
        )
    if args.fit is not None and codec.any_size:
        raise ValueError(f"{codec.name} takes images of any size; --fit is for codecs of one")
    options = PictureOptions(args.tokens, args.fit or "crop", entropy=args.entropy)
    jobs = plan(args.inputs, args.out, image.SUFFIXES, SUFFIX, overwrite=args.overwrite)
    refuse_suffixes(jobs, SUFFIXES, f"it is a recording, {codec.name} is a codec of images")
    return jobs, lambda job: encode_picture(codec, fingerprint, job, options)


def encode_file(codec: AudioCodec, fingerprint: str, job: Job, options: Options) -> None:
    """Encode one audio file of any length; ``fingerprint`` is the codec's.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is no sound audio file, or does not fit the codec or the options.
    """
    with read_from(job.source) as source, write_to(job.target, SUFFIX) as target:
        info = probe(source, ANY_LENGTH)
        try:
            stereo = stereo_mode(info.channels, codec.channels, options.stereo)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        recording = Recording(info.sample_rate, info.frames, info.channels, stereo)
        levels = _levels(codec, options, recording.streams)
        if options.loudness is not None:
            mixed = codec.channels == 1 and stereo == "mix"
            gain = _gain(_blocks(source, recording), mixed, recording, options.loudness)
            recording = recording._replace(gain=gain)
        coding = "range" if options.entropy else "packed"
        with replacing(target) as part, part.open("wb") as file:
            _write(file, codec, fingerprint, _blocks(source, recording), recording, levels, coding)


def write_item(
    codec: AudioCodec, fingerprint: str, tokens: Tokens, target: Path, *, item: int = 0
) -> None:
    """Write one item of a batch of tokens as a token file; folders are made.

    Args:
        codec: that made the tokens.
        fingerprint: the codec's.
        tokens: of a batch, with ``lengths``.
        target: the file, replaced if it exists.
        item: which of the batch.

    Raises:
        OSError: the file cannot be written.
    """
    assert tokens.lengths is not None
    length = int(tokens.lengths[item])
    ids = tokens.ids[item][tokens.mask[item]]
    header = _header(codec, fingerprint, vocab=tokens.vocab, positions=len(ids), length=length)
    if tokens.scale is not None:
        scale = tokens.scale[item, : scales_of(codec, length)]
        header = header._replace(scale=tuple(scale.float().tolist()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part, part.open("wb") as file:
        write_tokens(file, header, ids)


def _blocks(source: Path, recording: Recording) -> Iterator[Tensor]:
    """Waveforms [channels, samples] of a recording, with a progress bar."""
    rate = recording.sample_rate
    blocks = read_blocks(source, BLOCK_SECONDS, limits=ANY_LENGTH)
    return watched(blocks, recording.length / rate, rate)


def _levels(codec: AudioCodec, options: Options, streams: int) -> int:
    """How many levels to use for each of the streams."""
    if options.levels is not None:
        if not 1 <= options.levels <= codec.depth:
            raise ValueError(f"{codec.name} has {codec.depth} levels, cannot use {options.levels}")
        return options.levels
    if options.bitrate is None:
        return codec.depth
    bits = sum(math.log2(size) for size in codec.vocab[: codec.quantizer.level_groups[0]])
    least = streams * codec.frame_rate * bits
    if not least <= options.bitrate * (1 + 1e-9):
        raise ValueError(
            f"{codec.name} takes {least:.0f} bits a second at least for {streams} "
            f"{'stream' if streams == 1 else 'streams'}, more than {options.bitrate:.0f}"
        )
    return codec.levels_at(options.bitrate / streams)


def _gain(blocks: Iterable[Tensor], mixed: bool, recording: Recording, wanted: float) -> float:
    """Factor that brings a recording, maybe mixed down, to a loudness without clipping it."""
    meter = LoudnessMeter(recording.sample_rate, 1 if mixed else recording.channels)
    for block in blocks:
        meter.push(block.mean(0, keepdim=True) if mixed else block)
    loudness = meter.loudness()
    if loudness == -math.inf:
        return 1.0
    return min(10 ** ((wanted - loudness) / 20), 1 / meter.peak)


def _write(
    file: BinaryIO,
    codec: AudioCodec,
    fingerprint: str,
    blocks: Iterable[Tensor],
    recording: Recording,
    levels: int,
    coding: str,
) -> None:
    """Encode blocks [channels, samples] to a token file."""
    device = next(codec.parameters()).device
    length = 0

    def streams() -> Iterator[Tensor]:
        nonlocal length
        for block in blocks:
            length += block.shape[-1]
            yield recording.gain * to_streams(block, codec.channels, recording.stereo)

    waves = resample_blocks(streams(), recording.sample_rate, codec.sample_rate)
    groups = sum(codec.quantizer.level_groups[:levels])
    vocab = codec.vocab[:groups] * recording.streams
    scale: list[float] = []
    with TokenWriter(file, vocab) as writer:
        for tokens in codec.encode_blocks((wave.to(device) for wave in waves), levels=levels):
            writer.write(tokens.ids.transpose(0, 1).flatten(1).cpu())
            if tokens.scale is not None:
                scale += tokens.scale.T.flatten().tolist()
        heard = -(-length * codec.sample_rate // recording.sample_rate)
        header = _header(codec, fingerprint, vocab=vocab, positions=writer.positions, length=heard)
        extras = recording._replace(length=length).extras(codec.channels)
        writer.finish(header._replace(extras=extras, coding=coding, scale=tuple(scale)))


def _header(
    codec: AudioCodec, fingerprint: str, *, vocab: tuple[int, ...], positions: int, length: int
) -> TokenHeader:
    return TokenHeader(
        codec=codec.name,
        fingerprint=fingerprint,
        vocab=vocab,
        positions=positions,
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        channels=codec.channels,
        length=length,
        extras={},
    )
