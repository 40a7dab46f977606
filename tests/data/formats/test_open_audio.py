"""Sound is read to its end, whatever headers say; what cannot be read is refused at once."""

import io
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from intaglio.data.clips import Damage, Reader, find, scan
from intaglio.data.formats.wave import probe, read_blocks, read_wave

RATE = 16_000
FORMATS = {
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "flac": {"format": "FLAC"},
    "mp3": {"format": "MP3"},
    "wav": {"format": "WAV"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
    "w64": {"format": "W64"},
    "rf64": {"format": "RF64"},
}


def tone(frequency: float, seconds: float) -> np.ndarray:
    time = np.arange(round(RATE * seconds)) / RATE
    return 0.3 * np.sin(2 * np.pi * frequency * time)


def encoded(kind: str, wave: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **FORMATS[kind])
    return file.getvalue()


def lengths(path) -> list[int]:
    """As it is stated, read as a whole, and read in blocks."""
    blocks = [block.shape[1] for block in read_blocks(path, 0.3)]
    return [probe(path).frames, read_wave(path)[0].shape[1], sum(blocks)]


def put(content: bytes, offset: int, number: int, form: str) -> bytes:
    data = bytearray(content)
    struct.pack_into(form, data, offset, number)
    return bytes(data)


@pytest.mark.parametrize("kind", ["ogg", "opus", "flac", "wav"])
@pytest.mark.parametrize("seconds", [(2.0, 2.0), (0.5, 2.5, 1.0)])
def test_sounds_end_to_end_are_all_read(tmp_path, kind, seconds):
    pieces = [encoded(kind, tone(300 + 200 * n, length)) for n, length in enumerate(seconds)]
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"".join(pieces))
    assert lengths(path) == [RATE * sum(seconds)] * 3
    waves = []
    for number, piece in enumerate(pieces):
        (tmp_path / f"{number}.{kind}").write_bytes(piece)
        waves.append(read_wave(tmp_path / f"{number}.{kind}")[0])
    whole = torch.cat(waves, dim=1)
    assert torch.equal(read_wave(path)[0], whole)
    across, _ = read_wave(path, start=7_000, frames=30_000)
    torch.testing.assert_close(across, whole[:, 7_000:37_000], atol=1e-4, rtol=0)
    later, _ = read_wave(path, start=round(RATE * seconds[0]) + 5)
    torch.testing.assert_close(later, whole[:, -later.shape[1] :], atol=1e-4, rtol=0)


def test_the_same_sound_twice_is_two_sounds(tmp_path):
    """The streams of both have the same number, and the last frames end where they should."""
    for kind in ("ogg", "opus", "flac"):
        (tmp_path / f"a.{kind}").write_bytes(2 * encoded(kind, tone(440, 2)))
        assert lengths(tmp_path / f"a.{kind}") == [4 * RATE] * 3


def test_sounds_of_different_formats_are_not_joined(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(encoded("flac", tone(440, 1)) + encoded("flac", tone(440, 1), 2 * RATE))
    with pytest.raises(ValueError, match="a.flac holds 2 sounds.*16000 Hz.*32000 Hz; split it"):
        read_wave(path)


@pytest.mark.parametrize(
    "between", [b"", b"ID3\4\0\0\0\0\1\0" + bytes(128), b"TAG" + bytes(125), b"junk" * 99]
)
def test_mp3_files_end_to_end_are_all_read(tmp_path, between):
    """The header of the second is a frame of silence, and its padding is heard."""
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded("mp3", tone(300, 2)) + between + encoded("mp3", tone(500, 3)))
    stated, *read = lengths(path)
    assert read[0] == read[1] and abs(stated - read[0]) < 2_000
    assert 5 * RATE <= read[0] < 5 * RATE + 5 * 576
    tail = read_wave(path)[0][0, -RATE:]
    assert torch.fft.rfft(tail).abs().argmax() == 500


@pytest.mark.parametrize("says", [0, 3, 30, 200])
def test_mp3_that_states_a_wrong_number_of_frames(tmp_path, says):
    content = encoded("mp3", tone(440, 3))
    mark = max(content.find(b"Xing"), content.find(b"Info"))
    path = tmp_path / "a.mp3"
    path.write_bytes(put(content, mark + 8, says, ">I"))
    stated, *read = lengths(path)
    assert read[0] == read[1] and abs(stated - read[0]) < 2_000
    assert 3 * RATE <= read[0] < 3 * RATE + 2 * 576


@pytest.mark.parametrize("says", [0, 100, 3 * RATE - 1, 3 * RATE + 1, 10**9, (1 << 36) - 1])
def test_flac_that_states_a_wrong_number_of_samples(tmp_path, says):
    content = encoded("flac", tone(440, 3))
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36 | says
    path = tmp_path / "a.flac"
    for tag in (b"", b"TAG" + bytes(125)):
        path.write_bytes(put(content, 18, fields, ">Q") + tag)
        assert lengths(path) == [3 * RATE] * 3
    if says < 3 * RATE - 1:  # one that ends within a frame
        path.write_bytes(put(content, 18, fields, ">Q")[:-1000])
        with pytest.raises(ValueError, match="a.flac is damaged"):
            read_wave(path)


@pytest.mark.parametrize(
    ("kind", "mark", "at", "form", "says"),
    [
        ("wav", b"data", 4, "<I", (0, 0x7FFFFFFF, 0xFFFFFFFF)),
        ("rf64", b"ds64", 16, "<Q", (0, 1 << 63)),
        ("aiff", b"SSND", 4, ">I", (0, 0xFFFFFFFF)),
        ("caf", b"data", 4, ">Q", (0, (1 << 64) - 1)),
        ("w64", b"data\xf3", 16, "<Q", (0, (1 << 63) - 1)),
        ("au", b".snd", 8, ">I", (0, 100, 0xFFFFFFFF)),
    ],
)
def test_sizes_that_were_never_filled_in(tmp_path, kind, mark, at, form, says):
    content, path = encoded(kind, tone(440, 1)), tmp_path / f"a.{kind}"
    for number in says:
        path.write_bytes(put(content, content.index(mark) + at, number, form))
        assert lengths(path) == [RATE] * 3, number
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"a.{kind} is truncated"):
        read_wave(path)


def test_a_wav_without_samples_is_not_a_chunk_of_text(tmp_path):
    content = encoded("wav", np.zeros(0))
    (tmp_path / "a.wav").write_bytes(content + b"LIST" + struct.pack("<I", 400) + bytes(400))
    with pytest.raises(ValueError, match="no samples"):
        read_wave(tmp_path / "a.wav")


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_ogg_without_an_end_is_read_to_its_last_page(tmp_path, kind):
    from intaglio.data.formats.ogg import _checksum

    content = bytearray(encoded(kind, tone(440, 3)))
    last = content.rindex(b"OggS")
    content[last + 5] &= ~4
    content[last + 22 : last + 26] = bytes(4)
    content[last + 22 : last + 26] = _checksum(content[last:])
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    assert lengths(path) == [3 * RATE] * 3


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def matroska(form: str, live: bool) -> bytes:
    """Three seconds of Opus."""
    av = pytest.importorskip("av")
    file, wave = (Pipe() if live else io.BytesIO()), tone(440, 9)[None].astype(np.float32)
    with av.open(file, "w", format=form, options={"live": "1"} if live else {}) as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono")
        for start in range(0, 3 * 48_000, 960):
            samples = wave[:, start : start + 960].copy()
            frame = av.AudioFrame.from_ndarray(samples, "flt", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("form", ["webm", "matroska"])
def test_live_webm_has_a_length(tmp_path, form):
    path = tmp_path / "a.webm"
    path.write_bytes(matroska(form, live=True))
    stated, *read = lengths(path)
    assert read == [3 * 48_000] * 2 and abs(stated - read[0]) < 960


def test_a_length_that_is_overstated_is_no_damage_in_webm_but_a_cut_is(tmp_path):
    content, path = matroska("webm", live=False), tmp_path / "a.webm"
    at = content.index(b"\x44\x89\x88") + 3
    path.write_bytes(put(content, at, 0, ">Q"))
    assert lengths(path)[1:] == [3 * 48_000] * 2
    for milliseconds in (100.0, 9_000.0):
        data = bytearray(content)
        struct.pack_into(">d", data, at, milliseconds)
        path.write_bytes(data)
        assert lengths(path)[1:] == [3 * 48_000] * 2
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="a.webm is truncated"):
        read_wave(path)


def test_names_inside_a_file_need_not_be_text(tmp_path):
    content = matroska("mp4", live=False)
    for name in (b"iso2", b"isom"):
        content = content.replace(name, b"\xff\xfe\xfd\xfc")
    (tmp_path / "a.mp4").write_bytes(content)
    assert probe(tmp_path / "a.mp4").sample_rate == 48_000


def wav(*, code=1, channels=1, rate=RATE, bits=16, more=b"") -> bytes:
    form = struct.pack("<HHIIHH", code, channels, rate, 2 * rate, 2, bits) + more
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    return b"RIFF" + struct.pack("<I", len(head) + 264) + head + b"data\0\1\0\0" + bytes(256)


@pytest.mark.parametrize(
    "content",
    [
        wav(bits=0),
        wav(bits=255),
        wav(code=0xFFFE),
        wav(code=0xFFFE, more=struct.pack("<HHI16s", 22, 16, 4, b"another GUID 123")),
        wav(code=0),
        wav(code=300),
        wav(channels=0),
        wav(rate=0),
    ],
)
def test_absurd_fields_of_a_wav_are_refused_by_name(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.wav") as caught:
        read_wave(path)
    assert "\n" not in str(caught.value)


def test_arrays_are_not_as_large_as_a_header_says(tmp_path):
    """200 kB that promise four hours of 8 channels at 384 kHz, and a cut, so that it is damaged."""
    content = encoded("flac", np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE))
    claim = 384_000 << 44 | 7 << 41 | 15 << 36 | 4 * 3600 * 384_000
    path = tmp_path / "a.flac"
    path.write_bytes(put(content, 18, claim, ">Q")[:-99])
    with pytest.raises(ValueError, match="a.flac is (damaged|truncated)"):
        read_wave(path)
    (tmp_path / "b.flac").write_bytes(put(content, 18, claim >> 36 << 36 | 1 << 32, ">Q")[:-99])
    folder, records = find(tmp_path)
    damage = Damage(2, 1.0)
    Reader(scan(folder, records, damage), RATE, damage, cache=True)
    assert len(damage) == 2


def test_a_recording_above_the_limit_of_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("intaglio.data.formats.wave.MAX_VALUES", 2 * RATE)
    (tmp_path / "a.wav").write_bytes(encoded("wav", np.zeros((RATE + 1, 2))))
    with pytest.raises(ValueError, match="a.wav is too long to be read as a whole: above 32,000"):
        read_wave(tmp_path / "a.wav")
    assert read_wave(tmp_path / "a.wav", frames=RATE)[0].shape == (1, RATE)


@pytest.mark.parametrize("scale", [32_768.0, 1e20])
def test_samples_far_above_full_scale_are_refused_with_their_peak(tmp_path, scale):
    path = tmp_path / "a.wav"
    soundfile.write(path, scale * tone(440, 1), RATE, subtype="FLOAT")
    peak = "9,830" if scale < 1e6 else r"3e\+19"
    for read in (read_wave, lambda path: list(read_blocks(path, 0.1))):
        with pytest.raises(ValueError, match=f"a.wav has samples up to {peak}.*divide them by"):
            read(path)
    soundfile.write(path, 50 * tone(440, 1), RATE, subtype="FLOAT")  # hot, but meant
    assert read_wave(path)[0].max() > 14


def ogg_page(flags: int, segments: bytes = b"", body: bytes = b"") -> bytes:
    page = b"OggS\0" + bytes((flags, *bytes(20), len(segments))) + segments + body
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value >> 31 else 0)
    return page[:22] + struct.pack("<I", value) + page[26:]


EMPTY_TAGS = 400_000 * b"ID3\4\0\0\0\0\0\0"
CHUNKS = 1_000_000 * b"junk\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.wav", lambda: b"RIFF\0\0\0\1WAVE" + CHUNKS + wav()[12:], "1000 chunks"),
        ("b.wav", lambda: wav() + CHUNKS, None),
        ("a.mp3", lambda: EMPTY_TAGS + encoded("mp3", tone(440, 1)), "16 ID3 tags"),
        ("b.mp3", lambda: encoded("mp3", tone(440, 1)) + EMPTY_TAGS, "16 ID3 tags"),
        ("a.flac", lambda: EMPTY_TAGS + encoded("flac", tone(440, 1)), "16 ID3 tags"),
        ("a.ogg", lambda: 400_000 * b"OggS\0", "pages do not follow"),
        (
            "b.ogg",
            lambda: 10_100 * (ogg_page(2) + ogg_page(0, b"\xff" * 4, bytes(1020))),
            "10000 sounds",
        ),
    ],
)
def test_refusals_are_quick_and_quiet(tmp_path, capfd, name, make, message):
    path = tmp_path / name
    path.write_bytes(make())
    started = time.process_time()
    if message is None:
        assert read_wave(path)[0].shape == (1, 128)
    else:
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            read_wave(path)
    assert time.process_time() - started < 2.0  # all take below 0.2 s on a machine at rest
    assert capfd.readouterr().err == ""


def test_remarks_of_decoders_stay_off_standard_error_and_other_words_do_not(tmp_path):
    content = bytearray(encoded("mp3", tone(440, 3)))
    for place in np.random.default_rng(0).integers(2_000, len(content), 300):
        content[place] ^= 4
    (tmp_path / "a.mp3").write_bytes(content)
    code = (
        "import os, sys, soundfile; from intaglio.data.formats.quiet import quiet\n"
        "with quiet():\n"
        "    soundfile.read(sys.argv[1]); os.write(2, b'Well: a word\\n')\n"
        "    with quiet(): pass\n"
        "os.close(2)\n"
        "with quiet(): pass\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.mp3")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "Well: a word\n")
    loud = subprocess.run(
        [sys.executable, "-c", "import soundfile, sys; soundfile.read(sys.argv[1])", command[3]],
        capture_output=True,
    )
    assert loud.stderr  # else there would be nothing to keep off


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.flac", b"f"),
        ("a.flac", b"fLaC\0\0\0\x22\x10\0"),
        ("a.aac", b"\xff\xf1\x50\x80"),
        ("a.m4a", b"\0"),
    ],
)
def test_stumps_of_files_are_called_damaged_not_forbidden(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not audio that can be read: its content is d"):
        probe(tmp_path / name)
