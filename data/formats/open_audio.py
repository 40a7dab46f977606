"""Opens audio files with the library that reads all of them, and checks their headers."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import soundfile

from intaglio.data.formats.audio_headers import mp3_samples, wav_bytes
from intaglio.data.formats.media import MediaFile
from intaglio.data.formats.regular_file import regular_file

AudioFile: TypeAlias = soundfile.SoundFile | MediaFile


class WaveInfo(NamedTuple):
    """Header of an audio file; ``frames`` is the number of samples of each channel."""

    sample_rate: int
    channels: int
    frames: int


class AudioLimits(NamedTuple):
    """What a header may say before anything is decoded; the duration is in seconds."""

    max_channels: int = 8
    min_rate: int = 1_000
    max_rate: int = 384_000
    max_seconds: float = 4 * 3600.0


AUDIO_LIMITS = AudioLimits()


class _SoundFile(soundfile.SoundFile):
    """A file that is not sought to where it is already, as its base does after every read.

    A seek in MP3 makes the decoder start in the middle of a frame's bits and play something else.
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def opened(path: Path, limits: AudioLimits) -> Iterator[tuple[AudioFile, WaveInfo]]:
    """An audio file that exists and is whole as far as its header shows, and that header."""
    _check_bytes(path)
    file, info = _open(path)
    with file:
        yield file, _check(path, info, limits)


def _check_bytes(path: Path) -> None:
    """Refuse what is no file, cannot be opened, is empty or a cut WAV."""
    with regular_file(path, "an audio file") as (file, size):
        promised = wav_bytes(file)
    if promised > size:
        raise ValueError(f"{path} is truncated: {size} bytes of {promised}")


def _open(path: Path) -> tuple[AudioFile, WaveInfo]:
    """The file, opened by the library that reads all of it, and its header."""
    sound = counted = None
    if path.suffix.lower() != ".g722":  # libsndfile would take it for something else
        with contextlib.suppress(soundfile.LibsndfileError, TypeError):  # TypeError: .raw
            sound = _SoundFile(os.fsencode(path))  # which a name need not be UTF-8 for
    if sound is not None and sound.format == "MP3":
        counted = mp3_samples(path)
        if counted is not None and sound.frames < counted:
            sound.close()  # it would stop where it guesses the end
            sound = None
    file = MediaFile(path) if sound is None else sound
    frames = file.frames if counted is None else counted
    return file, WaveInfo(file.samplerate, file.channels, frames)


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
