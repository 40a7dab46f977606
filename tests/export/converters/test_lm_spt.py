"""LM-SPT's names mean what the release computes: its formulas, on a made file with few channels."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.audio import lm_spt
from intaglio.codecs.decoders.dac import DACDecoder
from intaglio.codecs.encoders.dac import DACEncoder
from intaglio.export.converters.lm_spt import convert

DIM, WIDTH, STRIDES, CODES = 16, 2, (4, 2, 6, 2, 2), (64, 32)
State = dict[str, Tensor]


def made_file() -> State:
    state: State = {}

    def conv(name: str, *shape: int, out: int | None = None) -> None:
        state[f"{name}.weight_v"] = torch.randn(shape)
        state[f"{name}.weight_g"] = 0.2 + 0.5 * torch.rand(shape[0], 1, 1)
        state[f"{name}.bias"] = 0.1 * torch.randn(out or shape[0])

    def snake(name: str, width: int) -> None:
        state[f"{name}.alpha"] = 0.5 + torch.rand(1, width, 1)

    def unit(name: str, width: int) -> None:
        snake(f"{name}.block.0", width), snake(f"{name}.block.2", width)
        conv(f"{name}.block.1", width, width, 7), conv(f"{name}.block.3", width, width, 1)

    for encoder in ("semantic_encoder", "acoustic_encoder"):
        width = WIDTH
        conv(f"{encoder}.block.0", width, 1, 7)
        for stage, stride in enumerate(STRIDES, 1):
            for number in range(3):
                unit(f"{encoder}.block.{stage}.block.{number}", width)
            snake(f"{encoder}.block.{stage}.block.3", width)
            conv(f"{encoder}.block.{stage}.block.4", 2 * width, width, 2 * stride)
            width *= 2
        snake(f"{encoder}.block.6", width), conv(f"{encoder}.block.7", DIM, width, 3)
    for decoder in ("decoder", "aux_decoder"):
        width = 32 * WIDTH
        conv(f"{decoder}.model.0", width, DIM, 7)
        for stage, stride in enumerate(reversed(STRIDES), 1):
            snake(f"{decoder}.model.{stage}.block.0", width)
            conv(f"{decoder}.model.{stage}.block.1", width, width // 2, 2 * stride, out=width // 2)
            width //= 2
            for number in range(2, 5):
                unit(f"{decoder}.model.{stage}.block.{number}", width)
        snake(f"{decoder}.model.6", width), conv(f"{decoder}.model.7", 1, width, 7)
    for half, levels, size in (("first", 1, CODES[0]), ("rest", 7, CODES[1])):
        for level in range(levels):
            name = f"quantizer.rvq_{half}.quantizers.{level}"
            conv(f"{name}.in_proj", 8, DIM, 1), conv(f"{name}.out_proj", DIM, 8, 1)
            state[f"{name}.codebook.weight"] = torch.randn(size, 8)
    state["quantizer.semantic_vocab_usage"] = torch.rand(1, CODES[0])
    state["quantizer.acoustic_vocab_usage"] = torch.rand(7, CODES[1])
    return state


class Release:
    """What the authors' code computes with their tensors."""

    def __init__(self, state: State) -> None:
        self.state = state

    def conv(self, name: str, x: Tensor, *, up: bool = False, **options: int) -> Tensor:
        g, v, bias = (self.state[f"{name}.{kind}"] for kind in ("weight_g", "weight_v", "bias"))
        weight = g * v / v.norm(dim=(1, 2), keepdim=True)
        return (F.conv_transpose1d if up else F.conv1d)(x, weight, bias, **options)

    def snake(self, name: str, x: Tensor) -> Tensor:
        alpha = self.state[f"{name}.alpha"]
        return x + (alpha * x).sin().square() / (alpha + 1e-9)

    def units(self, stage: str, first: int, x: Tensor) -> Tensor:
        for number, dilation in enumerate((1, 3, 9), first):
            name = f"{stage}.block.{number}.block"
            y = self.conv(
                f"{name}.1", self.snake(f"{name}.0", x), dilation=dilation, padding=3 * dilation
            )
            x = x + self.conv(f"{name}.3", self.snake(f"{name}.2", y))
        return x

    def encoder(self, name: str, x: Tensor) -> Tensor:
        x = self.conv(f"{name}.block.0", x, padding=3)
        for number, stride in enumerate(STRIDES, 1):
            stage = f"{name}.block.{number}"
            x = self.snake(f"{stage}.block.3", self.units(stage, 0, x))
            x = self.conv(f"{stage}.block.4", x, stride=stride, padding=math.ceil(stride / 2))
        return self.conv(f"{name}.block.7", self.snake(f"{name}.block.6", x), padding=1)

    def decoder(self, x: Tensor) -> Tensor:
        x = self.conv("decoder.model.0", x, padding=3)
        for number, stride in enumerate(reversed(STRIDES), 1):
            stage = f"decoder.model.{number}"
            x = self.snake(f"{stage}.block.0", x)
            padding = math.ceil(stride / 2)
            x = self.conv(f"{stage}.block.1", x, up=True, stride=stride, padding=padding)
            x = self.units(stage, 2, x)
        return self.conv("decoder.model.7", self.snake("decoder.model.6", x), padding=3).tanh()

    def quantize(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [batch, positions, levels], and the sum of all levels."""
        said = self.encoder("semantic_encoder", wave)
        meaning, first = self.level("quantizer.rvq_first.quantizers.0", said)
        residual, total, codes = self.encoder("acoustic_encoder", wave) - meaning, meaning, [first]
        for level in range(7):
            values, found = self.level(f"quantizer.rvq_rest.quantizers.{level}", residual)
            residual, total = residual - values, total + values
            codes.append(found)
        return torch.stack(codes, dim=-1), total

    def level(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        book = self.state[f"{name}.codebook.weight"]
        inner = F.normalize(self.conv(f"{name}.in_proj", x), dim=1).transpose(1, 2)
        ids = torch.cdist(inner, F.normalize(book, dim=1)).argmin(-1)
        return self.conv(f"{name}.out_proj", book[ids].transpose(1, 2)), ids


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm_spt, "DIM", DIM)
    monkeypatch.setitem(lm_spt.RATES, 12.5, (STRIDES, CODES, ()))
    for name, full, width in (
        ("DACEncoder", DACEncoder, WIDTH),
        ("DACDecoder", DACDecoder, 32 * WIDTH),
    ):

        def with_few(*args, full=full, few=width, width, **options):
            return full(*args, width=few, **options)

        monkeypatch.setattr(lm_spt, name, with_few)


@pytest.mark.usefixtures("narrow")
def test_codes_and_samples_are_those_of_the_authors_formulas(
    same_codes: Callable[[Tensor, Tensor], bool],
) -> None:
    state = made_file()
    codec, release = convert(state), Release(state)
    wave = 0.3 * torch.randn(2, 1, 7 * codec.hop_length)
    codes, values = release.quantize(wave)
    tokens = codec.encode(wave)
    assert same_codes(tokens.ids, codes)
    decoded = codec.decode(tokens._replace(ids=codes))
    torch.testing.assert_close(decoded, release.decoder(values), rtol=0, atol=1e-4)
    assert 1e-2 < decoded.abs().mean() < 0.9
