"""The frames of an MPEG audio file: where they are, and how many samples they hold.

libsndfile takes the length from the header of the first sound in it, where it may be 0 or wrong, or
guesses it from the first frame: too long a guess promises samples that are not there, too short a
one loses the end. It also searches for frames in what is none, which may take a second for each
megabyte: so it gets no long tags, and no file that is not one of frames. Their headers are those of
ISO/IEC 11172-3 and 13818-3, of all layers; they must state a bit rate.
"""

import functools
import mmap
from pathlib import Path
from typing import NamedTuple

from intaglio.data.formats.demuxers import by_signature
from intaglio.data.formats.sound_span import SoundSpan, after_tags, check_number

RATES = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
LAYER_1, LAYER_2, LAYER_3 = 0b11, 0b10, 0b01
KILOBITS_1 = {  # of MPEG-1
    LAYER_1: tuple(range(0, 480, 32)),
    LAYER_2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    LAYER_3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
SHORT = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
KILOBITS_2 = {  # of MPEG-2
    LAYER_1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    LAYER_2: SHORT,
    LAYER_3: SHORT,
}
MAX_JUNK = 1 << 16  # bytes in all that are searched for another frame
MAX_TAGS = 1 << 20  # bytes of tags that are parsed


class MpegSound(NamedTuple):
    """The sound in an MPEG audio file.

    Attributes:
        span: where it is.
        samples: of each channel, before a player takes the padding away; None if the header states
            the right number of frames.
    """

    span: SoundSpan
    samples: int | None


def mpeg_sound(path: Path, content: mmap.mmap) -> MpegSound | None:
    """The sound in an MPEG audio file; None of another file.

    Raises:
        ValueError: there are no frames near the beginning, or none for long; or fewer than stated,
            and the file is cut or damaged.
    """
    size, start = len(content), after_tags(path, content)
    head = content[start : start + 3]
    synchronised = len(head) == 3 and head[0] == 0xFF and head[1] >= 0xE0 and head[1] & 6
    if not synchronised and (
        path.suffix.lower() != ".mp3" or by_signature(content[start : start + 16])
    ):
        return None
    offset = start if _frame(head) else _search(content, start, MAX_JUNK)
    first = _frame(content[offset : offset + 3]) if offset >= 0 else None
    if first is None:
        raise ValueError(f"{path} is not audio that can be read: no frames that state a bit rate")
    begin = offset
    stated, stated_bytes = _stated(content[offset : offset + first[0]])
    frames = samples = junk = tags = 0
    while offset < size:
        frame = _frame(content[offset : offset + 3])
        if frame is not None and offset + frame[0] <= size:
            offset, frames, samples = offset + frame[0], frames + 1, samples + frame[1]
        elif (following := _after_tag(path, content, offset)) > offset:
            offset, tags = following, tags + 1
            check_number(path, tags, size)
        elif (following := _search(content, offset, MAX_JUNK - junk)) > 0:
            junk, offset = junk + following - offset, following
        else:
            break
    if size - offset > MAX_JUNK:
        raise ValueError(
            f"{path} is damaged: {size - offset} bytes from byte {offset} on begin with no frame"
        )
    span = SoundSpan(start if start > MAX_TAGS else 0, size)
    if stated is None:
        return MpegSound(span, samples)
    if frames == stated + 1:  # of the sound; and the one that states it
        return MpegSound(span, None)
    if frames <= stated and (junk or offset < size or begin + stated_bytes > size):
        raise ValueError(f"{path} is truncated or damaged: {frames} frames of {stated + 1}")
    return MpegSound(span, samples - first[1])


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


def _after_tag(path: Path, content: mmap.mmap, offset: int) -> int:
    """Offset of what follows a tag of any kind at ``offset``; the same if there is none."""
    if content[offset : offset + 3] == b"TAG":
        return offset + 128
    if content[offset : offset + 8] == b"APETAGEX":
        return offset + 32 + int.from_bytes(content[offset + 12 : offset + 16], "little")
    return after_tags(path, content, offset)


def _search(content: mmap.mmap, offset: int, reach: int) -> int:
    """Offset of the next two frames in a row, or -1."""
    end = offset + 1 + reach
    while (offset := content.find(b"\xff", offset + 1, end)) >= 0:
        frame = _frame(content[offset : offset + 3])
        if frame is not None:
            following = offset + frame[0]
            if _frame(content[following : following + 3]) is not None:
                return offset
    return -1


@functools.lru_cache(maxsize=1 << 16)
def _frame(head: bytes) -> tuple[int, int] | None:
    """Bytes and samples of the frame that begins with three bytes, or None if it is none."""
    if len(head) < 3 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer, padding = head[1] >> 3 & 0b11, head[1] >> 1 & 0b11, head[2] >> 1 & 1
    bits, rate = head[2] >> 4, head[2] >> 2 & 0b11
    if version not in RATES or layer == 0 or bits in (0, 15) or rate == 3:
        return None
    kilobits = (KILOBITS_1 if version == 0b11 else KILOBITS_2)[layer][bits]
    rate = RATES[version][rate]
    if layer == LAYER_1:
        return (12_000 * kilobits // rate + padding) * 4, 384
    samples = 576 if layer == LAYER_3 and version != 0b11 else 1152
    return samples // 8 * kilobits * 1000 // rate + padding, samples
