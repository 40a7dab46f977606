"""Audio that libsndfile cannot read, through PyAV: G.722, AAC, WebM, the audio track of a video."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

# Demuxers that hold audio and never open a second file or an address, as playlists do.
DEMUXERS = "aac,ac3,amr,asf,flac,g722,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,wav"
UNTIMED = ("aac", "ac3", "amr")  # their stored length is a guess from the bit rate


class MediaFile:
    """First audio stream of a media file; has the attributes of a ``soundfile.SoundFile``.

    Attributes:
        samplerate: samples per second.
        channels: number of channels.
        frames: samples of each channel that the file promises; the decoder may give a few more or
            fewer, because lossy formats pad.

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
                format="g722" if path.suffix.lower() == ".g722" else None,
                options={"format_whitelist": DEMUXERS},
            )
            if not self._container.streams.audio:
                raise ValueError(f"{path} holds no audio")
            self._stream = self._container.streams.audio[0]
            self.samplerate: int = self._stream.codec_context.sample_rate
            self.channels: int = self._stream.codec_context.channels
            self.frames = int(self._seconds() * self.samplerate)
            self._decoded = self._container.decode(self._stream)
            self._waiting = np.zeros((self.channels, 0), np.float32)
        except av.FFmpegError as error:
            self.close()
            raise ValueError(f"{path} is not audio that can be read: {error.strerror}") from error
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
        except self._error as error:
            raise ValueError(f"{self._path} is damaged: {error.strerror}") from error
        samples = np.concatenate(blocks, axis=1)
        self._waiting = samples[:, frames:].copy()
        return samples[:, :frames].T

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def __enter__(self) -> "MediaFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _seconds(self) -> Fraction:
        stream, container = self._stream, self._container
        unit = Fraction(stream.time_base)
        if container.format.name in UNTIMED:
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            container.seek(0)
            return ticks * unit
        return (stream.duration or 0) * unit or Fraction(container.duration or 0, 1_000_000)
