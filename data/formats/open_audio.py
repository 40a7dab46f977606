"""Opens audio files with the library that reads all of them, and checks their headers.

A file is looked through for sounds behind the first one, and for headers that lie, when a process
opens it for the first time: that is one pass over its bytes, but nothing is decoded.
"""

import contextlib
import functools
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import soundfile

from intaglio.data.formats.audio_chunks import chunk_parts
from intaglio.data.formats.flac import flac_parts
from intaglio.data.formats.media import MediaFile
from intaglio.data.formats.mp3 import mpeg_sound
from intaglio.data.formats.ogg import ogg_parts
from intaglio.data.formats.pieces import check_pieces
from intaglio.data.formats.regular_file import regular_file
from intaglio.data.formats.sound_file import SoundFile
from intaglio.data.formats.sound_span import SoundSpan

AudioFile: TypeAlias = SoundFile | MediaFile


class WaveInfo(NamedTuple):
    """Header of an audio file; ``frames`` is the number of samples of each channel."""

    sample_rate: int
    channels: int
    frames: int


class AudioLimits(NamedTuple):
    """What a header may say before anything is decoded.

    Attributes:
        max_channels: number of channels.
        min_rate: samples a second.
        max_rate: samples a second.
        max_seconds: duration.
        free_values: samples of all channels that are read as a whole, however small the file is.
        max_per_byte: of longer files: such samples for each byte.
    """

    max_channels: int = 8
    min_rate: int = 1_000
    max_rate: int = 384_000
    max_seconds: float = 4 * 3600.0
    free_values: int = 1 << 24
    max_per_byte: int = 16


AUDIO_LIMITS = AudioLimits()


@contextlib.contextmanager
def opened(path: Path, limits: AudioLimits) -> Iterator[tuple[AudioFile, WaveInfo]]:
    """An audio file that exists and is whole as far as its header shows, and that header."""
    with regular_file(path, "an audio file"):
        pass
    file, frames = _open(path)
    with contextlib.closing(file):
        yield file, _check(path, WaveInfo(file.samplerate, file.channels, frames), limits)


def _open(path: Path) -> tuple[AudioFile, int]:
    """The file, opened by the library that reads all of it, and its number of samples."""
    sound, samples = None, None
    if path.suffix.lower() != ".g722":  # libsndfile would take it for something else
        status = path.stat()
        parts, samples = _parts(path, (status.st_ino, status.st_size, status.st_mtime_ns))
        with contextlib.suppress(soundfile.LibsndfileError, TypeError):  # TypeError: .raw
            sound = SoundFile(path, parts)
        if sound is not None and samples is not None and sound.frames < samples:
            sound.close()  # it would stop where it guesses the end
            sound = None
    if sound is not None:
        return sound, sound.frames if samples is None else samples
    media = MediaFile(path)
    return media, media.frames if samples is None else samples - media.delay


@functools.lru_cache(maxsize=1 << 16)
def _parts(path: Path, state: tuple[int, ...]) -> tuple[list[SoundSpan], int | None]:
    """Where the sounds of a file are that has not changed since, and the samples of MPEG audio."""
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    parts = chunk_parts(path, content) or flac_parts(path, content) or ogg_parts(path, content)
    if not parts and (mpeg := mpeg_sound(path, content)):
        return [mpeg.span], mpeg.samples
    if not parts:
        try:
            check_pieces(content, boxes=True)
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
    return parts or [SoundSpan(0, len(content))], None


def _check(path: Path, info: WaveInfo, limits: AudioLimits) -> WaveInfo:
    rate, channels, frames = info
    if not 1 <= channels <= limits.max_channels:
        raise ValueError(f"{path} has {channels} channels; the limit is {limits.max_channels}")
    if not limits.min_rate <= rate <= limits.max_rate:
        raise ValueError(
            f"{path} has {rate} samples a second; the limits are {limits.min_rate} and "
            f"{limits.max_rate}"
        )
    if frames <= 0:
        raise ValueError(f"{path} holds no samples")
    if frames >= 1 << 62:
        raise ValueError(f"{path} does not store its length; write it again to a file, not a pipe")
    if frames > limits.max_seconds * rate:
        raise ValueError(
            f"{path} lasts {frames / rate:.0f} s; the limit is {limits.max_seconds:.0f} s"
        )
    return info
