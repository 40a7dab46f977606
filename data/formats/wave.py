"""Guarded audio files: checked before they are decoded, read whole or block by block.

libsndfile reads what it can (WAV, FLAC, Ogg, Opus, MP3, AIFF…); G.722 and the rest (AAC in MP4,
WebM…) go through PyAV. Whatever cannot be trusted ends in one ValueError that names the file: no
audio, empty, truncated, absurd header, NaN, samples far above full scale. A length in a header is a
promise, not a bound: a file is read to the end of its data. A file cut short in a format that does
not store its length (raw G.722, Ogg, a live WebM) looks like a shorter one and is read as such.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from intaglio.data.formats.atomic import replacing
from intaglio.data.formats.open_audio import (
    AUDIO_LIMITS,
    AudioFile,
    AudioLimits,
    WaveInfo,
    opened,
)
from intaglio.data.formats.resampling import resample

SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 "
    ".g722 .m4a .mp4 .aac .webm .mka .wma .amr .ac3".split()
)
BLOCK = 1 << 18  # samples of all channels that are decoded at once
MAX_VALUES = 1 << 31  # samples of all channels that are read as a whole: 8 GiB
MAX_PEAK = 16.0  # +24 dB of full scale; 16-bit numbers as floats are above it from -66 dB on
LONG_WAV = (1 << 32) - 4096  # bytes of samples from which a WAV file needs the sizes of RF64


def probe(path: str | Path, limits: AudioLimits = AUDIO_LIMITS) -> WaveInfo:
    """Checked header of an audio file; nothing is decoded.

    Raises:
        ValueError: not audio, empty, truncated, or outside ``limits``.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the format needs the ``media`` extra.
    """
    with opened(Path(path), limits) as (_, info):
        return info


def read_wave(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    channels: int | None = 1,
    start: int = 0,
    frames: int = -1,
    limits: AudioLimits = AUDIO_LIMITS,
) -> tuple[Tensor, int]:
    """Read an audio file, or a segment of it.

    Args:
        path: the file.
        sample_rate: resample to this rate in Hz; None keeps the file's own.
        channels: 1 mixes down to mono by the mean, None keeps all; another number must be the
            file's own.
        start: first sample to read, counted at the file's own rate.
        frames: samples to read at the file's own rate; -1 reads to the end, and a segment that
            reaches over the end is cut there.
        limits: what the header may say.

    Returns:
        Waveform, float32 [channels, samples], nominally in [-1, 1], and its sample rate.

    Raises:
        ValueError: as `probe`; also damaged samples, NaN, or a segment outside the file.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the format needs the ``media`` extra.
    """
    path = Path(path)
    if start < 0 or frames < -1 or frames == 0:
        raise ValueError(f"{path}: cannot read {frames} samples from sample {start}")
    with opened(path, limits) as (file, info):
        if start >= info.frames:
            raise ValueError(f"{path} has {info.frames} samples; cannot start at sample {start}")
        if channels not in (None, 1, info.channels):
            raise ValueError(f"{path} has {info.channels} channels, not {channels}")
        most = _in_proportion(path, info, limits)
        left = info.frames - start
        if frames < 0 and left > most:
            raise ValueError(
                f"{path} is truncated, or too long to be read as a whole: its "
                f"{path.stat().st_size} bytes promise {info.frames} samples of {info.channels} "
                "channels; read it in parts, as `intaglio encode` does"
            )
        wave = _joined(
            path,
            _decode(path, file, info, start=start, frames=frames),
            channels=info.channels,
            room=min(most, left if frames < 0 else min(frames, left)),
            most=min(most if frames < 0 else MAX_VALUES, MAX_VALUES // info.channels),
            mixed=channels == 1,
        )
    if sample_rate is None:
        return wave, info.sample_rate
    return resample(wave, info.sample_rate, sample_rate), sample_rate


def read_blocks(
    path: str | Path, seconds: float, *, limits: AudioLimits = AUDIO_LIMITS
) -> Iterator[Tensor]:
    """Read an audio file block by block, in constant memory: joined, what `read_wave` reads.

    Args:
        path: the file.
        seconds: of a block, above 0; the last may be shorter.
        limits: what the header may say.

    Yields:
        Waveforms, float32 [all channels, samples], at the file's own rate.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: as `read_wave`. A file that is truncated
            or damaged may give blocks before.
    """
    path = Path(path)
    with opened(path, limits) as (file, info):
        size = max(1, round(seconds * info.sample_rate))
        yield from _decode(path, file, info, size=size)


def write_wave(path: str | Path, wave: Tensor, sample_rate: int) -> None:
    """Write a waveform as 16-bit PCM, WAV or FLAC by the suffix; values are clipped to [-1, 1].

    Args:
        path: file to write; an old one is replaced only when the new one is whole.
        wave: float [channels, samples] or [samples].
        sample_rate: in Hz.

    Raises:
        ValueError: another suffix, no samples, NaN, or a shape or rate the format cannot hold.
        OSError: the file cannot be written.
    """
    wave = wave.unsqueeze(0) if wave.dim() == 1 else wave
    if wave.dim() != 2 or wave.numel() == 0:
        raise ValueError(f"{path}: a waveform is [channels, samples], got {list(wave.shape)}")
    write_blocks(path, [wave], sample_rate, channels=wave.shape[0], samples=wave.shape[1])


def write_blocks(
    path: str | Path, blocks: Iterable[Tensor], sample_rate: int, *, channels: int, samples: int
) -> None:
    """Write a waveform that comes in blocks, in constant memory; otherwise as `write_wave`.

    Args:
        path: file to write; an old one is replaced only when the new one is whole.
        blocks: float [channels, any number of samples] each, joined in time.
        sample_rate: in Hz.
        channels: of every block.
        samples: of each channel, in all.

    Raises:
        ValueError, OSError: as `write_wave`.
    """
    path = Path(path)
    kind = wave_format(path)
    if kind == "WAV" and 2 * channels * samples > LONG_WAV:
        kind = "RF64"
    with replacing(path) as part:
        try:
            file = soundfile.SoundFile(part, "w", sample_rate, channels, "PCM_16", format=kind)
        except soundfile.LibsndfileError as error:
            if not part.parent.is_dir():
                raise FileNotFoundError(f"{path}: there is no folder {path.parent}") from error
            _check_writable(part, path)
            raise ValueError(
                f"{path}: cannot write {channels} channels at {sample_rate} Hz: {error}"
            ) from error
        try:
            with file:
                for block in blocks:
                    file.write(_pcm(path, block))
                assert file.frames == samples
        except soundfile.LibsndfileError as error:
            _check_writable(part, path)
            raise OSError(f"{path}: cannot be written: {error}") from error


def _check_writable(part: Path, path: Path) -> None:
    """Write to a file that libsndfile failed to write, whose errors do not say why.

    Raises:
        OSError: the reason, such as a full disk; it names ``path``.
    """
    try:
        with part.open("ab", buffering=0) as file:
            if file.write(bytes(1 << 16)) < 1 << 16:
                file.write(bytes(1 << 16))  # a full disk takes a part before it refuses
            os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error


def wave_format(path: Path) -> str:
    """Format to write by the suffix of a path.

    Raises:
        ValueError: a suffix of no format that can be written.
    """
    kind = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: can write .wav and .flac, not {path.suffix or 'without a suffix'}"
        )
    return kind


def _pcm(path: Path, wave: Tensor) -> np.ndarray:
    """16-bit samples, [samples, channels], of a waveform [channels, samples]."""
    wave = wave.detach().cpu().float()
    if not torch.isfinite(wave).all():
        raise ValueError(f"{path}: refused to write NaN or infinite samples")
    # By hand, because libsndfile scales by 32767 when writing and 32768 when reading.
    pcm = (wave * 32768).round().clamp(-32768, 32767).to(torch.int16)
    return np.ascontiguousarray(pcm.T.numpy())


def _decode(
    path: Path,
    file: AudioFile,
    info: WaveInfo,
    *,
    start: int = 0,
    frames: int = -1,
    size: int | None = None,
) -> Iterator[Tensor]:
    """Blocks [channels, size] of a segment, at least one; ValueError if the file promised more.

    Nothing is as large as the header says, only as what has been decoded.
    """
    size = max(1, BLOCK // info.channels) if size is None else size
    file.skip(start)
    done, whole = 0, True
    while whole and done != frames:
        count = size if frames < 0 else min(size, frames - done)
        samples = file.read(count)
        whole = len(samples) == count
        done += len(samples)
        if len(samples):
            _check_range(path, samples)
            yield torch.from_numpy(np.ascontiguousarray(samples.T))
    if done == 0 or not (done == frames or start + done >= info.frames - file.slack):
        raise ValueError(
            f"{path} is truncated: {start + done} samples decoded of {info.frames} that its header "
            "promises"
        )


def _in_proportion(path: Path, info: WaveInfo, limits: AudioLimits) -> int:
    """Samples of each channel that are in proportion to the size of a file."""
    values = max(limits.free_values, limits.max_per_byte * path.stat().st_size)
    return values // info.channels


def _joined(
    path: Path, blocks: Iterable[Tensor], *, channels: int, room: int, most: int, mixed: bool
) -> Tensor:
    """Waveform [channels, samples] of blocks, or [1, samples] of their means.

    ``room`` is the number of samples that are expected, ``most`` that which may come.
    """
    wave, done = torch.empty(1 if mixed else channels, room), 0  # takes memory as it is filled
    for block in blocks:
        begin, done = done, done + block.shape[1]
        if done > most:
            raise ValueError(
                f"{path} is too long to be read as a whole: above {most * channels:,} samples of "
                f"{channels} channels"
            )
        if done > wave.shape[1]:
            more = torch.empty(len(wave), max(begin, block.shape[1]))
            wave = torch.cat([wave[:, :begin], more], dim=1)
        wave[:, begin:done] = block.mean(dim=0, keepdim=True) if mixed else block
    return wave[:, :done].contiguous()


def _check_range(path: Path, samples: np.ndarray) -> None:
    """Refuse what cannot be meant as a waveform in [-1, 1]: to guess its scale would be worse."""
    peak = max(float(samples.max()), -float(samples.min()))
    if not math.isfinite(peak):
        raise ValueError(f"{path} holds NaN or infinite samples")
    if peak > MAX_PEAK:
        raise ValueError(
            f"{path} has samples up to {peak:,.6g}, where full scale is 1 and the limit is "
            f"{MAX_PEAK:g}; divide them by the full scale that they were written for, such as 32768"
        )
