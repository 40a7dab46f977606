"""Any file: what the commands do block by block is what the codec does with the whole signal."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.audio.encodec import encodec as published_encodec
from intaglio.codecs.audio.wavtokenizer import wavtokenizer as published_wavtokenizer
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.data.formats.loudness import LoudnessMeter
from intaglio.data.formats.resampling import resample
from intaglio.data.formats.tokens import read_tokens, write_tokens
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.tokenization import decode_audio, encode_audio
from intaglio.recipes.tokenization.audio_file import BLOCK_SECONDS
from intaglio.recipes.tokenization.decode_audio import AudioDecoding, decode_audio_file
from intaglio.recipes.tokenization.encode_audio import AudioEncoding, encode_audio_file

RATE = 1000
PLAIN = AudioEncoding()
STEP = 0.5 / 32768  # by which 16 bits round


def encodec() -> AudioCodec:
    return AudioCodec(
        SEANetEncoder(8, (2, 5), width=4, lstm_layers=1, causal=True),
        ResidualQuantizer([VectorQuantizer(8, 32, kmeans_iterations=0) for _ in range(4)]),
        SEANetDecoder(8, (2, 5), width=4, lstm_layers=1, causal=True),
        sample_rate=RATE,
        name="like EnCodec",
    )


def encodec_stereo() -> AudioCodec:
    return AudioCodec(
        SEANetEncoder(8, (2, 5), channels=2, width=4, norm="group"),
        ResidualQuantizer([VectorQuantizer(8, 32, kmeans_iterations=0) for _ in range(4)]),
        SEANetDecoder(8, (2, 5), channels=2, width=4, norm="group"),
        sample_rate=RATE,
        channels=2,
        name="like EnCodec of 48 kHz",
        normalise=True,
        segment=1000,
        overlap=10,
    )


def dac() -> AudioCodec:
    levels = [FactorizedVectorQuantizer(16, 32, codebook_dim=4) for _ in range(3)]
    return AudioCodec(
        DACEncoder(16, (2, 5), width=4),
        ResidualQuantizer(levels),
        DACDecoder(16, (2, 5), width=16),
        sample_rate=RATE,
        name="like DAC",
    )


def snac() -> AudioCodec:
    levels = [FactorizedVectorQuantizer(64, 32, codebook_dim=4, stride=s) for s in (4, 2, 1)]
    return AudioCodec(
        DACEncoder(64, (2, 5), width=16, multiple=4, depthwise=True, window=8),
        ResidualQuantizer(levels),
        DACDecoder(64, (2, 5), width=64, depthwise=True, window=8, noise=True),
        sample_rate=RATE,
        name="like SNAC",
    )


def wavtokenizer() -> AudioCodec:
    return AudioCodec(
        SEANetEncoder(8, (2, 5), width=4, lstm_layers=1),
        VectorQuantizer(8, 64, kmeans_iterations=0),
        VocosDecoder(8, 64, intermediate=48, num_layers=2, hop_length=10, n_fft=40, conditions=2),
        sample_rate=RATE,
        name="like WavTokenizer",
    )


KINDS = (encodec, encodec_stereo, dac, snac, wavtokenizer)


@pytest.fixture(scope="module")
def codecs() -> dict[str, AudioCodec]:
    """A tiny codec of every kind, 1 kHz, 10 samples a latent, whose codes fit noise."""
    return {kind.__name__: fitted(kind) for kind in KINDS}


def fitted(kind) -> AudioCodec:
    torch.manual_seed(3)
    codec = kind().eval()
    with torch.no_grad():
        rest = codec.encoder(noise(codec.channels, 4000).unsqueeze(0))
        for level in getattr(codec.quantizer, "levels", [codec.quantizer]):
            if isinstance(level, VectorQuantizer):
                level.codebook.copy_(rest[0, torch.randperm(400)[: level.vocab[0]]])
            else:
                level.project_in.bias -= level.project_in(rest[0]).mean(0)
            rest = rest - level.decode_ids(level.encode_ids(rest))
        if isinstance(codec.decoder, DACDecoder):  # fresh weights are nearly silent
            for name, weight in codec.decoder.named_parameters():
                weight *= 3 if name.endswith("original0") else 1
    return codec


def noise(channels: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Noise that swells and fades, [channels, samples]."""
    generator = torch.Generator().manual_seed(seed)
    swell = 0.15 * (1.1 + torch.sin(torch.arange(samples) / 700))
    return (swell * torch.randn(channels, samples, generator=generator)).clamp(-0.9, 0.9)


def coded(codec: AudioCodec, source: Path, options: AudioEncoding = PLAIN) -> Path:
    """Token file of a recording, in the same folder."""
    job = FileJob(source, source.with_suffix(".intaglio"))
    encode_audio_file(codec, job, options)
    return job.target


def decoded(codec: AudioCodec, source: Path) -> Path:
    """Audio file of a token file, in the same folder."""
    job = FileJob(source, source.with_suffix(".decoded.wav"))
    decode_audio_file(codec, job, AudioDecoding())
    return job.target


def content(path: Path):
    with path.open("rb") as file:
        return read_tokens(file)


def samples_of(path: Path) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T)


@pytest.mark.parametrize("rate", [RATE, 4410], ids=["same rate", "resampled"])
@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_blocks_give_what_the_whole_gives(codecs, tmp_path, kind, rate):
    codec = codecs[kind]
    source = tmp_path / "a.wav"
    write_wave(source, noise(codec.channels, 21 * rate + 77), rate)
    header, ids = content(coded(codec, source))
    wave = resample(read_wave(source, channels=None)[0], rate, RATE)
    tokens = codec.encode(wave.unsqueeze(0))
    assert ids.shape == tokens.ids.shape[1:] and header.length == wave.shape[1]
    assert (ids == tokens.ids[0]).float().mean() >= 0.999
    assert all(group.unique().numel() > 5 for group in ids.T)
    if codec.normalise:
        torch.testing.assert_close(torch.tensor(header.scale), tokens.scale[0])
    same = Tokens(ids[None], tokens.mask, tokens.vocab, tokens.lengths, tokens.scale)
    expected = resample(codec.decode(same)[0], RATE, rate)[:, : 21 * rate + 77]
    got = samples_of(decoded(codec, source.with_suffix(".intaglio")))
    assert got.shape == expected.shape and got.std() > 100 * STEP
    assert (got - expected.clamp(-1, 32767 / 32768)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
@settings(deadline=None, derandomize=True, max_examples=12)
@given(
    samples=st.one_of(st.integers(1, 40), st.integers(1, 100_000)),
    seconds=st.floats(0.003, 40.0),
    rate=st.sampled_from([RATE, 1600, 8000]),
)
def test_any_length_in_any_blocks(codecs, kind, samples, seconds, rate):
    """The length comes back, and blocks of any size give the same tokens.

    Sums are rounded in another order, which may turn a code that is nearly as far as another: one
    in a thousand is let through, and one in any case.
    """
    codec, channels = codecs[kind], codecs[kind].channels
    samples = max(1, samples // 4)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "a.wav"
        write_wave(source, noise(channels, samples, samples), rate)
        seconds = max(seconds, samples / rate / 200)
        with (
            mock.patch.object(encode_audio, "BLOCK_SECONDS", seconds),
            mock.patch.object(decode_audio, "BLOCK_SECONDS", seconds),
        ):
            header, ids = content(coded(codec, source))
            info = soundfile.info(decoded(codec, source.with_suffix(".intaglio")))
        assert (info.frames, info.samplerate, info.channels) == (samples, rate, channels)
        wave = resample(read_wave(source, channels=None)[0], rate, RATE)
        expected = codec.encode(wave.unsqueeze(0)).ids[0]
        assert header.length == wave.shape[1] and ids.shape == expected.shape
        assert (ids != expected).sum() <= max(1, ids.numel() // 1000)


def test_two_channels_in_a_codec_of_one(codecs, tmp_path):
    codec = codecs["encodec"]
    source = tmp_path / "a.wav"
    write_wave(source, noise(2, 5000), RATE)
    left, right = wave = read_wave(source, channels=None)[0]
    batches = {
        "mix": wave.mean(0).view(1, 1, -1),
        "folded": wave.unsqueeze(1),
        "mid-side": torch.stack([(left + right) / 2, (left - right) / 2]).unsqueeze(1),
    }
    for stereo, batch in batches.items():
        header, ids = content(coded(codec, source, AudioEncoding(stereo=stereo)))
        assert header.vocab == codec.vocab * len(batch) and header.channels == 1
        tokens = codec.encode(batch)
        assert (ids == torch.cat(list(tokens.ids), dim=1)).float().mean() > 0.999
        streams = codec.decode(tokens._replace(ids=torch.stack(ids.split(4, dim=1))))[:, 0]
        if stereo == "mix":
            expected = streams.expand(2, -1)
        elif stereo == "folded":
            expected = streams
        else:
            expected = torch.stack([streams[0] + streams[1], streams[0] - streams[1]])
        got = samples_of(decoded(codec, source.with_suffix(".intaglio")))
        assert (got - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_one_channel_in_a_codec_of_two(codecs, tmp_path):
    codec = codecs["encodec_stereo"]
    source = tmp_path / "a.wav"
    write_wave(source, noise(1, 5000), RATE)
    _, ids = content(coded(codec, source))
    wave = read_wave(source)[0].expand(2, -1).unsqueeze(0)
    tokens = codec.encode(wave)
    assert torch.equal(ids, tokens.ids[0])
    got = samples_of(decoded(codec, source.with_suffix(".intaglio")))
    expected = codec.decode(tokens)[0].mean(0, keepdim=True).clamp(-1, 1)
    assert got.shape == (1, 5000) and (got - expected).abs().max() < 1e-4


def test_one_channel_is_one_stream_whatever_is_wished(codecs, tmp_path):
    source = tmp_path / "a.wav"
    write_wave(source, noise(1, 500), RATE)
    _, plain = content(coded(codecs["encodec"], source))
    header, ids = content(coded(codecs["encodec"], source, AudioEncoding(stereo="folded")))
    assert torch.equal(ids, plain) and header.extras == {
        "source": {"sample_rate": RATE, "length": 500}
    }


@pytest.mark.parametrize(
    ("kind", "channels", "stereo", "reason"),
    [
        ("encodec", 3, "folded", "has 3 channels; --stereo folded is for two"),
        ("encodec_stereo", 2, "mid-side", "for codecs of one channel, this one has 2"),
        ("encodec_stereo", 3, "mix", "has 3 channels, the codec takes 1 or 2"),
    ],
)
def test_channels_that_do_not_fit_are_refused(codecs, tmp_path, kind, channels, stereo, reason):
    source = tmp_path / "a.wav"
    write_wave(source, noise(channels, 500), RATE)
    with pytest.raises(ValueError, match=reason):
        coded(codecs[kind], source, AudioEncoding(stereo=stereo))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_mix_of_many_channels_comes_back_in_as_many(codecs, tmp_path):
    source = tmp_path / "a.wav"
    write_wave(source, noise(6, 500), RATE)
    coded(codecs["dac"], source)
    got = samples_of(decoded(codecs["dac"], source.with_suffix(".intaglio")))
    assert got.shape == (6, 500) and torch.equal(got, got[:1].expand(6, -1))


def loudness(wave: torch.Tensor, rate: int) -> float:
    meter = LoudnessMeter(rate, len(wave))
    meter.push(wave)
    return meter.loudness()


@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_set_before_encoding_and_undone(codecs, tmp_path, channels):
    codec, rate = codecs["encodec"], 8000
    source = tmp_path / "a.wav"
    write_wave(source, 0.05 * noise(channels, 9 * rate), rate)
    mono = read_wave(source)[0]
    header, ids = content(coded(codec, source, AudioEncoding(loudness=-30)))
    gain = header.extras["source"]["gain"]
    assert abs(loudness(gain * mono, rate) - -30) < 0.01 and gain > 2
    wave = gain * resample(mono, rate, RATE)
    tokens = codec.encode(wave.unsqueeze(0))
    assert (ids == tokens.ids[0]).float().mean() > 0.999
    expected = resample(codec.decode(tokens._replace(ids=ids[None]))[0] / gain, RATE, rate)
    got = samples_of(decoded(codec, source.with_suffix(".intaglio")))
    assert (got - expected.expand(channels, -1).clamp(-1, 1)).abs().max() < 1e-4


def test_loudness_keeps_the_peak_and_leaves_silence_alone(codecs, tmp_path):
    codec, source = codecs["encodec"], tmp_path / "a.wav"
    wave = 0.001 * torch.randn(1, 8000)
    wave[0, 4000] = 0.5
    write_wave(source, wave, 8000)
    header, _ = content(coded(codec, source, AudioEncoding(loudness=0.0)))
    assert header.extras["source"]["gain"] == pytest.approx(2.0, rel=1e-3)
    write_wave(source, torch.zeros(1, 8000), 8000)
    header, _ = content(coded(codec, source, AudioEncoding(loudness=-16.0)))
    assert "gain" not in header.extras["source"]


def test_levels_and_bitrate(codecs, tmp_path):
    codec = codecs["encodec"]  # 100 positions a second, 5 bits a level
    source = tmp_path / "a.wav"
    write_wave(source, noise(2, 500), RATE)
    _, full = content(coded(codec, source))
    for options, levels in (
        (AudioEncoding(levels=3), 3),
        (AudioEncoding(bitrate=1500.0), 3),
        (AudioEncoding(bitrate=1999.9), 3),
        (AudioEncoding(bitrate=9999.0), 4),
    ):
        header, ids = content(coded(codec, source, options))
        assert torch.equal(ids, full[:, :levels]) and header.vocab == codec.vocab[:levels]
        tokens = codec.tokens(ids[None])._replace(lengths=torch.tensor([500]))
        got = samples_of(decoded(codec, source.with_suffix(".intaglio")))
        assert (got[:1] - codec.decode(tokens)[0].clamp(-1, 1)).abs().max() < 1e-4
    header, _ = content(coded(codec, source, AudioEncoding(bitrate=2100.0, stereo="folded")))
    assert header.vocab == codec.vocab[:2] * 2  # both streams share the bits
    with pytest.raises(ValueError, match="takes 1000 bits a second at least for 2 streams"):
        coded(codec, source, AudioEncoding(bitrate=999.0, stereo="folded"))
    for levels in (0, 5):
        with pytest.raises(ValueError, match=f"has 4 levels, cannot use {levels}"):
            coded(codec, source, AudioEncoding(levels=levels))


def test_entropy_coding_changes_the_bytes_and_nothing_else(codecs, tmp_path):
    codec, source = codecs["wavtokenizer"], tmp_path / "a.wav"
    write_wave(source, torch.cat([torch.zeros(1, 60_000), noise(1, 5000)], dim=1), RATE)
    _, plain = content(coded(codec, source))
    size = source.with_suffix(".intaglio").stat().st_size
    header, ids = content(coded(codec, source, AudioEncoding(entropy=True)))
    assert header.coding == "range" and torch.equal(ids, plain)
    assert source.with_suffix(".intaglio").stat().st_size < 0.8 * size
    assert samples_of(decoded(codec, source.with_suffix(".intaglio"))).shape == (1, 65_000)


def test_a_missing_extra_is_reported_before_anything_is_done(
    refusal, record, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "constriction", None)
    words = ["encode", record(tmp_path / "a.wav"), "-o", tmp_path / "t", "--entropy"]
    assert "intaglio[entropy]" in refusal(*words, "--codec", tmp_path / "never looked at")


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["--loudness", "3"], 1, "lies in [-70, 0] LUFS"),
        (["--loudness", "nan"], 2, "it is a number, not 'nan'"),
        (["--bitrate", "nan"], 2, "a number above 0, not 'nan'"),
        (["--levels", "2"], 1, "has 1 levels"),
        (["--levels", "2", "--bitrate", "9"], 2, "not allowed with"),
        (["--stereo", "wide"], 2, "invalid choice"),
    ],
)
def test_wrong_options(intaglio, record, bundle, tmp_path, words, status, reason):
    source = record(tmp_path / "a.wav")
    out = intaglio("encode", source, "-o", tmp_path / "new" / "t", "--codec", bundle, *words)
    assert out.status == status and reason in out.err
    assert not (tmp_path / "new").exists()


class Output(io.TextIOWrapper):
    """A standard output that may pretend to be a terminal."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class TestPipes:
    """Standard input and standard output."""

    @pytest.fixture
    def piped(self, intaglio, monkeypatch):
        """Call the command line with bytes as standard input; gives status, bytes and stderr."""

        def call(data: bytes, *words: object) -> tuple[int, bytes, str]:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            out = Output(io.BytesIO(), write_through=True)
            monkeypatch.setattr(sys, "stdout", out)
            status, _, err = intaglio(*words)
            return status, out.buffer.getvalue(), err

        return call

    def test_tokens_and_audio_flow_through(self, piped, record, bundle, tmp_path):
        source = record(tmp_path / "a.flac", 4411, rate=11025, channels=2)
        words = ["-o", "-", "--codec", bundle]
        status, tokens, err = piped(source.read_bytes(), "encode", "-", *words)
        assert (status, err) == (0, "")
        assert content(coded_by(tokens, tmp_path))[0].length == 3201
        status, audio, err = piped(tokens, "decode", "-", *words)
        assert (status, err) == (0, "")
        wave, rate = soundfile.read(io.BytesIO(audio), dtype="int16")
        assert (wave.shape, rate) == ((4411, 2), 11025)
        piped(b"", "encode", source, "-o", tmp_path / "t", "--codec", bundle)
        assert (tmp_path / "t").read_bytes() == tokens
        piped(b"", "decode", tmp_path / "t", "-o", tmp_path / "b.wav", "--codec", bundle)
        assert (tmp_path / "b.wav").read_bytes() == audio

    @pytest.mark.parametrize(
        ("command", "data", "reason"),
        [
            ("encode", b"", "standard input is an empty file"),
            ("encode", b"hello world " * 99, "standard input is not audio"),
            ("decode", b"", "standard input: truncated"),
            ("decode", b"RIFFWAVE" * 9, "standard input: not a token file"),
        ],
    )
    def test_bad_input_gives_no_output(self, piped, bundle, command, data, reason):
        status, out, err = piped(data, command, "-", "-o", "-", "--codec", bundle)
        assert (status, out) == (1, b"")
        assert reason in err and err.count("\n") == 1

    def test_several_files_do_not_fit_into_one_pipe(self, refusal, record, bundle, tmp_path):
        folder = record(tmp_path / "in" / "a.wav").parent
        for words in (
            ["encode", folder, "-o", "-"],
            ["encode", "-", folder / "a.wav", "-o", tmp_path / "out"],
            ["encode", "-", "-o", folder],
        ):
            assert "- is one file" in refusal(*words, "--codec", bundle)

    def test_a_terminal_is_spared(self, piped, record, bundle, tmp_path, monkeypatch):
        monkeypatch.setattr(Output, "terminal", True)
        source = record(tmp_path / "a.wav")
        status, out, err = piped(b"", "encode", source, "-o", "-", "--codec", bundle)
        assert (status, out) == (1, b"") and "refused to write to a terminal" in err


def coded_by(tokens: bytes, folder: Path) -> Path:
    path = folder / "piped.intaglio"
    path.write_bytes(tokens)
    return path


@pytest.mark.parametrize("place", [0.3, 0.95])
def test_damage_far_in_is_found_before_anything_is_written(codecs, tmp_path, place, monkeypatch):
    codec, source = codecs["encodec"], tmp_path / "a.flac"
    write_wave(source, noise(1, 60_000), RATE)
    monkeypatch.setattr(encode_audio, "BLOCK_SECONDS", 0.5)
    tokens = coded(codec, source)
    for path, use in ((source, coded), (tokens, decoded)):
        data = bytearray(path.read_bytes())
        start = round(len(data) * place)
        data[start : start + 40] = bytes(40)
        path.write_bytes(data)
        kept = tokens.read_bytes()
        with pytest.raises(ValueError, match=f"{path.name}.*(truncated|damaged)"):
            use(codec, path)
        assert tokens.read_bytes() == kept
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.flac", "a.intaglio"]


def test_new_folders_go_when_encoding_fails(codecs, tmp_path):
    source = tmp_path / "a.wav"
    soundfile.write(source, np.append(np.zeros(60_000, np.float32), np.nan), RATE, subtype="FLOAT")
    job = FileJob(source, tmp_path / "new" / "deep" / "t")
    with pytest.raises(ValueError, match="NaN"):
        encode_audio_file(codecs["encodec"], job, AudioEncoding())
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_files_of_the_first_version_decode(codecs, tmp_path):
    """Its headers held rate and length only, or nothing, and its lengths could be rounded."""
    codec, source = codecs["encodec"], tmp_path / "a.wav"
    write_wave(source, noise(2, 4800), 1600)
    tokens = coded(codec, source)
    header, ids = content(tokens)
    for extras, shape in (
        ({"source": {"sample_rate": 1600, "length": 4800}}, (1, 4800)),
        ({"source": {"sample_rate": 1600, "length": 4803}}, (1, 4803)),
        ({}, (1, 3000)),
    ):
        with tokens.open("wb") as file:
            write_tokens(file, header._replace(extras=extras), ids)
        assert tokens.read_bytes()[8] == 1
        assert samples_of(decoded(codec, tokens)).shape == shape


# not getrusage, whose peak is never below that of the process that started this one
MEASURE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from intaglio.codecs import load
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.tokenization import decode_audio, encode_audio
from intaglio.recipes.tokenization.decode_audio import AudioDecoding, decode_audio_file
from intaglio.recipes.tokenization.encode_audio import AudioEncoding, encode_audio_file
codec = load(sys.argv[1])
encode_audio.BLOCK_SECONDS = decode_audio.BLOCK_SECONDS = float(sys.argv[2])
for name in sys.argv[3:]:
    source = Path(name)
    tokens = source.with_suffix(".intaglio")
    encode_audio_file(codec, FileJob(source, tokens), AudioEncoding())
    back = FileJob(tokens, source.with_suffix(".out.wav"))
    decode_audio_file(codec, back, AudioDecoding())
    [line] = [line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")]
    print(line.split()[1])
"""


def peaks(codec: AudioCodec, folder: Path, minutes: list[int], seconds: float) -> list[int]:
    """Peak memory, in KiB, of a process after each of some recordings, in blocks of seconds."""
    save(codec, folder / "codec")
    names = [folder / f"{number}.wav" for number in minutes]
    minute = noise(codec.channels, 60 * codec.sample_rate).T.numpy()
    for name, number in zip(names, minutes, strict=True):
        with soundfile.SoundFile(name, "w", codec.sample_rate, codec.channels, "PCM_16") as file:
            for _ in range(number):
                file.write(minute)
    words = [sys.executable, "-c", MEASURE, folder / "codec", str(seconds), *names]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        assert soundfile.info(name.with_suffix(".out.wav")).frames == soundfile.info(name).frames
    return [int(number) for number in found]


def test_twenty_minutes_take_the_memory_of_one(tmp_path):
    codec = AudioCodec(
        SEANetEncoder(8, (8, 10), width=2, lstm_layers=0, causal=True, norm="none"),
        ResidualQuantizer([VectorQuantizer(8, 32, kmeans_iterations=0)]),
        SEANetDecoder(8, (8, 10), width=2, lstm_layers=0, causal=True, norm="none"),
        sample_rate=8000,
    )
    short, long = peaks(codec, tmp_path, [1, 20], 10.0)
    assert long <= 1.2 * short


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encodec", "dac", "wavtokenizer"])
def test_a_published_codec_takes_no_more_memory_for_a_longer_file(tmp_path, kind):
    codec = {
        "encodec": published_encodec,
        "dac": narrow_dac,
        "wavtokenizer": published_wavtokenizer,
    }[kind]()
    short, long = peaks(codec, tmp_path, [1, 10], BLOCK_SECONDS)
    assert long <= 1.2 * short


def narrow_dac() -> AudioCodec:
    """DAC of 16 kHz with an eighth of the channels: 64 times as fast."""
    levels = [FactorizedVectorQuantizer(128) for _ in range(12)]
    return AudioCodec(
        DACEncoder(128, (2, 4, 5, 8), width=8),
        ResidualQuantizer(levels),
        DACDecoder(128, (2, 4, 5, 8), width=192),
        sample_rate=16_000,
    )
