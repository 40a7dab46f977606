"""A tiny archive of the game gives back its speech; pictures, noises and damage are left out."""

import gzip
import random
import struct

import numpy as np
import pytest
import soundfile

from intaglio.data.manifest import Record, read_manifest
from intaglio.data.sets import get
from intaglio.data.sets.sky import speech

ALONE, PICTURE, PLAIN = 0, 1, 2  # packed after its header, with it, or not at all


def archive(files: list[tuple[int, int, bytes]]) -> tuple[bytes, bytes]:
    """The list of the game's files and their archive; half of them begin at multiples of 16."""
    index, content = struct.pack("<I", len(files)), b"start"
    for place, (number, kind, body) in enumerate(files):
        start = len(content)
        if place % 2:
            content += bytes(-start % 16)
            start = len(content) >> 4 | 1 << 23
        content += bytes(22) + body
        size = 22 + len(body) | kind << 22
        index += (
            struct.pack("<H", number) + start.to_bytes(3, "little") + size.to_bytes(3, "little")
        )
    return index, content


@pytest.fixture
def recording(packer):
    """Makes a packed recording of some seconds of noise, and the noise."""
    draw = random.Random(0)

    def make(seconds: float, loudest: int = 256) -> tuple[bytes, bytes]:
        samples = bytes(128 + draw.randrange(loudest) - loudest // 2 for _ in range(1_000))
        made, length = packer(), round(seconds * 11_025)
        repeats = [(b"", 1_000, 1_000)] * (length // 1_000 - 2)
        made.block((samples, 1_000, 1_000), *repeats, (samples[: length % 1_000], 0, 0))
        return made.packed(), bytes(made.unpacked)

    return make


@pytest.fixture
def game(recording):
    packed, samples = recording(0.5)
    damaged = packed[:200] + bytes([packed[200] ^ 1]) + packed[201:]
    files = [
        (49_999, ALONE, packed),
        (50_002, ALONE, packed),
        (50_001, ALONE, packed),
        (50_003, ALONE, damaged),
        (50_004, ALONE, recording(0.28)[0]),
        (50_005, ALONE, packed[:4] + struct.pack(">I", 16 * 11_025) + packed[8:]),
        (50_006, ALONE, recording(0.5, loudest=2)[0]),
        (50_007, ALONE, b"not packed at all, but as long as a header"),
        (59_494, ALONE, packed),
        (59_500, PICTURE, packed),
        (59_501, PLAIN, bytes(768)),
        (60_000, ALONE, packed),
    ]
    return *archive(files), samples


def test_the_set_has_the_speech_alone(debian, game, caplog):
    index, content, samples = game
    documents = "usr/share/doc/beneath-a-steel-sky"
    files = {
        "usr/share/scummvm/beneath-a-steel-sky/sky.dnr": index,
        "usr/share/scummvm/beneath-a-steel-sky/sky.dsk": content,
        f"{documents}/copyright": b"all notices left intact",
        f"{documents}/readme.txt.gz": gzip.compress(b"read it or we send Joey"),
    }
    debian.offer("beneath-a-steel-sky", files)
    folder = get("speech-sky")
    seconds = round(len(samples) / 11_025, 4)
    assert read_manifest(folder / "manifest.jsonl") == [
        Record("50001.flac", seconds, language="en"),
        Record("50002.flac", seconds, language="en"),
    ]
    wave, rate = soundfile.read(folder / "50001.flac")
    assert rate == 11_025 and (wave * 128 + 128 == np.frombuffer(samples, np.uint8)).all()
    names = ["50001.flac", "50002.flac", "LICENSE.txt", "manifest.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for notice in ("modified version", "all notices left intact", "read it or we send Joey"):
        assert notice in (folder / "LICENSE.txt").read_text()
    assert "left out 50003: damaged: the CRC of the packed bytes is wrong" in caplog.text
    assert "left out 50007: not packed by RNC ProPack" in caplog.text


def test_cut_files_are_refused(game):
    index, content, _ = game
    assert sorted(speech(index, content)) == list(range(50_001, 50_008))
    for kept in (0, 3, 4, 50, len(index) - 1):
        with pytest.raises(ValueError, match="the list of the archive ends within"):
            speech(index[:kept], content)
    with pytest.raises(ValueError, match="the archive ends within file 50002"):
        speech(index, content[:2_000])
