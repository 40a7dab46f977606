"""Sound files that are made to cost a reader much, and long recordings that are not."""

import io
import random
import re
import struct
import time

import numpy as np
import pytest
import soundfile

from intaglio.data.formats.open_audio import AUDIO_LIMITS
from intaglio.data.formats.wave import probe, read_blocks, read_wave

av = pytest.importorskip("av")

RATE = 16_000
SLOWER = 4  # times, on a busy machine


def encoded(kind, *, seconds=1.0, level=0.3, channels=1, **options):
    """A tone, or silence."""
    wave = level * np.sin(np.arange(round(RATE * seconds)) / 9)
    file = io.BytesIO()
    soundfile.write(file, wave[:, None].repeat(channels, 1), RATE, format=kind, **options)
    return file.getvalue()


def coded(container, codec, rate=RATE):
    """Three seconds of a tone through FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        wave = (0.3 * np.sin(np.arange(3 * rate) / 9)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        for block in (*resampler.resample(frame), None):
            output.mux(stream.encode(block))
    return file.getvalue()


def box(name, *contents):
    content = b"".join(contents)
    return struct.pack(">I", len(content) + 8) + name + content


def element(name, content):
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content


def matroska(*contents):
    head = element("1a45dfa3", element("4282", b"matroska"))
    return head + element("18538067", b"".join(contents))


def id3(content):
    size = len(content)
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + content


def wav(channels, form, bits, block, data, extra=b""):
    head = struct.pack("<HHIIHH", form, channels, 8_000, 8_000 * block, block, bits) + extra
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head
    return b"RIFF\xff\xff\xff\x7f" + body + b"data" + struct.pack("<I", len(data)) + data


def silence(seconds, channels=1):
    file = io.BytesIO()
    zeros = np.zeros((round(RATE * seconds), channels), np.int16)
    soundfile.write(file, zeros, RATE, format="FLAC")
    return file.getvalue()


def floods(many):
    """Name, whose ending is the file's, content, and the reason to refuse it."""
    pieces = r"more than \d+ pieces"
    ftyp = box(b"ftyp", b"M4A \0\0\0\0M4A ")
    for name in (b"free", b"skip", b"mdat", b"abcd"):
        yield f"{name} first.m4a", box(name) * many, pieces
        yield f"{name}.m4a", ftyp + box(name) * many, pieces
    for name in (b"trak", b"udta", b"\xa9nam", b"mvhd"):
        yield f"{name} inside.m4a", ftyp + box(b"moov", box(name) * many), pieces
    track = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"abcd") * many))))
    yield "deep.m4a", ftyp + box(b"moov", track), pieces
    yield (
        "references.m4a",
        ftyp + box(b"moov", box(b"trak", box(b"tref", box(b"hint") * many))),
        pieces,
    )
    handler, names = box(b"hdlr", bytes(8) + b"mdta" + bytes(13)), box(b"mdta", b"a") * many
    for version in (b"", bytes(4)):
        keys = box(b"keys", struct.pack(">II", 0, many), names)
        yield (
            f"keys {len(version)}.m4a",
            ftyp + box(b"moov", box(b"meta", version, handler, keys)),
            pieces,
        )
    yield "void.mkv", matroska(b"\xec\x80" * many), pieces
    tag = element("7373", element("67c8", element("45a3", b"a") + element("4487", b"b")))
    yield "tags.mkv", matroska(element("1254c367", tag * (many // 2))), pieces
    cue = element("bb", element("b3", b"\0") + element("b7", element("f7", b"\1")))
    yield "cues.webm", matroska(element("1c53bb6b", cue * (many // 2))), pieces
    yield "clusters.mkv", matroska(element("1f43b675", element("e7", b"\0")) * many), pieces
    track = element("ae", element("d7", b"\1") + element("83", b"\2") + element("86", b"A_VORBIS"))
    yield "tracks.mka", matroska(element("1654ae6b", track * (many // 2))), pieces
    ogg, mp3, flac = encoded("OGG"), encoded("MP3"), encoded("FLAC")
    pages = "pages do not follow"
    yield "signatures.ogg", ogg[:58] + b"OggS" * 10 * many + ogg[58:], pages
    yield "signatures.opus", encoded("OGG", subtype="OPUS")[:300] + b"OggS\0" * many + ogg, pages
    page = b"OggS\0\0" + bytes(20) + b"\xff" * 256 + b"OggS\0" * 13_005
    yield "wrong page.ogg", ogg[:58] + page + ogg[58:], pages
    empty = ogg[:5] + bytes(21) + b"\0"
    yield "empty pages.ogg", ogg[:58] + empty * many + ogg[58:], "16384 empty pages"
    frames, sounds = "no frames that state a bit rate", r"more than \d+ sounds"
    yield "sounds.flac", encoded("FLAC", seconds=0.001) * (many // 20), sounds
    yield "marks.flac", flac[:42] * (many // 20) + flac, sounds
    yield "zeros.mp3", bytes(20 * many), frames
    yield "free format.mp3", b"\xff\xfb\0\x64" * 5 * many, frames
    yield "ones.mp3", b"\xff" * 20 * many, frames
    yield "ones behind.mp3", mp3 + b"\xff" * 20 * many, "begin with no frame"
    yield "free format behind.mp3", mp3 + b"\xff\xfb\0\x64" * 5 * many, "begin with no frame"
    yield (
        "noise behind.mp3",
        mp3[:1000] + random.Random(0).randbytes(20 * many),
        "begin with no frame",
    )
    tagged = id3(b"") + b"\xff\xf3\x14\xc4" + bytes(20)
    yield "tags between.mp3", tagged * many, sounds
    yield "tags.mp3", id3(b"") * many + mp3, "16 ID3 tags"
    for suffix in ("mp3", "wav", "flac", "ogg", "m4a", "webm", "aac", "ac3", "amr", "aiff", "bin"):
        noise = random.Random(suffix).randbytes(20 * many)
        yield f"noise.{suffix}", noise, "is not audio that can be read"
    yield "synchronised noise.mp3", b"\xff\xfb\x90\x64" + noise, "begin with no frame"
    asf = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack("<QI", 99, many) + b"\1\2"
    pad = bytes.fromhex("4052d1861d31d011a3a400a0c90348f6") + struct.pack("<Q", 24)
    yield "objects.wma", asf + pad * many, "is not audio|no audio"
    for bits, channels in ((0, 1), (255, 1), (16, 65_535), (16, 0)):
        yield f"{channels} of {bits} bits.wav", wav(channels, 1, bits, 2, bytes(many)), ""
    for rate in (0, 999, 1 << 31):
        yield f"{rate} Hz.au", b".snd" + struct.pack(">IIIII", 24, 99, 3, rate, 1) + bytes(99), ""
    yield "nothing.amr", b"#!AMR\n" + b"\x7c" * 10 * many, "packets have"
    frame = b"\x04" + bytes(12)
    yield "cut.amr", b"#!AMR\n" + frame * many + b"\x04", "its last frame is cut"
    yield "cut.wb.amr", b"#!AMR-WB\n" + (b"\x04" + bytes(17)) * many + b"\x04", "frame is cut"
    yield "nothing between.amr", b"#!AMR\n" + (frame + b"\x7c" * 5) * many, "packets have"
    silent = (b"\x44" + bytes(5)) * max(many, 120_000)
    yield "silent.amr", b"#!AMR\n" + silent, "too long|lasts"
    tiny, two = (encoded("OGG", seconds=0.001, channels=count) for count in (1, 2))
    yield "sounds.ogg", tiny * min(2_000, many // 10), sounds
    large = encoded("OGG", seconds=3, level=0.9)
    yield "sounds of two kinds.ogg", large * (many // 1000) + two, "split it"
    yield "empty frames.aac", b"\xff\xf1\x60\x40\x01\x1f\xfc" * many, "packets have"
    pcm = element("86", b"A_PCM/INT/LIT") + element("e1", element("b5", struct.pack(">d", 16e3)))
    track = element("1654ae6b", element("ae", element("d7", b"\1") + element("83", b"\2") + pcm))
    blocks = element("1f43b675", element("e7", b"\0") + b"\xa3\x86\x81\0\0\x80\0\0" * many)
    yield "small blocks.mkv", matroska(track, blocks), "packets hold"
    for channels in (1, 2, 8):
        name = f"silence of {channels} channels.flac"
        yield name, silence(1_100 / channels, channels), "too long to be read as a whole"
    yield (
        "small frames.mp3",
        (b"\xff\xf3\x14\xc4" + bytes(20)) * 30_000,
        "too long to be read as a whole",
    )


def first():
    return {".mp4": coded("mp4", "aac"), ".ogg": coded("ogg", "libopus")}


def test_floods_are_refused_at_once_for_what_they_are_made_of(costs):
    files = list(floods(20_000))
    reasons = {name: reason for name, _, reason in files}
    for cost in costs("sound", files, first())[1::2]:
        assert re.match(f"'refused .*{reasons[cost.name]}", cost.outcome), cost
        assert cost.is_small(), cost


@pytest.mark.slow
def test_large_bombs_cost_little(costs):
    """Megabytes each. Seconds are those of a machine that runs the loop in a hundredth of one."""
    found = costs("sound", floods(400_000), first())
    assert len(found) > 2 * 60
    for cost in found:
        assert cost.is_small(busy=False), cost
    largest, longest = (max(cost[column] for cost in found) for column in (1, 2))
    print(f"{len(found)} readings, {largest:.0f} MiB and {longest:.2f} s at most")


def test_long_recordings_are_read_in_parts(tmp_path):
    """Of silence and of few bits, which are refused as a whole; WAV has two bytes a sample."""
    few = AUDIO_LIMITS._replace(free_values=1 << 18)
    path = tmp_path / "a.flac"
    path.write_bytes(silence(20))
    assert probe(path).frames == 20 * RATE
    with pytest.raises(ValueError, match="too long to be read as a whole"):
        read_wave(path, limits=few)
    assert sum(block.shape[1] for block in read_blocks(path, 3.0, limits=few)) == 20 * RATE
    assert read_wave(path, start=18 * RATE, frames=RATE, limits=few)[0].shape == (1, RATE)
    assert read_wave(path, limits=few._replace(max_per_byte=999))[0].shape == (1, 20 * RATE)
    path.write_bytes(encoded("WAV", seconds=20))
    assert read_wave(path, limits=few)[0].shape == (1, 20 * RATE)


def test_files_are_known_by_their_first_bytes_or_their_name(tmp_path):
    tag = id3(b"APIC" + (400_000).to_bytes(4, "big") + bytes(400_002))
    adts, m4a, mp2 = coded("adts", "aac"), coded("mp4", "aac"), coded("mp2", "mp2")
    for name, data in {
        "a.aac": adts,
        "tagged.aac": tag + adts,
        "cut.aac": adts[101:],
        "a.ac3": coded("ac3", "ac3", 48_000),
        "a.mp3": m4a,
        "a.bin": m4a,
        "b.mp3": mp2,
        "tagged.mp3": id3(b"APIC" + (3 << 20).to_bytes(4, "big") + bytes((3 << 20) + 2)) + mp2,
        "a.mkv": coded("matroska", "pcm_s16le"),
    }.items():
        (tmp_path / name).write_bytes(data)
        info, (wave, rate) = probe(tmp_path / name), read_wave(tmp_path / name)
        assert abs(wave.shape[1] - 3 * rate) < 0.2 * rate > abs(info.frames - 3 * rate), name
        assert 0.2 < wave.abs().max() < 0.4, name


def test_a_file_may_have_as_many_pieces_as_its_size_is_for(tmp_path):
    """As many boxes behind its sound as an MP4 file has of two hours in fragments of a second."""
    whole = coded("mp4", "aac")
    fragment = b"".join(box(name, bytes(8)) for name in (b"free", b"skip", b"wide") * 2)
    (tmp_path / "a.m4a").write_bytes(whole + (fragment + box(b"free", bytes(2_000))) * 7_200)
    assert abs(read_wave(tmp_path / "a.m4a")[0].shape[1] - 3 * RATE) < 0.2 * RATE


def test_a_recording_in_seconds_end_to_end_is_read(tmp_path):
    (tmp_path / "a.ogg").write_bytes(encoded("OGG") * 300)
    assert probe(tmp_path / "a.ogg").frames == 300 * RATE
    assert read_wave(tmp_path / "a.ogg", start=299 * RATE)[0].shape == (1, RATE)


def test_more_than_a_thousand_sounds_end_to_end_are_read(tmp_path):
    """Chunks of what follows are not those of the first sound."""
    (tmp_path / "a.wav").write_bytes(encoded("WAV", seconds=0.02) * 1_200)
    assert probe(tmp_path / "a.wav").frames == 1_200 * 320
    (tmp_path / "a.wav").write_bytes(encoded("WAV", seconds=0.001) * 20_000)
    with pytest.raises(ValueError, match="holds more than 6193 sounds end to end; split it"):
        probe(tmp_path / "a.wav")


@pytest.mark.parametrize(("mark", "samples"), [(b"#!AMR\n", 160), (b"#!AMR-WB\n", 320)])
def test_frames_of_amr_are_counted_as_ffmpeg_counts_them(tmp_path, mark, samples):
    draw = random.Random(0)
    narrow = (13, 14, 16, 18, 20, 21, 27, 32, 6)
    sizes = narrow if samples == 160 else (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)
    kinds = [draw.randrange(len(sizes)) for _ in range(3_000)]
    frames = b"".join(bytes([kind << 3 | 4]) + draw.randbytes(sizes[kind] - 1) for kind in kinds)
    (tmp_path / "a.amr").write_bytes(mark + frames)
    assert probe(tmp_path / "a.amr").frames == samples * len(kinds)
    with av.open(str(tmp_path / "a.amr")) as file:
        assert sum(packet.size > 0 for packet in file.demux(audio=0)) == len(kinds)


def test_slow_decoders_take_time_by_the_size(tmp_path):
    """Samples of 3 or 4 bits, and frames of 20 ms."""
    for name, data in {
        "a.wav": wav(1, 0x31, 0, 65, bytes(65 * 6_000), struct.pack("<HH", 2, 320)),
        "a.au": b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 23, 8_000, 1) + bytes(300_000),
        "a.amr": b"#!AMR\n" + (b"\x04" + bytes(12)) * 20_000,
    }.items():
        (tmp_path / name).write_bytes(data)
        begin = time.process_time()
        assert read_wave(tmp_path / name)[0].shape[1] > 500_000
        assert time.process_time() - begin < SLOWER * (3 * len(data) / 1e6 + 0.1), name
