"""One recording to a token file, block by block, in constant memory."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.loudness import LoudnessMeter
from intaglio.data.formats.open_audio import AUDIO_LIMITS
from intaglio.data.formats.resampling import resample_blocks
from intaglio.data.formats.tokens import SUFFIX, TokenWriter, write_tokens
from intaglio.data.formats.wave import probe, read_blocks
from intaglio.recipes.file_jobs import FileJob, read_from, watched, write_to
from intaglio.recipes.tokenization.audio_file import (
    BLOCK_SECONDS,
    SourceAudio,
    audio_header,
    block_of,
    num_scales,
    stereo_mode,
    to_streams,
)

ANY_LENGTH = AUDIO_LIMITS._replace(max_seconds=math.inf)
MIN_LOUDNESS = -70.0  # LUFS; EBU R 128 measures nothing below


class AudioEncoding(NamedTuple):
    """How to encode a recording.

    Attributes:
        levels: of the quantizer; None for all, or for what ``bitrate`` allows.
        bitrate: bits per second that all streams of a recording may take together, or None.
        stereo: one of `intaglio.recipes.tokenization.audio_file.STEREO`.
        loudness: LUFS to bring a recording to before it is encoded, or None.
        entropy: entropy code the ids if that makes the file smaller.
    """

    levels: int | None = None
    bitrate: float | None = None
    stereo: str = "mix"
    loudness: float | None = None
    entropy: bool = False

    def check(self) -> None:
        """Raise ValueError for options that fit no codec."""
        if self.loudness is not None and not MIN_LOUDNESS <= self.loudness <= 0:
            raise ValueError(f"a loudness lies in [-70, 0] LUFS, not {self.loudness}")
        if self.levels is not None and self.bitrate is not None:
            raise ValueError("either the levels or the bitrate can be chosen, not both")


def encode_audio_file(codec: AudioCodec, job: FileJob, options: AudioEncoding) -> None:
    """Encode one audio file of any length.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is no intact audio file, or does not fit the codec or the options.
    """
    with read_from(job.source, job.max_stdin) as path, write_to(job.target, SUFFIX) as target:
        info = probe(path, ANY_LENGTH)
        try:
            stereo = stereo_mode(info.channels, codec.channels, options.stereo)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        source = SourceAudio(info.sample_rate, info.frames, info.channels, stereo)
        levels = chosen_levels(codec, options, source.streams)
        if options.loudness is not None:
            mixed = codec.channels == 1 and stereo == "mix"
            gain = _gain(_blocks(path, source), mixed, source, options.loudness)
            source = source._replace(gain=gain)
        coding = "range" if options.entropy else "packed"

        def write(share: float) -> None:
            blocks = _blocks(path, source, share)
            with replacing(target) as part, part.open("wb") as file:
                _write(file, codec, blocks, source, levels=levels, coding=coding)

        block_of(codec).run(write)


def write_audio_item(codec: AudioCodec, tokens: Tokens, target: Path, *, item: int = 0) -> None:
    """Write one item of a batch of tokens as a token file; folders are made.

    Args:
        codec: that made the tokens.
        tokens: of a batch, with ``lengths``.
        target: the file, replaced if it exists.
        item: which of the batch.

    Raises:
        OSError: the file cannot be written.
    """
    assert tokens.lengths is not None
    length = int(tokens.lengths[item])
    ids = tokens.ids[item][tokens.mask[item]]
    header = audio_header(codec, vocab=tokens.vocab, positions=len(ids), length=length)
    if tokens.scale is not None:
        scale = tokens.scale[item, : num_scales(codec, length)]
        header = header._replace(scale=tuple(scale.float().tolist()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as part, part.open("wb") as file:
        write_tokens(file, header, ids)


def _blocks(path: Path, source: SourceAudio, share: float = 1.0) -> Iterator[Tensor]:
    """Waveforms [channels, samples] of a recording, with a progress bar."""
    rate = source.sample_rate
    blocks = read_blocks(path, share * BLOCK_SECONDS, limits=ANY_LENGTH)
    return watched(blocks, source.length / rate, rate)


def chosen_levels(codec: AudioCodec, options: AudioEncoding, streams: int) -> int:
    """How many levels to use for each of the streams of a recording.

    Raises:
        ValueError: the codec does not have or reach them.
    """
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


def _gain(blocks: Iterable[Tensor], mixed: bool, source: SourceAudio, wanted: float) -> float:
    """Factor that brings a recording, mixed down or not, to a loudness without clipping it."""
    meter = LoudnessMeter(source.sample_rate, 1 if mixed else source.channels)
    for block in blocks:
        meter.push(block.mean(0, keepdim=True) if mixed else block)
    loudness = meter.loudness()
    if loudness == -math.inf:
        return 1.0
    return min(10 ** ((wanted - loudness) / 20), 1 / meter.peak)


def _write(
    file: BinaryIO,
    codec: AudioCodec,
    blocks: Iterable[Tensor],
    source: SourceAudio,
    *,
    levels: int,
    coding: str,
) -> None:
    """Encode blocks [channels, samples] to a token file."""
    device = next(codec.parameters()).device
    samples = 0

    def streams() -> Iterator[Tensor]:
        nonlocal samples
        for block in blocks:
            samples += block.shape[-1]
            yield source.gain * to_streams(block, codec.channels, source.stereo)

    waves = resample_blocks(streams(), source.sample_rate, codec.sample_rate)
    groups = sum(codec.quantizer.level_groups[:levels])
    vocab = codec.vocab[:groups] * source.streams
    scale: list[float] = []
    with TokenWriter(file, vocab) as writer:
        for tokens in codec.encode_blocks((wave.to(device) for wave in waves), levels=levels):
            writer.write(tokens.ids.transpose(0, 1).flatten(1).cpu())
            if tokens.scale is not None:
                scale += tokens.scale.T.flatten().tolist()
        length = -(-samples * codec.sample_rate // source.sample_rate)
        header = audio_header(codec, vocab=vocab, positions=writer.positions, length=length)
        extras = source._replace(length=samples).extras(codec.channels)
        writer.finish(header._replace(extras=extras, coding=coding, scale=tuple(scale)))
