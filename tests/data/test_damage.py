"""A thousand damaged files: none is lost in silence, none crashes, none gives wrong tokens.

What a format cannot notice is stated, not hidden: a WAV file has no checksum and an MP3 file hardly
any, so a changed bit of their samples is another recording. They must be refused or decode to
finite samples. The other formats refuse every damage, or give what they held before.
Cuts are those of short files: a long Ogg file that ends at the end of a page is a shorter one.
"""

import hashlib
import io
import random

import numpy as np
import pytest
import soundfile
import torch

from intaglio.data.clips import Damage, Reader, find, scan
from intaglio.data.formats.shards import ShardError, ShardRow, ShardWriter, check_shard, read_shard
from intaglio.data.formats.tokens import TokenFileError, TokenHeader, read_tokens, write_tokens

RATE, SAMPLES = 16000, 12000
FORMATS = {
    "wav": {},
    "flac": {},
    "mp3": {"format": "MP3"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
WITHOUT_CHECKSUM = ("wav", "mp3")
EACH = 15  # files of each format and damage


def flip(data, draw):
    damaged = bytearray(data)
    place = draw.randrange(8 * len(data))
    damaged[place // 8] ^= 1 << place % 8
    return bytes(damaged)


def hole(data, draw):
    """300 bytes of zeros, as a disk leaves them."""
    start = draw.randrange(len(data) - 300)
    return data[:start] + bytes(300) + data[start + 300 :]


INSIDE = {"flip": flip, "hole": hole}
GROSS = {
    "cut": lambda data, draw: data[: draw.randrange(1, len(data))],
    "zeros": lambda data, draw: bytes(len(data)),
    "random": lambda data, draw: draw.randbytes(len(data)),
    "empty": lambda data, draw: b"",
    "text": lambda data, draw: b"This is no such file.\n" * draw.randrange(1, 99),
    "image": lambda data, draw: b"\x89PNG\r\n\x1a\n" + draw.randbytes(500),
}
APPENDED = {"appended": lambda data, draw: data + draw.randbytes(draw.randrange(1, 999))}


@pytest.fixture
def draw():
    return random.Random(7)


def sounds(folder):
    """The same half a second of sound in every format."""
    time = np.arange(SAMPLES) / RATE
    noise = np.random.default_rng(0).standard_normal(SAMPLES)
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * noise
    found = {}
    for kind, options in FORMATS.items():
        soundfile.write(folder / f"good.{kind}", wave, RATE, **options)
        found[kind] = (folder / f"good.{kind}").read_bytes()
    return found


def test_600_damaged_recordings_are_named_or_sound(tmp_path, draw, capfd):
    """Reported is what was injected, file by file, with a reason."""
    for kind, data in sounds(tmp_path).items():
        for name, damage in (INSIDE | GROSS).items():
            for number in range(EACH):
                path = tmp_path / f"{name}-{number:02}.{kind}"
                path.write_bytes(damage(data, draw))
    folder, records = find(tmp_path)
    injected = [record.path for record in records if not record.path.startswith("good")]
    assert len(injected) == 5 * 8 * EACH == 600
    damage = Damage(len(records), max_share=1.0)
    reader = Reader(scan(folder, records, damage), RATE, damage, cache=True)
    reported = {records[number].path: reason for number, reason in damage.reasons.items()}
    read = {clip.record.path: reader.read(place) for place, clip in enumerate(reader.clips)}
    assert reported.keys() | read.keys() == {record.path for record in records}
    assert not reported.keys() & read.keys()
    for path, wave in read.items():
        name, _, kind = path.partition(".")
        assert torch.isfinite(wave).all()
        if kind not in WITHOUT_CHECKSUM:  # the change met nothing that matters
            assert torch.equal(wave, read[f"good.{kind}"]), path
        assert name.partition("-")[0] in (*INSIDE, "good"), path
    for path, reason in reported.items():
        assert path in reason and "\n" not in reason and not path.startswith("good"), reason
    refused = len([path for path in reported if path.partition("-")[0] in INSIDE])
    assert refused > 0.9 * 3 * 2 * EACH
    assert len(reported) == len(damage)


def test_a_run_stops_above_the_share_that_is_put_up_with(tmp_path, draw):
    data = sounds(tmp_path)["flac"]
    for number in range(100):
        (tmp_path / f"{number:03}.flac").write_bytes(b"" if number < 2 else data)
    folder, records = find(tmp_path)
    for share, stops in ((0.01, True), (0.05, False)):
        damage = Damage(len(records), share)
        assert len(scan(folder, records, damage)) == len(records) - 2
        if stops:
            with pytest.raises(ValueError, match=r"2 of 105 files.*000\.flac is an empty file"):
                damage.check()
        else:
            damage.check()


def token_file(seed, coding="packed", scale=()):
    ids = torch.randint(0, 50, (400, 2), generator=torch.Generator().manual_seed(seed))
    ids = ids * (ids < 9)
    header = TokenHeader(
        "codec", "0f" * 16, (64, 64), 400, 16000, 320, 1, 128000, {}, coding=coding, scale=scale
    )
    file = io.BytesIO()
    assert write_tokens(file, header, ids).coding == coding
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [token_file(0), token_file(1, scale=(0.5, 2.0)), token_file(2, "range")],
    ids=["packed", "scale", "range"],
)
def test_270_damaged_token_files_are_all_refused(data, draw):
    for name, damage in (INSIDE | GROSS | APPENDED).items():
        for _ in range(10):
            damaged = damage(data, draw)
            assert damaged != data, name
            with pytest.raises(TokenFileError):
                read_tokens(io.BytesIO(damaged))


def test_270_damaged_shards_lose_nothing_in_silence(tmp_path, draw):
    """With its row every damage is noticed; without it, every one that reaches a token."""
    file = io.BytesIO()
    writer = ShardWriter(file)
    for number in range(12):
        writer.add(f"{number:03}", {"intaglio": token_file(number), "json": b'{"text": "so"}'})
    writer.close()
    data = file.getvalue()
    row = ShardRow("x.tar", 12, len(data), hashlib.sha256(data).hexdigest(), {})
    path = tmp_path / "x.tar"

    def tokens():
        return [
            (sample.key, read_tokens(io.BytesIO(sample.files["intaglio"]))[1].tolist())
            for sample in read_shard(path)
        ]

    path.write_bytes(data)
    check_shard(path, row)
    good, unnoticed = tokens(), 0
    for damage in (INSIDE | GROSS | APPENDED).values():
        for _ in range(30):
            damaged = damage(data, draw)
            path.write_bytes(damaged)
            if damaged != data:
                with pytest.raises(ShardError):
                    check_shard(path, row)
            try:
                assert tokens() == good
                unnoticed += 1
            except (ShardError, TokenFileError):
                pass
    assert unnoticed <= 8  # flips and holes in the text next to the tokens
