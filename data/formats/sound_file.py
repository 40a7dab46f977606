"""Audio files through libsndfile: WAV, FLAC, Ogg, Opus, MP3, AIFF…, also several end to end."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from intaglio.data.formats.quiet import quiet
from intaglio.data.formats.sound_span import SoundSpan

SHORT_MP3 = 1 << 21  # samples that are decoded and dropped rather than jumped over


class SoundFile:
    """Sounds of a file, one after the other.

    Args:
        path: the file.
        parts: where its sounds are, at least one.

    Attributes:
        format: libsndfile's name of the format, such as "WAV".
        samplerate: samples per second.
        channels: number of channels.
        frames: samples of each channel that the file promises.
        slack: samples that may be missing without damage: MP3 files are padded.

    Raises:
        ValueError: parts of different rates or numbers of channels.
        soundfile.LibsndfileError: libsndfile cannot read it.
    """

    def __init__(self, path: Path, parts: Sequence[SoundSpan]) -> None:
        self._path, self._parts, self._current = path, parts, 0
        self._file = self._opened(0)
        self.format: str = self._file.format
        self.samplerate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.slack = self.samplerate // 5 if self.format == "MP3" else 0
        self._lengths: list[int] = [self._file.frames]
        try:
            for number in range(1, len(parts)):
                with self._opened(number) as file:
                    self._check(file, number)
                    self._lengths.append(file.frames)
        except BaseException:
            self.close()
            raise
        self.frames, self._left = sum(self._lengths), self._lengths[0]

    def read(self, frames: int) -> np.ndarray:
        """The next samples, fewer at the end of the file: float32 [samples, channels].

        Raises:
            ValueError: the file is damaged.
        """
        blocks = []
        while True:
            count = min(frames, self._left)
            with self._damage():
                block = self._file.read(count, dtype="float32", always_2d=True)
            blocks.append(block)
            self._left -= count
            frames -= len(block)
            if frames == 0 or len(block) < count or not self._next():
                return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def skip(self, samples: int) -> None:
        """Go on after so many samples more, from the beginning.

        Raises:
            ValueError: the file is damaged.
        """
        while samples >= self._left and self._next():
            samples -= self._lengths[self._current - 1]
        if self.format == "MP3" and samples < SHORT_MP3:
            self.read(samples)
        elif samples > 0:
            self._left -= samples
            with self._damage():
                self._file.seek(samples)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _next(self) -> bool:
        if self._current + 1 == len(self._parts):
            return False
        self._file.close()
        self._current += 1
        self._left = self._lengths[self._current]
        with self._damage():
            self._file = self._opened(self._current)
        return True

    def _opened(self, number: int) -> soundfile.SoundFile:
        part, size = self._parts[number], self._path.stat().st_size
        whole = part == SoundSpan(0, size)
        name = os.fsencode(self._path)  # which a name need not be UTF-8 for
        with quiet():
            return _Sound(name if whole else _Bytes(self._path, part))

    def _check(self, file: soundfile.SoundFile, number: int) -> None:
        if (file.samplerate, file.channels) != (self.samplerate, self.channels):
            raise ValueError(
                f"{self._path} holds {len(self._parts)} sounds end to end, of which the first has "
                f"{self.channels} channels at {self.samplerate} Hz and number {number + 1} has "
                f"{file.channels} at {file.samplerate} Hz; split it"
            )

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            with quiet() if self.format == "MP3" else contextlib.nullcontext():
                yield
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{self._path} is damaged: {error}") from error


class _Sound(soundfile.SoundFile):
    """A file that is not sought to where it is already, as its base does after every read.

    A seek in MP3 makes the decoder start in the middle of a frame's bits and play something else.
    """

    def seekable(self) -> bool:
        return False


class _Bytes(io.RawIOBase):
    """SoundSpan of a file as a file."""

    def __init__(self, path: Path, part: SoundSpan) -> None:
        self._file, self._part = path.open("rb"), part
        self.seek(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        begin = self._file.tell()
        content = bytearray(self._file.read(max(0, min(len(buffer), self._part.end - begin))))
        for offset, patch in self._part.patches:
            for place, byte in enumerate(patch, start=offset - begin):
                if 0 <= place < len(content):
                    content[place] = byte
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: self._part.start, os.SEEK_CUR: self._file.tell()}
        self._file.seek(max(self._part.start, start.get(whence, self._part.end) + offset))
        return self.tell()

    def tell(self) -> int:
        return self._file.tell() - self._part.start

    def close(self) -> None:
        self._file.close()
        super().close()
