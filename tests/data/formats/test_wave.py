"""Guarded audio reading: what is read is right, what cannot be trusted is refused in one line."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from intaglio.data.formats.open_audio import AudioLimits, WaveInfo
from intaglio.data.formats.wave import (
    probe,
    read_blocks,
    read_wave,
    write_blocks,
    write_wave,
)
from intaglio.data.synthetic.audio import speechlike

RATE = 16_000


@pytest.fixture(scope="module")
def wave() -> torch.Tensor:
    return speechlike(RATE * 2, RATE, torch.Generator().manual_seed(0))[None]


def tone(frequency: float, rate: int, seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(int(rate * seconds), dtype=torch.float64) / rate
    return (0.5 * torch.sin(2 * torch.pi * frequency * time)).float()[None]


def encode(path: Path, wave: torch.Tensor, codec: str, container: str) -> None:
    import av

    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (wave.numpy() * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        resampler = av.AudioResampler(
            format=stream.format.name, frame_size=stream.codec_context.frame_size or 320
        )
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_written_audio_is_read_back_to_half_a_step(tmp_path, wave, suffix):
    path = tmp_path / f"a{suffix}"
    write_wave(path, wave, RATE)
    assert probe(path) == WaveInfo(RATE, 1, wave.shape[1])
    back, rate = read_wave(path)
    assert rate == RATE and back.dtype == torch.float32
    assert (back - wave).abs().max() <= 0.5 / 32768
    write_wave(tmp_path / f"b{suffix}", back, RATE)
    assert torch.equal(read_wave(tmp_path / f"b{suffix}")[0], back)


def test_write_clips_and_leaves_no_other_file(tmp_path):
    write_wave(tmp_path / "a.wav", torch.tensor([-3.0, 0.0, 3.0]), RATE)
    expected = torch.tensor([[-1.0, 0.0, 32767 / 32768]])
    assert torch.equal(read_wave(tmp_path / "a.wav")[0], expected)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "samples", "rate", "message"),
    [
        ("a.mp3", torch.zeros(1, 8), RATE, "not .mp3"),
        ("a.wav", torch.zeros(1, 0), RATE, r"\[1, 0\]"),
        ("a.wav", torch.zeros(1, 1, 8), RATE, r"\[1, 1, 8\]"),
        ("a.wav", torch.full((1, 8), torch.nan), RATE, "NaN"),
        ("a.flac", torch.zeros(9, 8), RATE, "9 channels"),
    ],
)
def test_write_refuses_and_keeps_the_old_file(tmp_path, name, samples, rate, message):
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        write_wave(tmp_path / name, samples, rate)
    assert (tmp_path / name).read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_write_into_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_wave(tmp_path / "no" / "a.wav", torch.zeros(1, 8), RATE)


def test_downmix_is_the_mean_and_channels_are_kept_on_request(tmp_path):
    stereo = torch.stack([tone(200, RATE)[0], -0.5 * tone(300, RATE)[0]])
    path = tmp_path / "a.wav"
    write_wave(path, stereo, RATE)
    kept, _ = read_wave(path, channels=None)
    assert kept.shape == stereo.shape
    assert torch.equal(read_wave(path)[0], kept.mean(0, keepdim=True))
    assert torch.equal(read_wave(path, channels=2)[0], kept)
    with pytest.raises(ValueError, match="2 channels, not 3"):
        read_wave(path, channels=3)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3"])
def test_a_segment_is_part_of_the_whole(tmp_path, wave, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, wave[0].numpy(), RATE)
    whole, _ = read_wave(path)
    part, _ = read_wave(path, start=9_000, frames=5_000)
    torch.testing.assert_close(part, whole[:, 9_000:14_000], atol=1e-4, rtol=0)
    end, _ = read_wave(path, start=whole.shape[1] - 7, frames=100)
    assert end.shape == (1, 7)
    with pytest.raises(ValueError, match="cannot start"):
        read_wave(path, start=whole.shape[1])
    with pytest.raises(ValueError, match="cannot read"):
        read_wave(path, start=-1)


def test_g722_and_aac_are_read_through_pyav(tmp_path, wave):
    encode(tmp_path / "a.g722", wave, "g722", "g722")
    back, rate = read_wave(tmp_path / "a.g722")
    assert rate == RATE and probe(tmp_path / "a.g722").frames == back.shape[1]
    # G.722 delays by 22 samples
    error = back[:, 22 : wave.shape[1]] - wave[:, : wave.shape[1] - 22]
    assert error.square().mean() < 0.03 * wave.square().mean()
    part, _ = read_wave(tmp_path / "a.g722", start=1_000, frames=500)
    assert torch.equal(part, back[:, 1_000:1_500])

    encode(tmp_path / "a.m4a", wave, "aac", "ipod")
    back, rate = read_wave(tmp_path / "a.m4a")
    assert rate == RATE and abs(back.shape[1] - wave.shape[1]) < 2_048


def test_a_playlist_does_not_open_what_it_names(tmp_path, wave):
    encode(tmp_path / "a.aac", wave, "aac", "adts")
    assert read_wave(tmp_path / "a.aac")[0].shape[1] >= wave.shape[1]
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.aac\n")
    with pytest.raises(ValueError, match="a.m3u8 is not audio"):
        read_wave(tmp_path / "a.m3u8")


def test_g722_without_pyav_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.g722").write_bytes(bytes(100))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'intaglio\[media\]'"):
        read_wave(tmp_path / "a.g722")


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_that_does_not_store_its_length_is_read_to_its_end(tmp_path, mode):
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(RATE * 3, generator=generator)
    noise[: RATE * 2] *= 0.01  # a quiet beginning makes a guess from the first frame fail
    path = tmp_path / "a.mp3"
    soundfile.write(
        *(path, noise.numpy(), RATE),
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode=mode,
        compression_level=0.5,
    )
    content = path.read_bytes()
    assert probe(path).frames == len(noise)
    second = content.index(content[:2], 4)  # the first frame holds nothing but the length
    path.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + content[second:] + b"TAG" + bytes(125))
    back, _ = read_wave(path)
    assert probe(path).frames == back.shape[1] and back.shape[1] % 576 == 0
    assert len(noise) <= back.shape[1] < len(noise) + 3 * 576


class TestRefused:
    """Each kind of bad file, by `probe` where the header shows it, by `read_wave` always."""

    def refuse(self, path: Path, message: str, by_probe: bool = True, **options) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            read_wave(path, **options)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)
        if by_probe:
            with pytest.raises(ValueError, match=message):
                probe(path, *options.values())

    def test_missing(self, tmp_path):
        for call in (probe, read_wave):
            with pytest.raises(FileNotFoundError, match="no.wav does not exist"):
                call(tmp_path / "no.wav")

    def test_folder(self, tmp_path):
        (tmp_path / "a.wav").mkdir()
        self.refuse(tmp_path / "a.wav", "is a folder")

    def test_empty(self, tmp_path):
        (tmp_path / "a.wav").touch()
        self.refuse(tmp_path / "a.wav", "empty file")

    def test_no_samples(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
        self.refuse(tmp_path / "a.wav", "no samples")

    @pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
    def test_truncated(self, tmp_path, wave, suffix, kept):
        path = tmp_path / f"a{suffix}"
        soundfile.write(path, wave[0].numpy(), RATE)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        self.refuse(path, "truncated|damaged", by_probe=suffix == ".wav")

    def test_wav_whose_data_chunk_promises_more(self, tmp_path, wave):
        path = tmp_path / "a.wav"
        write_wave(path, wave, RATE)
        content = bytearray(path.read_bytes())
        at = content.index(b"data") + 4
        length = int.from_bytes(content[at : at + 4], "little")
        content[at : at + 4] = (length + 2).to_bytes(4, "little")
        path.write_bytes(content)
        self.refuse(path, f"truncated: {len(content)} bytes of {len(content) + 2}")
        content[at : at + 4] = b"\xff\xff\xff\xff"  # a program that wrote into a pipe
        path.write_bytes(content)
        assert read_wave(path)[0].shape == wave.shape

    @pytest.mark.parametrize("name", ["a.wav", "a.txt", "a.mp3", "a.m4a", "a.raw", "a.m3u8"])
    def test_not_audio(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"#EXTM3U\n#EXTINF:1,\nother.wav\n" * 40)
        self.refuse(tmp_path / name, "not audio|no audio")

    def test_damaged_in_the_middle(self, tmp_path, wave):
        path = tmp_path / "a.flac"
        write_wave(path, wave, RATE)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 2_000] = bytes(2_000)
        path.write_bytes(content)
        self.refuse(path, "truncated|damaged", by_probe=False)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, tmp_path, value):
        samples = np.zeros(100, np.float32)
        samples[50] = value
        soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
        self.refuse(tmp_path / "a.wav", "NaN", by_probe=False)

    def test_1024_channels(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.zeros((4, 1024), np.float32), RATE)
        self.refuse(tmp_path / "a.wav", "1024 channels; the limit is 8")

    @pytest.mark.parametrize("rate", [999, 384_001, 2**31 - 1])
    def test_absurd_rate(self, tmp_path, rate):
        soundfile.write(tmp_path / "a.wav", np.zeros(10), rate)
        self.refuse(tmp_path / "a.wav", f"{rate} samples a second")

    def test_too_long_and_the_limit_can_be_moved(self, tmp_path, wave):
        path = tmp_path / "a.flac"
        soundfile.write(path, np.zeros(1_000 * 14_401, np.int16), 1_000)  # a bomb: 14 MB of silence
        self.refuse(path, "14401 s; the limit is 14400 s")
        assert probe(path, AudioLimits(max_seconds=14_401)).frames == 14_401_000
        write_wave(path, wave, RATE)
        self.refuse(path, "lasts 2 s", limits=AudioLimits(max_seconds=1.5))


class TestBlocks:
    """What is read and written block by block."""

    @pytest.mark.parametrize("seconds", [0.013, 0.4, 9.0])
    @pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".g722"])
    def test_blocks_are_the_whole(self, tmp_path, wave, suffix, seconds):
        path = tmp_path / f"a{suffix}"
        if suffix in (".m4a", ".g722"):
            encode(path, wave, *{".m4a": ("aac", "ipod"), ".g722": ("g722", "g722")}[suffix])
        else:
            kind = {".opus": {"format": "OGG", "subtype": "OPUS"}}.get(suffix, {})
            soundfile.write(path, torch.cat([wave, -0.5 * wave]).T.numpy(), RATE, **kind)
        whole, _ = read_wave(path, channels=None)
        blocks = list(read_blocks(path, seconds))
        size = round(seconds * RATE)
        assert all(block.shape == (len(whole), size) for block in blocks[:-1])
        assert len(blocks) == -(-whole.shape[1] // size)
        torch.testing.assert_close(torch.cat(blocks, dim=1), whole, atol=2e-7, rtol=0)

    @pytest.mark.parametrize(
        ("suffix", "spoil"), [(".flac", "cut"), (".flac", "zeros"), (".mp3", "cut")]
    )
    def test_damage_is_refused_after_what_was_good(self, tmp_path, wave, suffix, spoil):
        path = tmp_path / f"a{suffix}"
        soundfile.write(path, wave[0].numpy(), RATE)
        content = path.read_bytes()
        middle = len(content) // 2
        hole = b"" if spoil == "cut" else bytes(2_000) + content[middle + 2_000 :]
        path.write_bytes(content[:middle] + hole)
        taken = []
        with pytest.raises(ValueError, match="a.*(truncated|damaged)"):
            taken.extend(read_blocks(path, 0.1))
        assert sum(block.shape[1] for block in taken) < wave.shape[1]

    def test_what_is_not_finite_or_too_long_is_refused(self, tmp_path):
        samples = np.zeros(2 * RATE, np.float32)
        samples[-1] = np.nan
        soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
        with pytest.raises(ValueError, match="NaN"):
            list(read_blocks(tmp_path / "a.wav", 0.5))
        with pytest.raises(ValueError, match="lasts 2 s"):
            next(read_blocks(tmp_path / "a.wav", 0.5, limits=AudioLimits(max_seconds=1.5)))

    @pytest.mark.parametrize("suffix", [".wav", ".flac"])
    def test_written_blocks_are_the_whole(self, tmp_path, wave, suffix):
        stereo = torch.cat([wave, 0.3 * wave])
        write_wave(tmp_path / f"a{suffix}", stereo, RATE)
        blocks = [*stereo.split(7_000, dim=1), torch.zeros(2, 0)]
        write_blocks(tmp_path / f"b{suffix}", blocks, RATE, channels=2, samples=stereo.shape[1])
        first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()

    def test_a_fault_on_the_way_keeps_the_old_file(self, tmp_path, wave):
        (tmp_path / "a.wav").write_bytes(b"old")
        blocks = [wave, torch.full((1, 8), torch.nan)]
        with pytest.raises(ValueError, match="NaN"):
            write_blocks(tmp_path / "a.wav", blocks, RATE, channels=1, samples=wave.shape[1] + 8)
        assert (tmp_path / "a.wav").read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]

    def test_a_long_wav_has_sizes_of_64_bits(self, tmp_path, wave, monkeypatch):
        monkeypatch.setattr("intaglio.data.formats.wave.LONG_WAV", 2 * wave.shape[1] - 1)
        write_wave(tmp_path / "a.wav", wave, RATE)
        assert (tmp_path / "a.wav").read_bytes()[:4] == b"RF64"
        assert (read_wave(tmp_path / "a.wav")[0] - wave).abs().max() <= 0.5 / 32768
        write_wave(tmp_path / "b.wav", wave[:, :-1], RATE)
        assert (tmp_path / "b.wav").read_bytes()[:4] == b"RIFF"


def test_the_reason_why_a_file_cannot_be_written_is_that_of_the_system(tmp_path):
    """libsndfile has none: a full disk ends a job, and is recognised by its number."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as error:
            write_wave(tmp_path / "a.wav", torch.zeros(1, RATE * 10), RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG and error.value.filename == str(tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []
