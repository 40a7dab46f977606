"""Audio that libsndfile cannot read, through PyAV: G.722, AAC, WebM, the audio track of a video."""

import errno
import mmap
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.data.formats.amr import amr_samples
from intaglio.data.formats.demuxers import BY_SUFFIX, DEMUXERS, by_signature
from intaglio.data.formats.sound_span import after_tags

# Demuxers whose length is a guess from the bit rate, and the least bytes of many packets on average
UNTIMED = {"aac": 10, "ac3": 64}
PROBED = 1 << 17  # bytes that are looked at to find out how the sound is stored
FREE_PACKETS = 1 << 12  # of any size; more have, on average, as many samples as this:
PACKET_SAMPLES = 32
MAX_FAILURES = 256  # packets one after the other that cannot be decoded
SKIPPED = 1 << 18  # samples that are decoded at once to drop them


class MediaFile:
    """First audio stream of a media file; has the attributes of a `SoundFile`.

    Attributes:
        samplerate: samples per second.
        channels: number of channels.
        frames: samples of each channel that the file promises; the decoder may give a few more or
            fewer, because lossy formats pad.
        delay: samples at the beginning that the decoder drops; they are not counted in ``frames``.
        slack: samples that may be missing without damage.

    Raises:
        ValueError: PyAV cannot read the file, or there is no audio in it.
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{path} needs PyAV to be read: pip install 'intaglio[media]'"
            ) from error
        self._path = path
        self._error = av.FFmpegError
        self._resampler = av.AudioResampler(format="fltp")
        self._file = path.open("rb")
        self._container: Any = None
        try:
            self._container = av.open(
                self._file,
                format=_demuxer(path),
                options={"format_whitelist": DEMUXERS, "probesize": str(PROBED)},
                metadata_errors="replace",
            )
            if not self._container.streams.audio:
                raise ValueError(f"{path} holds no audio")
            self._stream = self._container.streams.audio[0]
            if self._stream.codec_context is None:
                raise ValueError(f"{path} holds sound in a format that FFmpeg does not decode")
            self.samplerate: int = self._stream.codec_context.sample_rate
            self.channels: int = self._stream.codec_context.channels
            counted = amr_samples(path, _content(path))
            self.frames = int(self._seconds() * self.samplerate) if counted is None else counted
            self.delay = int(
                (self._stream.start_time or 0) * self._stream.time_base * self.samplerate
            )
            self.slack = self.samplerate // 5
            if "matroska" in self._container.format.name:
                self.slack = self.frames - 1  # Duration may be anything; what tells is the size
                size, promised = path.stat().st_size, _matroska_bytes(path)
                if promised > size:
                    raise ValueError(f"{path} is truncated: {size} bytes of {promised}")
            self._decoded = self._decode()
            self._waiting = np.zeros((self.channels, 0), np.float32)
        except av.FFmpegError as error:
            self.close()
            raise ValueError(f"{path} is not audio that can be read: {_reason(error)}") from error
        except BaseException:
            self.close()
            raise

    def read(self, frames: int) -> np.ndarray:
        """The next samples, fewer at the end of the file: float32 [samples, channels].

        Raises:
            ValueError: the stream is damaged.
        """
        blocks, count = [self._waiting], self._waiting.shape[1]
        try:
            while count < frames and (frame := next(self._decoded, None)) is not None:
                for block in self._resampler.resample(frame):
                    blocks.append(block.to_ndarray())
                    count += block.samples
                    if len(blocks[-1]) != self.channels:
                        raise ValueError(f"{len(blocks[-1])} channels after {self.channels}")
        except (self._error, ValueError) as error:  # ValueError: another rate or other channels
            raise ValueError(f"{self._path} is damaged: {_reason(error)}") from error
        samples = np.concatenate(blocks, axis=1)
        self._waiting = samples[:, frames:].copy()
        return samples[:, :frames].T

    def skip(self, samples: int) -> None:
        """Go on after so many samples more.

        Raises:
            ValueError: the stream is damaged.
        """
        while samples > 0 and (dropped := len(self.read(min(samples, SKIPPED)))):
            samples -= dropped

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def _decode(self) -> Iterator[Any]:
        """Frames. Of an MP3 file, what is not sound is passed over, as players do: tags inside."""
        failures = samples = 0
        for number, packet in enumerate(self._container.demux(self._stream)):
            if number > FREE_PACKETS and samples < PACKET_SAMPLES * number:
                raise ValueError(f"{number} packets hold {samples} samples")
            try:
                for frame in packet.decode():
                    samples += frame.samples
                    yield frame
                failures = 0
            except self._error:
                failures += 1
                if self._container.format.name != "mp3" or failures > MAX_FAILURES:
                    raise

    def _seconds(self) -> Fraction:
        stream, container = self._stream, self._container
        unit = Fraction(stream.time_base)
        stated = (stream.duration or 0) * unit or Fraction(container.duration or 0, 1_000_000)
        if stated > 0 and container.format.name not in UNTIMED:
            return stated
        ticks, size, least = 0, 0, UNTIMED.get(container.format.name, 1)
        for number, packet in enumerate(container.demux(stream)):
            ticks, size = ticks + (packet.duration or 0), size + packet.size
            if number > FREE_PACKETS and size < least * number:
                raise ValueError(f"{self._path} is damaged: {number} packets have {size} bytes")
        container.seek(0)
        return ticks * unit


def _content(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _demuxer(path: Path) -> str | None:
    """Name of the demuxer of a file; None if FFmpeg has to find out."""
    suffix = path.suffix.lower()
    if suffix == ".g722":
        return "g722"
    content = _content(path)
    start = after_tags(path, content)
    return by_signature(content[start : start + 16]) or BY_SUFFIX.get(suffix)


def _matroska_bytes(path: Path) -> int:
    """Bytes up to the end of the segment that holds everything, 0 if it is not stated."""
    with path.open("rb") as file:
        head = file.read(4096)
    offset = 0
    for mark in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        offset += 4
        if head[offset - 4 : offset] != mark or offset >= len(head) or head[offset] == 0:
            return 0
        width = 9 - head[offset].bit_length()
        field = int.from_bytes(head[offset : offset + width], "big")
        size = field & (1 << 7 * width) - 1
        if size == (1 << 7 * width) - 1:
            return 0
        offset += width + size
    return offset


def _reason(error: Exception) -> str:
    """FFmpeg has its own reasons, and else the system's, which speak of something else."""
    number = getattr(error, "errno", None)
    if number is None:
        return str(error)
    if number in (errno.EIO, errno.EACCES, errno.ENOENT, errno.ENOMEM):
        return os.strerror(number)
    return "its content is damaged, cut short, or of another format"
