"""Live streams of causal codecs: any chunks, independent rows, a state to save, constant memory."""

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.audio.encodec import encodec
from intaglio.codecs.audio.mimi_small import mimi_small
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.decoders.bottleneck import BottleneckDecoder
from intaglio.codecs.decoders.istft import InverseSTFT
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.bottleneck import BottleneckEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.encoders.spectral import SpectralEncoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.lstm import ResidualLSTM
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.codecs.streaming.direction import Direction
from intaglio.codecs.streaming.live import LiveStream, latency

ERROR = 1e-5  # of a sample in 32 bits
RATE = 2000


def seanet(pad_mode: str) -> AudioCodec:
    options = {"width": 4, "lstm_layers": 1, "causal": True, "pad_mode": pad_mode}
    levels = [VectorQuantizer(8, 16, kmeans_iterations=0) for _ in range(3)]
    return AudioCodec(
        SEANetEncoder(8, (2, 4, 5), **options),
        ResidualQuantizer(levels),
        SEANetDecoder(8, (2, 4, 5), **options),
        sample_rate=RATE,
    )


def half_causal() -> AudioCodec:
    options = {"width": 4, "lstm_layers": 0}
    return AudioCodec(
        SEANetEncoder(8, (2, 4), causal=True, **options),
        FSQ(8, (5, 5)),
        SEANetDecoder(8, (2, 4), **options),
        sample_rate=RATE,
    )


def vocos() -> AudioCodec:
    encoder = SpectralEncoder(8, 10, (2,), num_layers=(1, 1), n_fft=40, width=8, causal=True)
    options = {"num_layers": 2, "hop_length": 20, "n_fft": 80, "attention": False, "causal": True}
    decoder = VocosDecoder(8, 32, intermediate=32, **options)
    return AudioCodec(encoder, FSQ(8, (5, 5)), decoder, sample_rate=RATE)


def attention() -> AudioCodec:
    options = {"width": 4, "lstm_layers": 0, "causal": True, "pad_mode": "constant"}
    bottleneck = {"depth": 2, "heads": 2, "window": 9, "layer_scale": 0.5}
    halves = [FSQ(16, (5, 5)), ResidualQuantizer([VectorQuantizer(16, 9, kmeans_iterations=0)])]
    return AudioCodec(
        BottleneckEncoder(SEANetEncoder(16, (4, 5), **options), **bottleneck),
        SplitQuantizer(16, *halves),
        BottleneckDecoder(SEANetDecoder(16, (4, 5), **options), **bottleneck),
        sample_rate=RATE,
    )


CODECS: dict[str, Callable[[], AudioCodec]] = {
    "mirrored borders": lambda: seanet("reflect"),
    "zeros": lambda: seanet("constant"),
    "spectra": vocos,
    "attention": attention,
}


class Streamed(NamedTuple):
    """What a stream gave for a whole signal."""

    ids: Tensor
    wave: Tensor


def streamed(codec: AudioCodec, x: Tensor, sizes: list[int], seed: int = 0) -> Streamed:
    """Tokens and, decoded chunk by chunk, samples, for chunks of random sizes."""
    draw, start, ids, waves = random.Random(seed), 0, [], []

    def take(tokens: Tokens) -> None:
        ids.append(tokens.ids)
        waves.append(stream.decode(tokens).values)

    with codec.streaming(len(x)) as stream:
        while start < x.shape[-1]:
            size = draw.choice(sizes)
            take(stream.encode(x[..., start : start + size]))
            start += size
        take(stream.end_encoding())
        waves.append(stream.end_decoding().values)
    return Streamed(torch.cat(ids, dim=1), torch.cat(waves, dim=-1)[..., : x.shape[-1]])


def assert_equal_to_offline(codec: AudioCodec, x: Tensor, sizes: list[int], seed: int = 0) -> None:
    tokens, found = codec.encode(x), streamed(codec, x, sizes, seed)
    assert found.ids.shape == tokens.ids.shape
    assert torch.equal(found.ids, tokens.ids)
    assert (found.wave - codec.decode(tokens)).abs().max() < ERROR


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("samples", [1, 39, 40, 41, 6 * 40, 7 * 40, 8 * 40 + 1, 3 * RATE + 13])
def test_chunks_of_any_size_are_equal_to_the_whole(kind, samples):
    codec = CODECS[kind]().eval()
    x = 0.3 * torch.randn(2, 1, samples)
    assert_equal_to_offline(codec, x, [0, 1, 7, 40, 41, 300, 3 * RATE])


def test_a_sample_at_a_time():
    codec = seanet("reflect").eval()
    assert_equal_to_offline(codec, 0.3 * torch.randn(1, 1, 9 * 40 + 3), [1])


@pytest.mark.parametrize("make", [encodec, mimi_small, lambda: speech_small(causal=True)])
def test_the_systems_stream(make):
    codec = make().eval()
    x = 0.3 * torch.randn(1, 1, 30 * codec.hop_length + 100)
    assert_equal_to_offline(codec, x, [1, 1000, 5 * codec.hop_length])


@pytest.mark.parametrize("levels", [1, 2])
def test_fewer_levels(levels):
    codec = seanet("constant").eval()
    x = 0.3 * torch.randn(1, 1, 400)
    with codec.streaming() as stream:
        tokens = stream.encode(x, levels=levels)
        wave = stream.decode(tokens).values
        with pytest.raises(ValueError, match="has 3 levels, cannot use 4"):
            stream.encode(x, levels=4)
    assert torch.equal(tokens.ids, codec.encode(x, levels=levels).ids)
    assert (wave - codec.decode(tokens)).abs().max() < ERROR


class Row:
    """What a row was given, and what it gave."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.ids: list[Tensor] = []
        self.wave: list[Tensor] = []


@pytest.mark.parametrize("kind", CODECS)
def test_rows_begin_end_and_idle_on_their_own(kind):
    """Row 1 is reset in the middle of a position; row 2 pauses, ends early and begins again."""
    codec = CODECS[kind]().eval()
    draw, rows, ended = random.Random(1), [Row(), Row(), Row()], []

    def take(tokens: Tokens, rest: list[int] | None = None) -> None:
        chunks = [stream.decode(tokens)] + ([] if rest is None else [stream.end_decoding(rest)])
        for number, row in enumerate(rows):
            row.ids.append(tokens.ids[number, tokens.mask[number]])
            row.wave += [chunk.values[number, 0, : chunk.lengths[number]] for chunk in chunks]

    def end(numbers: list[int]) -> None:
        take(stream.end_encoding(numbers), numbers)
        for number in numbers:
            ended.append(rows[number])
            rows[number] = Row()

    with codec.streaming(3) as stream:
        for number in range(30):
            if number == 13:
                stream.reset([1])
                rows[1] = Row()
            size = draw.choice([1, 30, 77])
            lengths = torch.tensor([size, size, size - 1 if number % 7 < 5 else 0])
            x = 0.3 * torch.randn(3, 1, size)
            for row, signal, length in zip(rows, x, lengths.tolist(), strict=True):
                row.inputs.append(signal[..., :length])
            take(stream.encode(x, lengths))
            if number == 17:
                end([2])
        end([0, 1, 2])
    for row in ended:
        signal = torch.cat(row.inputs, dim=-1).unsqueeze(0)
        tokens = codec.encode(signal)
        assert torch.equal(torch.cat(row.ids), tokens.ids[0])
        wave = torch.cat(row.wave)[: signal.shape[-1]]
        assert (wave - codec.decode(tokens)[0, 0]).abs().max() < ERROR
    assert len({sum(part.shape[-1] for part in row.inputs) for row in ended}) == 4


@pytest.mark.parametrize("kind", CODECS)
def test_a_state_that_was_saved_goes_on_in_another_stream(kind, tmp_path):
    from safetensors.torch import load_file, save_file

    codec = CODECS[kind]().eval()
    x = 0.3 * torch.randn(2, 1, 900)
    with codec.streaming(2) as stream:
        first = stream.encode(x[..., :555])
        decoded = [stream.decode(first).values]
        save_file(stream.state, tmp_path / "state.safetensors")
        stream.decode(stream.encode(x[..., :300]))  # does not change what was saved
    with codec.streaming(2) as stream:
        stream.state = load_file(tmp_path / "state.safetensors")
        parts = [first, stream.encode(x[..., 555:]), stream.end_encoding()]
        decoded += [stream.decode(part).values for part in parts[1:]]
        decoded.append(stream.end_decoding().values)
    tokens = codec.encode(x)
    assert torch.equal(torch.cat([part.ids for part in parts], dim=1), tokens.ids)
    assert (torch.cat(decoded, dim=-1)[..., :900] - codec.decode(tokens)).abs().max() < ERROR


@pytest.mark.parametrize("change", ["missing", "surplus", "shape", "type"])
def test_a_foreign_state_is_refused(change):
    codec = seanet("constant")
    with codec.streaming(2) as stream:
        state = stream.state
        name = "encoder.stem.past"
        if change == "missing":
            del state[name]
        elif change == "surplus":
            state["encoder.other"] = torch.zeros(2)
        elif change == "shape":
            state[name] = state[name][..., 1:]
        else:
            state[name] = state[name].double()
        with pytest.raises(ValueError, match=r"no state of .* with 2 rows: encoder\.\S+ does not"):
            stream.state = state


def test_memory_does_not_grow_with_the_signal():
    codec = seanet("constant").eval()
    with codec.streaming() as stream:
        shapes = {name: value.shape for name, value in stream.state.items()}
        for _ in range(200):
            stream.decode(stream.encode(0.1 * torch.randn(1, 1, 33)))
            held = [value for part in stream._states.values() for value in part.values()]
            assert sum(value.untyped_storage().nbytes() for value in held) < 60_000
        assert {name: value.shape for name, value in stream.state.items()} == shapes
        assert not any(value.requires_grad for value in held)


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (lambda: speech_small(), "its encoder and decoder need what comes later"),
        (lambda: half_causal(), "its decoder needs what"),
        (lambda: encodec(48_000), "its encoder and decoder need what comes later"),
    ],
)
def test_codecs_that_look_ahead_are_refused_in_one_line(codec, reason):
    with pytest.raises(ValueError, match=reason) as error, codec().streaming():
        pass
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        (torch.zeros(1, 1, 5), None, "the stream has 2 rows"),
        (torch.zeros(2, 1, 5), torch.tensor([1, 6]), r"lengths must lie in \[0, 5\]"),
        (torch.zeros(2, 2, 5), None, "takes floating-point waveforms"),
        (torch.full((2, 1, 5), torch.nan), None, "finite"),
        (torch.zeros(2, 1, 5, dtype=torch.float64), None, "float32"),
    ],
)
def test_wrong_input_is_refused(x, lengths, message):
    with seanet("constant").streaming(2) as stream:
        before = stream.state
        with pytest.raises(ValueError, match=message):
            stream.encode(x, lengths)
        assert all(torch.equal(value, before[name]) for name, value in stream.state.items())
        with pytest.raises(ValueError, match="rows 0 to 1, not 2"):
            stream.reset([2])


def test_the_codec_is_as_before_after_the_block():
    codec = seanet("constant").train()
    x = torch.randn(1, 1, 80)
    before = codec.encode(x).ids
    with codec.streaming() as stream:
        assert not codec.training
        stream.encode(x)
        assert torch.equal(codec.encode(x).ids, before)  # and offline inside it
    assert codec.training


@pytest.mark.parametrize(
    ("codec", "expected"),
    [(encodec, (320, 0, 7 * 320)), (lambda: speech_small(causal=True), (256, 384, 512))],
)
def test_latency(codec, expected):
    made = codec()
    assert latency(made) == expected
    with made.streaming() as stream:
        given = [
            stream.decode(stream.encode(torch.zeros(1, 1, 64))).values.shape[-1]
            for _ in range(expected[2] // 64)
        ]
    assert not any(given[:-1])
    assert given[-1] > 0


def _forgetful(step):
    """The state is never written."""
    return lambda self, x, state: (step(self, x, state)[0], state)


def _without_border(step):
    return lambda self, x: torch.zeros_like(step(self, x))


def _late(step):
    """What is kept is one step too early."""

    def broken(self, x, state):
        y, new = step(self, x, state)
        return y, {
            name: value.roll(1, -1) if name == "past" else value for name, value in new.items()
        }

    return broken


def _with_bias(step):
    def broken(self, x, state):
        y, new = step(self, x, state)
        return y, {"tail": new["tail"] + self.conv.bias.unsqueeze(-1)}

    return broken


def _unnormalised(step):
    def broken(self, real, imaginary, state):
        y, new = step(self, real, imaginary, state)
        return y, new | {"envelope": torch.zeros_like(new["envelope"])}

    return broken


@pytest.mark.parametrize(
    ("kind", "layer", "method", "mutant"),
    [
        ("zeros", Conv1d, "step", _forgetful),
        ("zeros", Conv1d, "step", _late),
        ("mirrored borders", Conv1d, "_border", _without_border),
        ("zeros", ConvTranspose1d, "step", _forgetful),
        ("zeros", ConvTranspose1d, "step", _with_bias),
        ("zeros", ResidualLSTM, "step", _forgetful),
        ("spectra", InverseSTFT, "step", _unnormalised),
    ],
)
def test_broken_layers_are_noticed(kind, layer, method, mutant, monkeypatch):
    codec = CODECS[kind]().eval()
    for module in codec.modules():
        if isinstance(module, ConvTranspose1d | Conv1d) and module.conv.bias is not None:
            torch.nn.init.normal_(module.conv.bias, std=0.1)
    x = 0.3 * torch.randn(1, 1, 700)
    assert_equal_to_offline(codec, x, [50])
    monkeypatch.setattr(layer, method, mutant(getattr(layer, method)))
    with pytest.raises(AssertionError):
        assert_equal_to_offline(codec, x, [50])


def test_a_row_that_is_not_reset_is_noticed(monkeypatch):
    codec = seanet("constant").eval()
    x = 0.3 * torch.randn(1, 1, 400)

    def ids(stream: LiveStream) -> Tensor:
        return torch.cat([stream.encode(x).ids, stream.end_encoding().ids], dim=1)

    with codec.streaming() as stream:
        assert torch.equal(ids(stream), ids(stream))
        finish = Direction.finish
        monkeypatch.setattr(Direction, "finish", lambda *a: (finish(*a)[0], a[1]))
        assert not torch.equal(ids(stream), ids(stream))
