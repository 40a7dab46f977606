"""Beneath a Steel Sky: two hours of acted English speech, short sentences, out of a free game.

The game keeps its files in one archive, and a list of their numbers and places in another file.
Speech has numbers from 50,000 on; unpacked, it is unsigned 8-bit samples at 11.025 kHz. What is
said lies elsewhere, packed in another way, and is not read; who says it is not stored. Pictures of
the opening have numbers among the speech, but are packed together with their header or not at all.
Left out are these, six sounds of the background, and clips that are silent, shorter than `SHORTEST`
or longer than `LONGEST`.
"""

import gzip
import logging
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import debian_copyright, fetch_debian
from intaglio.data.sets.propack import unpack, unpacked_size

PACKAGE = "beneath-a-steel-sky"
LICENCE = "own freeware licence"
NOTICE = """\
This is a modified version of the game: its recordings of speech alone, in another format.
The notices of the game and of the package follow.
"""
RATE = 11_025  # Hz
SPEECH = range(50_000, 60_000)
BACKGROUNDS = range(59_494, 59_500)
SHORTEST, LONGEST = 0.3, 15.0  # seconds
SILENT = 4  # of 255; the samples of a silent clip differ by less
HEADER = 22  # bytes before the packed ones


def speech(index: bytes, archive: bytes) -> dict[int, bytes]:
    """Packed recordings of the game by their number.

    Args:
        index: content of ``sky.dnr``.
        archive: content of ``sky.dsk``.

    Raises:
        ValueError: the bytes are no such list, or one of them ends too early.
    """
    count = int.from_bytes(index[:4], "little")
    if len(index) < 4 or 4 + 8 * count > len(index):
        raise ValueError(f"the list of the archive ends within its {count:,} files")
    found = {}
    for number, place, size in struct.iter_unpack("<H3s3s", index[4 : 4 + 8 * count]):
        start, length = int.from_bytes(place, "little"), int.from_bytes(size, "little")
        if start >> 23:
            start = (start & 0x7FFFFF) << 4
        kind, length = length >> 22, length & 0x3FFFFF
        if number not in SPEECH or number in BACKGROUNDS or kind:
            continue
        if start + length > len(archive):
            raise ValueError(f"the archive ends within file {number}")
        found[number] = archive[start + HEADER : start + length]
    return found


def build(folder: Path) -> Iterator[Record]:
    """Write the clips into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        unpacked = Path(temporary)
        fetch_debian([PACKAGE], unpacked)
        readme = unpacked / f"usr/share/doc/{PACKAGE}/readme.txt.gz"
        rights = [NOTICE, debian_copyright(unpacked, PACKAGE)]
        if readme.is_file():  # the licence asks for it
            rights.append(gzip.decompress(readme.read_bytes()).decode("utf-8", "replace"))
        write_licence(folder, LICENCE, f"the Debian package {PACKAGE}", "\n".join(rights))
        game = unpacked / f"usr/share/scummvm/{PACKAGE}"
        recordings = speech((game / "sky.dnr").read_bytes(), (game / "sky.dsk").read_bytes())
    for number, packed in sorted(recordings.items()):
        try:
            seconds = unpacked_size(packed) / RATE
            if not SHORTEST <= seconds <= LONGEST:
                continue
            samples = np.frombuffer(unpack(packed, int(LONGEST * RATE)), np.uint8)
        except ValueError as error:
            logging.getLogger(__name__).warning("left out %d: %s", number, error)
            continue
        if np.ptp(samples) < SILENT:
            continue
        path = f"{number}.flac"
        soundfile.write(folder / path, (samples.astype(np.int16) - 128) << 8, RATE)
        yield Record(path, round(seconds, 4), language="en")


SKY = RealSet(
    name="speech-sky",
    about="acted English dialogue without text, short sentences, 11 kHz, 8 bits",
    licence=LICENCE,
    source=f"Debian {PACKAGE}",
    items=3578,
    minutes=119.5,
    megabytes=66,
    build=build,
)
