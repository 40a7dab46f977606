"""Guarded audio files: checked before they are decoded, read whole or not at all.

libsndfile reads what it can (WAV, FLAC, Ogg, Opus, MP3, AIFF…); G.722 and the rest (AAC in MP4,
WebM…) go through PyAV. Whatever cannot be trusted ends in one ValueError that names the file: no
audio, empty, truncated, absurd header, NaN. A file cut short in a format that does not store its
length (raw G.722, Ogg) looks like a shorter one and is read as such.
"""

import contextlib
import functools
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from intaglio.data.formats.headers import mp3_samples, wav_bytes
from intaglio.data.formats.media import MediaFile
from intaglio.data.formats.replacing import replacing

SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 "
    ".g722 .m4a .mp4 .aac .webm .mka .wma .amr .ac3".split()
)
SHORT_MP3 = 1 << 21  # samples that are decoded and dropped rather than jumped over
MAX_KERNEL = 1 << 25  # elements of a resampling filter; 44.1 kHz to 16 kHz needs about 10^5


class WaveInfo(NamedTuple):
    """Header of an audio file; ``frames`` is the number of samples of each channel."""

    sample_rate: int
    channels: int
    frames: int


class Limits(NamedTuple):
    """What a header may say before anything is decoded; the duration is in seconds."""

    max_channels: int = 8
    min_rate: int = 1_000
    max_rate: int = 384_000
    max_seconds: float = 4 * 3600.0


LIMITS = Limits()


def probe(path: str | Path, limits: Limits = LIMITS) -> WaveInfo:
    """Checked header of an audio file; nothing is decoded.

    Raises:
        ValueError: not audio, empty, truncated, or outside ``limits``.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the format needs the ``media`` extra.
    """
    path = _existing(path)
    file, info = _open(path)
    with file:
        return _check(path, info, limits)


def read_wave(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    channels: int | None = 1,
    start: int = 0,
    frames: int = -1,
    limits: Limits = LIMITS,
) -> tuple[Tensor, int]:
    """Read an audio file, or a stretch of it.

    Args:
        path: the file.
        sample_rate: resample to this rate in Hz; None keeps the file's own.
        channels: 1 mixes down to mono by the mean, None keeps all; another number must be the
            file's own.
        start: first sample to read, counted at the file's own rate.
        frames: samples to read at the file's own rate; -1 reads to the end, and a stretch that
            reaches over the end is cut there.
        limits: what the header may say.

    Returns:
        Waveform, float32 [channels, samples], nominally in [-1, 1], and its sample rate.

    Raises:
        ValueError: as `probe`; also damaged samples, NaN, or a stretch outside the file.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the format needs the ``media`` extra.
    """
    path = _existing(path)
    if start < 0 or frames < -1 or frames == 0:
        raise ValueError(f"{path}: cannot read {frames} samples from sample {start}")
    file, info = _open(path)
    with file:
        _check(path, info, limits)
        wave = _decode(path, file, info, start, frames)
    if not torch.isfinite(wave).all():
        raise ValueError(f"{path} holds NaN or infinite samples")
    if channels == 1:
        wave = wave.mean(dim=0, keepdim=True)
    elif channels is not None and channels != wave.shape[0]:
        raise ValueError(f"{path} has {wave.shape[0]} channels, not {channels}")
    if sample_rate is None:
        return wave, info.sample_rate
    return resample(wave, info.sample_rate, sample_rate), sample_rate


def write_wave(path: str | Path, wave: Tensor, sample_rate: int) -> None:
    """Write a waveform as 16-bit PCM, WAV or FLAC by the suffix; values are clipped to [-1, 1].

    Args:
        path: file to write; an old one is replaced only when the new one is whole.
        wave: float [channels, samples] or [samples].
        sample_rate: in Hz.

    Raises:
        ValueError: another suffix, no samples, NaN, or a shape or rate the format cannot hold.
    """
    path = Path(path)
    kind = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: can write .wav and .flac, not {path.suffix or 'without a suffix'}"
        )
    wave = wave.detach().cpu().float()
    wave = wave.unsqueeze(0) if wave.dim() == 1 else wave
    if wave.dim() != 2 or wave.numel() == 0:
        raise ValueError(f"{path}: a waveform is [channels, samples], got {list(wave.shape)}")
    if not torch.isfinite(wave).all():
        raise ValueError(f"{path}: refused to write NaN or infinite samples")
    # By hand, because libsndfile scales by 32767 when writing and 32768 when reading.
    pcm = (wave * 32768).round().clamp(-32768, 32767).to(torch.int16)
    with replacing(path) as part:
        try:
            soundfile.write(part, pcm.T.numpy(), sample_rate, format=kind, subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            if not part.parent.is_dir():
                raise FileNotFoundError(f"{path}: there is no folder {path.parent}") from error
            raise ValueError(
                f"{path}: cannot write {pcm.shape[0]} channels at {sample_rate} Hz: {error}"
            ) from error


def resample(wave: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the sample rate with a Kaiser-windowed sinc filter.

    Args:
        wave: float [..., samples].
        from_rate: its rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        Waveform [..., ceil(samples * to_rate / from_rate)]; what the lower of the two rates cannot
        carry is removed.

    Raises:
        ValueError: a rate below 1, or two rates with (almost) no common divisor.
        ModuleNotFoundError: torchaudio cannot be imported.
    """
    if from_rate < 1 or to_rate < 1:
        raise ValueError(f"cannot resample from {from_rate} Hz to {to_rate} Hz")
    if from_rate == to_rate:
        return wave
    resampled: Tensor = _resampler(from_rate, to_rate)(wave)
    return resampled


@functools.lru_cache(maxsize=16)
def _resampler(from_rate: int, to_rate: int) -> Any:
    """Filter for a pair of rates; kept, because computing it costs more than applying it."""
    common = math.gcd(from_rate, to_rate)
    if (from_rate // common) * (to_rate // common) > MAX_KERNEL:
        raise ValueError(
            f"cannot resample from {from_rate} Hz to {to_rate} Hz: their common divisor {common} "
            "is too small; choose another rate"
        )
    try:
        from torchaudio.transforms import Resample
    except (ImportError, OSError) as error:
        raise ModuleNotFoundError(
            f"resampling from {from_rate} Hz to {to_rate} Hz needs torchaudio, which cannot be "
            f"imported beside torch {torch.__version__}: {error}; install a matching pair, or give "
            f"audio at {to_rate} Hz"
        ) from error
    return Resample(  # the numbers of resampy's "kaiser_best" filter
        from_rate,
        to_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )


def _existing(path: str | Path) -> Path:
    """The path of a file that exists, can be opened and is not empty or a cut WAV."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an audio file")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise ValueError(f"{path} is an empty file")
        promised = wav_bytes(file)
    if promised > size:
        raise ValueError(f"{path} is truncated: {size} bytes of {promised}")
    return path


def _open(path: Path) -> tuple[soundfile.SoundFile | MediaFile, WaveInfo]:
    """The file, opened by the library that reads all of it, and its header."""
    file = None
    if path.suffix.lower() != ".g722":  # libsndfile would take it for something else
        with contextlib.suppress(soundfile.LibsndfileError, TypeError):  # TypeError: .raw
            file = soundfile.SoundFile(path)
    counted = mp3_samples(path) if file is not None and file.format == "MP3" else None
    if file is not None and counted is not None and file.frames < counted:
        file.close()  # it would stop where it guesses the end
        file = None
    file = MediaFile(path) if file is None else file
    frames = file.frames if counted is None else counted
    return file, WaveInfo(file.samplerate, file.channels, frames)


def _check(path: Path, info: WaveInfo, limits: Limits) -> WaveInfo:
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


def _decode(
    path: Path, file: soundfile.SoundFile | MediaFile, info: WaveInfo, start: int, frames: int
) -> Tensor:
    """Samples [channels, samples] of a stretch, or ValueError if the file promised more."""
    if start >= info.frames:
        raise ValueError(f"{path} has {info.frames} samples; cannot start at sample {start}")
    wanted = info.frames - start
    if frames > 0:
        wanted = min(frames, wanted)
    if isinstance(file, MediaFile):
        samples, slack = file.read(start, wanted), info.sample_rate // 5
    else:
        samples, slack = _sndfile_read(path, file, start, wanted), 0
    if len(samples) < max(1, wanted - slack):
        raise ValueError(
            f"{path} is truncated: {start + len(samples)} samples decoded of {start + wanted}"
        )
    return torch.from_numpy(np.ascontiguousarray(samples.T))


def _sndfile_read(path: Path, file: soundfile.SoundFile, start: int, wanted: int) -> np.ndarray:
    # A seek in MP3 makes the decoder start in the middle of a frame's bits and complain about it.
    skipped = start if file.format == "MP3" and start < SHORT_MP3 else 0
    try:
        if start > skipped:
            file.seek(start)
        samples = file.read(skipped + wanted, dtype="float32", always_2d=True)
        return samples[skipped:]
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
