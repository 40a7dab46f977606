"""What libsndfile's own numbers do not show: a WAV file cut short, the true length of an MP3 file.

It shortens a cut WAV silently. The length of an MP3 file that stores none is guessed from the
first frame: too long a guess promises samples that are not there, too short a one loses the end.
MP3 frame headers are those of ISO/IEC 11172-3 and 13818-3, layer III.
"""

import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO

STREAMED = 0x7FFF0000  # WAV writers that cannot seek back leave a data size from here up
TAGS = (b"TAG", b"APE", b"ID3")  # title, pictures… before or after the frames of an MP3
STORED_LENGTH = (b"Xing", b"Info", b"VBRI")
RATES = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
KILOBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KILOBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def wav_bytes(file: BinaryIO) -> int:
    """Bytes up to the end of the samples, as a WAV file declares it; 0 for any other file."""
    size = os.fstat(file.fileno()).st_size
    riff = file.read(12)
    if riff[:4] not in (b"RIFF", b"RIFX") or riff[8:] != b"WAVE":
        return 0
    order: Any = "little" if riff[:4] == b"RIFF" else "big"
    offset = 12
    while offset + 8 <= size:
        file.seek(offset)
        head = file.read(8)
        length = int.from_bytes(head[4:], order)
        offset += 8
        if head[:4] == b"data":
            return 0 if length >= STREAMED else offset + length
        offset += length + length % 2
    return 0


def mp3_samples(path: Path) -> int | None:
    """Samples of each channel of an MP3 file, counted frame by frame.

    None if there is nothing to count: the file stores its length, or it is so damaged that frames
    do not follow each other.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        offset = 0
        while content[offset : offset + 3] == b"ID3":
            size = 0
            for byte in content[offset + 6 : offset + 10]:
                size = size << 7 | byte & 127
            offset += 10 + size
        first = _mp3_frame(content, offset)
        if first is None or any(
            mark in content[offset : offset + first[0]] for mark in STORED_LENGTH
        ):
            return None
        samples = 0
        while (frame := _mp3_frame(content, offset)) is not None:
            offset += frame[0]
            if offset > len(content):  # cut within the frame
                return samples
            samples += frame[1]
        left = content[offset : offset + 4]
        return samples if len(left) < 4 or left[:3] in TAGS else None


def _mp3_frame(content: mmap.mmap, offset: int) -> tuple[int, int] | None:
    """Bytes and samples of the frame at ``offset``, or None if there is none."""
    head = content[offset : offset + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0b11100110 != 0b11100010:
        return None
    version, padding = head[1] >> 3 & 0b11, head[2] >> 1 & 1
    bits, rate = head[2] >> 4, head[2] >> 2 & 0b11
    if version not in RATES or bits in (0, 15) or rate == 3:
        return None
    samples, kilobits = (1152, KILOBITS_1) if version == 0b11 else (576, KILOBITS_2)
    return samples // 8 * kilobits[bits] * 1000 // RATES[version][rate] + padding, samples
