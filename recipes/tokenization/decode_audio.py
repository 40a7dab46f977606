"""One token file to a recording, block by block, in constant memory."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.streaming.long_signals import WINDOW
from intaglio.data.formats.regular_file import check_regular
from intaglio.data.formats.resampling import resample_blocks
from intaglio.data.formats.tokens import TokenFileError, TokenHeader, iter_tokens
from intaglio.data.formats.wave import write_blocks
from intaglio.recipes.file_jobs import FileJob, read_from, watched, write_to
from intaglio.recipes.tokenization.audio_file import (
    BLOCK_SECONDS,
    SourceAudio,
    block_of,
    from_streams,
    num_scales,
    source_audio,
)
from intaglio.recipes.tokenization.same_codec import check_same_codec

AUDIO_SUFFIX = ".wav"


class AudioDecoding(NamedTuple):
    """How to decode a token file.

    Attributes:
        codec_rate: keep the codec's sample rate instead of resampling to the recording's.
    """

    codec_rate: bool = False


def decode_audio_file(codec: AudioCodec, job: FileJob, options: AudioDecoding) -> None:
    """Decode one token file of any length; every checksum is verified before anything is written.

    Args:
        codec: the codec that made the file.
        job: the files to read and to write.
        options: how.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the input is damaged or of another codec.
    """
    with read_from(job.source, job.max_stdin) as path:
        check_regular(path, "a token file")
        try:
            header, source = _checked(codec, path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

        def write(share: float) -> None:
            with path.open("rb") as file, write_to(job.target, AUDIO_SUFFIX) as target:
                _, ids = iter_tokens(file)
                waves = _waves(codec, header, source, ids, share)
                waves = _exactly(waves, header.length, source.channels)
                waves = watched(waves, header.length / header.sample_rate, header.sample_rate)
                rate, length = header.sample_rate, header.length
                if not options.codec_rate:
                    # Resampling there and back gives some samples too many, or too few in files of
                    # earlier versions.
                    rate, length = source.sample_rate, source.length
                    waves = resample_blocks(waves, header.sample_rate, rate)
                    waves = _exactly(waves, length, source.channels)
                write_blocks(target, waves, rate, channels=source.channels, samples=length)

        block_of(codec).run(write)


def _checked(codec: AudioCodec, path: Path) -> tuple[TokenHeader, SourceAudio]:
    """Header of an intact token file of this codec, and the source that it describes."""
    with path.open("rb") as file:
        header, blocks = iter_tokens(file)
        source = _check_codec(header, codec)
        for _ in blocks:
            pass
    return header, source


def _check_codec(header: TokenHeader, codec: AudioCodec) -> SourceAudio:
    check_same_codec(header, codec)
    claimed = (header.sample_rate, header.hop_length, header.channels, header.positions)
    positions = int(codec.frames(torch.tensor(header.length)))
    if claimed == (codec.sample_rate, codec.hop_length, codec.channels, positions) and positions:
        source = source_audio(header)
        depths = itertools.accumulate(codec.quantizer.level_groups)
        vocabs = [codec.vocab[:groups] * source.streams for groups in depths]
        scales = source.streams * num_scales(codec, header.length)
        if header.vocab in vocabs and len(header.scale) == scales:
            return source
    raise TokenFileError("refused: its header contradicts its codec or its own length")


def _waves(
    codec: AudioCodec,
    header: TokenHeader,
    source: SourceAudio,
    blocks: Iterable[Tensor],
    share: float,
) -> Iterator[Tensor]:
    """Waveforms [channels, samples] at the codec's rate, at least as long as the recording.

    Decoded at once is a ``share`` of the usual block or window.
    """
    tokens = _tokens(codec, header, source.streams, blocks, share)
    for streams in codec.decode_blocks(tokens, window=share * WINDOW):
        wave = from_streams(streams.float().cpu(), source.channels, source.stereo)
        yield wave / source.gain


def _tokens(
    codec: AudioCodec, header: TokenHeader, streams: int, blocks: Iterable[Tensor], share: float
) -> Iterator[Tokens]:
    """Tokens of all streams, a batch, of ids [positions, groups of all streams]."""
    device = next(codec.parameters()).device
    size = max(1, round(share * BLOCK_SECONDS * codec.frame_rate))
    # All scales come first; decoding takes them as it needs them.
    scale = torch.tensor(header.scale, device=device).view(-1, streams).T if header.scale else None
    for ids in itertools.chain.from_iterable(block.split(size) for block in blocks):
        batch = ids.to(device).unflatten(1, (streams, -1)).transpose(0, 1)
        yield codec.tokens(batch)._replace(scale=scale)
        scale = None


def _exactly(blocks: Iterable[Tensor], samples: int, channels: int) -> Iterator[Tensor]:
    """The first samples of a waveform in blocks, padded with zeros if it is shorter."""
    missing = samples
    for block in blocks:
        yield block[..., :missing]
        missing -= min(missing, block.shape[-1])
    yield torch.zeros(channels, missing)
