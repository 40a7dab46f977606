"""The true length of an MP3 file, counted frame by frame.

libsndfile takes the length from the header of the first sound in it, where it may be 0 or wrong, or
guesses it from the first frame: too long a guess promises samples that are not there, too short a
one loses the end. Frame headers are those of ISO/IEC 11172-3 and 13818-3, layer III.
"""

import mmap
from pathlib import Path

from intaglio.data.formats.sound_span import after_tags

RATES = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
KILOBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KILOBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MAX_JUNK = 1 << 16  # bytes in all that are searched for another frame


def mp3_samples(path: Path, content: mmap.mmap) -> int | None:
    """Samples of each channel of an MP3 file, before a player takes the padding away.

    None if there is nothing to count: the header states the right number of frames, or there are
    none.

    Raises:
        ValueError: there are fewer frames than stated, and the file is cut or damaged.
    """
    size, offset = len(content), after_tags(path, content)
    if _frame(content, offset) is None:
        offset = max(offset, _search(content, offset, MAX_JUNK))
    first = _frame(content, offset)
    if first is None:
        return None
    start = offset
    stated, stated_bytes = _stated(content[offset : offset + first[0]])
    frames = samples = junk = 0
    while (offset := after_tags(path, content, offset)) < size:
        frame = _frame(content, offset)
        if frame is not None and offset + frame[0] <= size:
            offset, frames, samples = offset + frame[0], frames + 1, samples + frame[1]
        elif content[offset : offset + 3] == b"TAG":
            offset += 128
        elif content[offset : offset + 8] == b"APETAGEX":
            offset += 32 + int.from_bytes(content[offset + 12 : offset + 16], "little")
        elif (following := _search(content, offset, MAX_JUNK - junk)) > 0:
            junk, offset = junk + following - offset, following
        else:
            break
    if stated is None:
        return samples
    if frames == stated + 1:  # of the sound; and the one that states it
        return None
    if frames <= stated and (junk or offset < size or start + stated_bytes > size):
        raise ValueError(f"{path} is truncated or damaged: {frames} frames of {stated + 1}")
    return samples - first[1]


def _stated(frame: bytes) -> tuple[int | None, int]:
    """Numbers of frames and of bytes that the first frame states, 0 if they are unknown.

    No number of frames if it is a frame of sound.
    """
    if (place := frame.find(b"VBRI")) >= 0:
        content = frame[place + 10 : place + 18]
        return int.from_bytes(content[4:], "big"), int.from_bytes(content[:4], "big")
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if place < 0:
        return None, 0
    flags, stated = frame[place + 7] if place + 7 < len(frame) else 0, [0, 0]
    at = place + 8
    for number in (0, 1):
        if flags >> number & 1:
            stated[number] = int.from_bytes(frame[at : at + 4], "big")
            at += 4
    return stated[0], stated[1]


def _search(content: mmap.mmap, offset: int, reach: int) -> int:
    """Offset of the next two frames in a row, or -1."""
    end = offset + 1 + reach
    while (offset := content.find(b"\xff", offset + 1, end)) >= 0:
        frame = _frame(content, offset)
        if frame is not None and _frame(content, offset + frame[0]) is not None:
            return offset
    return -1


def _frame(content: mmap.mmap, offset: int) -> tuple[int, int] | None:
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
