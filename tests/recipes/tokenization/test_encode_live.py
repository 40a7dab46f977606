"""Sound from a pipe: WAV of all kinds and bare samples, in pieces of any size; what is refused."""

import io
import struct

import numpy as np
import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.data.formats.tokens import read_tokens
from intaglio.recipes.tokenization.encode_live import encode_live

RATE = 1000


@pytest.fixture
def codec():
    options = {"width": 4, "lstm_layers": 0, "causal": True, "pad_mode": "constant"}
    return AudioCodec(
        SEANetEncoder(8, (4, 5), **options),
        FSQ(8, (5, 5)),
        SEANetDecoder(8, (4, 5), **options),
        sample_rate=RATE,
        name="causal",
    ).eval()


class Pipe(io.BytesIO):
    """Bytes that come in pieces of 7."""

    def read1(self, size: int = -1) -> bytes:
        return super().read1(min(7, size) if size > 0 else 7)


def wav(samples, *, tag=1, size=None, before=b"", after=b"") -> bytes:
    """A WAV file of [samples, channels]."""
    bits = 8 * samples.dtype.itemsize
    channels = samples.shape[1]
    step = samples.dtype.itemsize * channels
    form = struct.pack("<HHIIHH", tag, channels, RATE, RATE * step, step, bits)
    data = samples.tobytes()
    stated = len(data) if size is None else size
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"data" + struct.pack("<I", stated) + data + after
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + chunks


def ids_of(codec, content: bytes, **options):
    found = []
    source = encode_live(codec, Pipe(content), found.append, **options)
    return torch.cat(found), source


@pytest.mark.parametrize(
    ("kind", "tag", "scale"), [("<i2", 1, 2**15), ("<i4", 1, 2**31), ("<f4", 3, 1)]
)
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_a_wav_stream(codec, kind, tag, scale, size):
    wave = 0.5 * np.random.default_rng(0).standard_normal((333, 1)).clip(-1, 1)
    samples = (wave * scale).astype(kind)
    after = b"" if size is not None else b"LIST\x04\0\0\0abcd"
    content = wav(samples, tag=tag, size=size, before=b"JUNK\x03\0\0\0xyz\0", after=after)
    ids, source = ids_of(codec, content)
    expected = torch.from_numpy((samples / scale).astype(np.float32).T.copy()).unsqueeze(0)
    assert torch.equal(ids, codec.encode(expected).ids[0])
    assert (source.sample_rate, source.length, source.channels) == (RATE, 333, 1)


def test_two_channels_are_mixed_and_other_rates_resampled(codec):
    samples = (1000 * np.random.default_rng(0).standard_normal((400, 2))).astype("<i2")
    mixed = torch.from_numpy(samples.astype(np.float32).T.copy() / 2**15).mean(0).view(1, 1, -1)
    assert torch.equal(ids_of(codec, wav(samples))[0], codec.encode(mixed).ids[0])
    ids, source = ids_of(codec, samples[:, :1].tobytes(), pcm_rate=2 * RATE)
    assert len(ids) == 10 and source.sample_rate == 2 * RATE


def test_ids_come_before_the_end(codec):
    """After every position, not when the pipe is closed."""
    samples = np.zeros((200, 1), "<i2")
    pipe, seen = Pipe(samples.tobytes()), []
    encode_live(codec, pipe, lambda ids: seen.append(pipe.tell()), pcm_rate=RATE)
    assert len(seen) == 10
    assert all(place < 40 * (number + 1) + 7 for number, place in enumerate(seen))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "no WAV stream comes"),
        (b"", {"pcm_rate": RATE}, "no sample came"),
        (b"RIFF\0\0\0\0WAVE", {}, "has no samples"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", {}, "does not say what its samples are"),
        (wav(np.zeros((9, 1), "u1")), {}, "8 bits and kind 1"),
        (b"RIFF\0\0\0\0WAVEJUNK\xff\xff\xff\x7f", {}, "has no samples"),
        (wav(np.full((90, 1), np.nan, "<f4"), tag=3), {}, "finite"),
        (b"\0" * 90, {"pcm_rate": 3}, "a sample rate lies in"),
        (wav(np.zeros((9, 0), "<i2")), {}, "0 channels"),
    ],
)
def test_what_is_no_such_stream_is_refused(codec, content, options, message):
    with pytest.raises(ValueError, match=message):
        ids_of(codec, content, **options)


def test_the_command(codec, intaglio, tmp_path, monkeypatch):
    bundle = save(codec, tmp_path / "codec")
    samples = (1000 * np.random.default_rng(0).standard_normal((333, 1))).astype("<i2")
    wave = torch.from_numpy(samples.astype(np.float32).T.copy() / 2**15).unsqueeze(0)
    expected = codec.encode(wave).ids[0]

    def run(*words):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(wav(samples))))
        return intaglio("encode", "--codec", bundle, *words)

    status, out, _ = run("--stream", "-", "-o", "-")
    assert status == 0
    assert [list(map(int, line.split())) for line in out.splitlines()] == expected.tolist()
    path = tmp_path / "a.intaglio"
    assert run("--stream", "-", "-o", path).status == 0
    with path.open("rb") as file:
        header, ids = read_tokens(file)
    assert torch.equal(ids, expected)
    assert (header.length, header.fingerprint) == (333, codec.fingerprint)
    status, _, err = run("--stream", "-", "-o", path)
    assert status == 1 and "exists; add --overwrite" in err
    status, _, err = run("--stream", tmp_path, "-o", path)
    assert status == 2 and "are for standard input" in err


def test_a_codec_that_looks_ahead_is_refused_in_one_line(tiny_codec, intaglio, tmp_path):
    bundle = save(tiny_codec, tmp_path / "codec")
    status, _, err = intaglio("encode", "--codec", bundle, "--stream", "-", "-o", "-")
    assert status == 1 and "tiny cannot be streamed" in err and len(err.splitlines()) == 1
