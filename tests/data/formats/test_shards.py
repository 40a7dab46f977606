"""Tar shards: read what others write, equal bytes, every kind of damage, everything unsafe."""

import hashlib
import io
import os
import tarfile

import pytest

from intaglio.data.formats.shards import (
    Sample,
    ShardError,
    ShardRow,
    ShardWriter,
    check_shard,
    read_row,
    read_shard,
    row_path,
    write_row,
)

SAMPLES = [
    Sample("a/000", {"wav": b"x" * 700, "txt": "é".encode()}),
    Sample("a/001", {"wav": b"", "json": b"{}"}),
    Sample("b", {"tar.gz": b"y" * 512}),
]


def written(samples=SAMPLES):
    file = io.BytesIO()
    writer = ShardWriter(file)
    for key, files in samples:
        writer.add(key, files)
    assert writer.count == len(samples)
    writer.close()
    return file.getvalue()


def read(tmp_path, data, **options):
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    return list(read_shard(path, **options))


def refusal(tmp_path, data, **options):
    with pytest.raises(ShardError) as caught:
        read(tmp_path, data, **options)
    assert "x.tar" in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def theirs(*members, form=tarfile.PAX_FORMAT):
    """Archive of Python's own tarfile: of names, or of ready headers."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = 5 if info.isreg() else 0
            info.mtime = 1.5
            archive.addfile(info, io.BytesIO(b"hello"))
    return file.getvalue()


def typed(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_samples_come_back_and_equal_samples_give_equal_bytes(tmp_path):
    assert read(tmp_path, written()) == SAMPLES
    assert written() == written()
    digest = hashlib.sha256(written()).hexdigest()
    assert digest == "6b888fea23418ce782bf15cd49084c9417788a983fe1234b7e40c5f80a4ccf94"


def test_others_read_what_we_write(tmp_path):
    long = "k" * 150
    data = written([*SAMPLES, Sample(f"folder/{long}", {"wav": b"1"})])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        names = [f"{key}.{ext}" for key, files in SAMPLES for ext in files]
        assert [member.name for member in members] == [*names, f"folder/{long}.wav"]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
        assert archive.extractfile(members[0]).read() == b"x" * 700
    assert read(tmp_path, data)[-1] == Sample(f"folder/{long}", {"wav": b"1"})


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_others_write_is_read(tmp_path, form):
    names = ["./", "a.wav", "A.WAV.TXT", "ü/b.wav", ".hidden", "f/" * 60 + "c.wav"]
    if form != tarfile.USTAR_FORMAT:
        names.append("n" * 300 + ".wav")
    folder = typed("d", tarfile.DIRTYPE)
    found = read(tmp_path, theirs(folder, *names[1:], form=form))
    keys = ["a", "A", "ü/b", "f/" * 60 + "c", "n" * 300][: len(names) - 2]
    assert [sample.key for sample in found] == keys
    assert found[1].files == {"wav.txt": b"hello"}


def test_every_flipped_bit_of_structure_is_detected(tmp_path):
    """Headers, padding and the end; flips in content are for the row, or the content itself."""
    data, path = written([Sample("a", {"wav": b"x" * 10})]), tmp_path / "x.tar"
    header, rest = range(8 * 512), range(8 * 522, 8 * len(data), 5)
    path.write_bytes(data)
    good, harmless = list(read_shard(path)), []
    with path.open("r+b", buffering=0) as file:
        for place in (*header, *rest):
            os.pwrite(file.fileno(), bytes([data[place // 8] ^ 1 << place % 8]), place // 8)
            try:
                assert list(read_shard(path)) == good
                harmless.append(place // 8)
            except ShardError:
                pass
            os.pwrite(file.fileno(), data[place // 8 : place // 8 + 1], place // 8)
    assert set(harmless) <= {148, 154, 155}  # a blank for a zero, or the reverse, at a checksum
    assert len(harmless) <= 3


def test_every_truncation_is_detected(tmp_path):
    data = written()
    for size in range(0, len(data), 64):
        refusal(tmp_path, data[: size or 1])
    refusal(tmp_path, b"")
    assert read(tmp_path, data + bytes(10240)) == SAMPLES  # others fill up the last record


def test_blocks_of_zeros_within_are_detected(tmp_path):
    data = written([Sample(f"{number:03}", {"wav": b"x" * 2000}) for number in range(20)])
    for start in range(0, len(data) - 1024, 512):
        damaged = data[:start] + bytes(512) + data[start + 512 :]
        if data[start : start + 1] != b"x":  # content is another matter
            assert damaged == data or refusal(tmp_path, damaged)
    assert "zeros" in refusal(tmp_path, data[: 5 * 2560] + bytes(len(data) - 5 * 2560))
    assert "no samples" in refusal(tmp_path, bytes(10240))
    assert read(tmp_path, written([])) == []


@pytest.mark.parametrize(
    "member",
    [
        typed("a.wav", tarfile.SYMTYPE, "/etc/passwd"),
        typed("a.wav", tarfile.LNKTYPE, "b.wav"),
        typed("a.wav", tarfile.CHRTYPE),
        typed("a.wav", tarfile.FIFOTYPE),
        "/a.wav",
        "../a.wav",
        "b/../../a.wav",
        "b/..",
        "a\\b.wav",
        "a\n.wav",
        "a\x1b[2J.wav",
    ],
    ids=lambda member: repr(getattr(member, "type", member)),
)
def test_what_is_unsafe_is_refused(tmp_path, member):
    message = refusal(tmp_path, theirs("good.wav", member))
    assert "not a regular file" in message or "relative path" in message


def test_limits_and_doubles_are_refused(tmp_path):
    assert "limit is 4" in refusal(tmp_path, theirs("a.wav"), max_bytes=4)
    assert "is there twice" in refusal(tmp_path, theirs("a.wav", "a.WAV"))
    assert "'a' has more than 64 files" in refusal(tmp_path, theirs(*(f"a.{n}" for n in range(65))))
    assert "do not follow" in refusal(tmp_path, theirs("a.wav", "b.wav", "a.txt"))
    sparse = typed("a.wav", tarfile.REGTYPE)
    sparse.pax_headers = {"size": "9999999"}
    assert "pax records" in refusal(tmp_path, theirs(sparse))
    big = bytearray(theirs("a.wav"))
    big[124:136] = b"77777777777\0"
    big[148:156] = b"%06o\0 " % (sum(big[:148]) + 256 + sum(big[156:512]))
    assert "bytes; the limit" in refusal(tmp_path, bytes(big))
    big[124] = 0x80  # a binary size, maybe negative
    big[148:156] = b"%06o\0 " % (sum(big[:148]) + 256 + sum(big[156:512]))
    assert "octal" in refusal(tmp_path, bytes(big))


def test_the_writer_refuses_what_would_not_be_read(tmp_path):
    writer = ShardWriter(io.BytesIO())
    writer.add("a", {"wav": b""})
    with pytest.raises(ValueError, match="65 files, the limit 64"):
        writer.add("b", {str(number): b"" for number in range(65)})
    for key, files in (
        ("a", {"txt": b""}),
        ("b", {}),
        ("b.c", {"wav": b""}),
        ("b", {"WAV": b""}),
        ("../b", {"wav": b""}),
        ("/b", {"wav": b""}),
        ("b\n", {"wav": b""}),
    ):
        with pytest.raises(ValueError):
            writer.add(key, files)


def test_a_row_notices_every_change(tmp_path):
    data, path = written(), tmp_path / "x.tar"
    path.write_bytes(data)
    row = ShardRow("x.tar", 3, len(data), hashlib.sha256(data).hexdigest(), {"by": ["é"]})
    write_row(path, row)
    assert read_row(path) == row and row_path(path).name == "x.json"
    check_shard(path, row)
    for wrong in (data[:-1], data + b"\0", b"X" + data[1:], data.replace(b"xx", b"xy", 1)):
        path.write_bytes(wrong)
        with pytest.raises(ShardError, match="copy it again"):
            check_shard(path, row)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 60000,
        b'{"shard": "x.tar"}',
        b'{"shard": "y.tar", "samples": 1, "bytes": 1, "sha256": "%s", "about": {}}' % (b"0" * 64),
        b'{"shard": "x.tar", "samples": -1, "bytes": 1, "sha256": "%s", "about": {}}' % (b"0" * 64),
        b'{"shard": "x.tar", "samples": 1, "bytes": 1, "sha256": 7, "about": {}}',
        b'{"shard": "x.tar", "samples": 1, "bytes": 1, "sha256": "%s", "about": 0}' % (b"0" * 64),
    ],
    ids=lambda text: text[:40].decode("latin1"),
)
def test_a_row_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(ShardError, match=r"x\.json is"):
        read_row(tmp_path / "x.tar")
