"""Sound from a pipe to ids as it comes: a WAV stream, or bare 16-bit samples."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Codec
from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.open_audio import AUDIO_LIMITS
from intaglio.data.formats.resampling import resample_blocks
from intaglio.data.formats.tokens import SUFFIX, TokenWriter
from intaglio.recipes.file_jobs import STANDARD, write_to
from intaglio.recipes.tokenization.audio_file import (
    SourceAudio,
    audio_header,
    stereo_mode,
    to_streams,
)
from intaglio.recipes.tokenization.encode_audio import AudioEncoding, chosen_levels

CHUNK = 65_536  # bytes read at once, if so many are there
MAX_HEADER = 1 << 20  # bytes before the samples
UNKNOWN = (0, 0x7FFFF000)  # sizes that a stream states, or more: it goes on to its end
KINDS: dict[tuple[int, int], np.dtype[Any]] = {
    (1, 16): np.dtype("<i2"),
    (1, 32): np.dtype("<i4"),
    (3, 32): np.dtype("<f4"),
}
EXTENSIBLE = 0xFFFE


class LiveFormat(NamedTuple):
    """What comes through a pipe.

    Attributes:
        sample_rate: in Hz.
        channels: interleaved.
        kind: of a sample, little-endian.
        size: bytes of samples; None for all until the end.
    """

    sample_rate: int
    channels: int = 1
    kind: np.dtype[Any] = KINDS[1, 16]
    size: int | None = None


def run_live(
    codec: Codec, options: AudioEncoding, out: str, *, pcm_rate: int | None, overwrite: bool
) -> None:
    """Encode standard input as it comes: to a token file, or to lines of standard output.

    Args:
        codec: a causal one.
        options: levels or bitrate.
        out: the token file, which is there when the input has ended; ``-`` prints a line of ids
            for each position, at once.
        pcm_rate: see `encode_live`.
        overwrite: whether the file may exist.

    Raises:
        OSError: the file exists or cannot be written.
        ValueError: see `encode_live`.
    """
    if not isinstance(codec, AudioCodec):
        raise ValueError(f"--stream is for sound, {codec.name} is a codec of a {codec.signal}")
    levels, target = chosen_levels(codec, options, 1), Path(out)
    if target != STANDARD and target.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; add --overwrite to replace it")

    def encode(take: Callable[[Tensor], None]) -> SourceAudio:
        try:
            return encode_live(codec, sys.stdin.buffer, take, levels=levels, pcm_rate=pcm_rate)
        except ValueError as error:
            raise ValueError(f"standard input: {error}") from error

    if target == STANDARD:
        encode(_print)
        return
    vocab = codec.vocab[: sum(codec.quantizer.level_groups[:levels])]
    with write_to(target, SUFFIX) as path, replacing(path) as part, part.open("wb") as file:
        with TokenWriter(file, vocab) as writer:
            source = encode(lambda ids: writer.write(ids.cpu()))
            length = -(-source.length * codec.sample_rate // source.sample_rate)
            header = audio_header(codec, vocab=vocab, positions=writer.positions, length=length)
            writer.finish(header._replace(extras=source.extras(codec.channels)))


def _print(ids: Tensor) -> None:
    for position in ids.tolist():
        print(*position, flush=True)


def encode_live(
    codec: AudioCodec,
    pipe: BinaryIO,
    take: Callable[[Tensor], None],
    *,
    levels: int | None = None,
    pcm_rate: int | None = None,
) -> SourceAudio:
    """Encode what comes through a pipe, with the latency of the codec.

    Args:
        codec: a causal one.
        pipe: a WAV stream of 16 or 32 bits; or bare 16-bit samples of one channel.
        take: gets the ids of each new position or positions, int64 [positions, groups].
        levels: of the quantizer; all if None.
        pcm_rate: sample rate of bare samples; None for a WAV stream.

    Returns:
        What has been read.

    Raises:
        ValueError: the codec is not causal; or no such stream comes, or nothing.
    """
    device = next(codec.parameters()).device
    with codec.streaming() as stream:
        form = _wav_format(pipe) if pcm_rate is None else LiveFormat(pcm_rate)
        _check(form)
        stereo = stereo_mode(form.channels, codec.channels, "mix")
        samples = 0

        def waves() -> Iterator[Tensor]:
            nonlocal samples
            for block in _blocks(pipe, form):
                samples += block.shape[-1]
                yield to_streams(block, codec.channels, stereo)

        for wave in resample_blocks(waves(), form.sample_rate, codec.sample_rate):
            tokens = stream.encode(wave.to(device), levels=levels)
            if tokens.ids.shape[1]:
                take(tokens.ids[0])
        if not samples:
            raise ValueError("no sample came")
        tokens = stream.end_encoding(levels=levels)
        if tokens.ids.shape[1]:
            take(tokens.ids[0])
    return SourceAudio(form.sample_rate, samples, form.channels, stereo)


def _check(form: LiveFormat) -> None:
    low, high = AUDIO_LIMITS.min_rate, AUDIO_LIMITS.max_rate
    if not low <= form.sample_rate <= high:
        raise ValueError(f"a sample rate lies in [{low}, {high}] Hz, not {form.sample_rate}")
    if not 1 <= form.channels <= AUDIO_LIMITS.max_channels:
        raise ValueError(f"{form.channels} channels; at most {AUDIO_LIMITS.max_channels} are taken")


def _wav_format(pipe: BinaryIO) -> LiveFormat:
    """Read the header of a WAV stream, up to its samples."""
    head = pipe.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("no WAV stream comes; give the rate of bare 16-bit samples by --pcm-rate")
    form, taken = None, 12
    while True:
        name, size = pipe.read(4), int.from_bytes(pipe.read(4), "little")
        taken += 8 + (0 if name == b"data" else size)
        if len(name) < 4 or taken > MAX_HEADER:
            raise ValueError("the WAV stream has no samples")
        if name == b"data":
            break
        chunk = pipe.read(size + size % 2)
        if name == b"fmt ":
            form = chunk
    if form is None or len(form) < 16:
        raise ValueError("the WAV stream does not say what its samples are")
    numbers = np.frombuffer(form[:16], "<u2")
    tag, channels, bits = int(numbers[0]), int(numbers[1]), int(numbers[7])
    if tag == EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    if (tag, bits) not in KINDS:
        raise ValueError(
            f"the WAV stream has samples of {bits} bits and kind {tag}; 16-bit, 32-bit and "
            "32-bit float ones are taken"
        )
    known = UNKNOWN[0] < size < UNKNOWN[1]
    rate = int.from_bytes(form[4:8], "little")
    return LiveFormat(rate, channels, KINDS[tag, bits], size if known else None)


def _blocks(pipe: BinaryIO, form: LiveFormat) -> Iterator[Tensor]:
    """Waveforms [channels, samples], as soon as any are there."""
    read = getattr(pipe, "read1", pipe.read)
    frame, kept, left = form.channels * form.kind.itemsize, b"", form.size
    scale = 1.0 if form.kind.kind == "f" else 1 / (1 << (8 * form.kind.itemsize - 1))
    while left is None or left > 0:
        found = read(CHUNK if left is None else min(CHUNK, left))
        if not found:
            return
        left = None if left is None else left - len(found)
        kept += found
        whole = len(kept) - len(kept) % frame
        if whole:
            samples = np.frombuffer(kept[:whole], form.kind).reshape(-1, form.channels)
            yield torch.from_numpy(samples.astype(np.float32).T.copy()) * scale
            kept = kept[whole:]
