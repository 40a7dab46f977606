"""Synthetic weights under the names of Open-MAGVIT2 and WeTok."""

import pytest
import torch
from torch import Tensor

from intaglio.export.converters.magvit2 import convert

SIZES, BITS = (8, 16), 6


def block(stem: str, channels: int, out: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        f"{stem}.conv1.weight": (out, channels, 3, 3),
        f"{stem}.conv2.weight": (out, out, 3, 3),
    }
    for name, size in (("norm1", channels), ("norm2", out)):
        shapes |= {f"{stem}.{name}.weight": (size,), f"{stem}.{name}.bias": (size,)}
    if channels != out:
        shapes[f"{stem}.nin_shortcut.weight"] = (out, channels, 1, 1)
    return shapes


def layer(stem: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def released(noise: bool = False) -> dict[str, Tensor]:
    """Two levels of 8 and 16 channels, two blocks each."""
    shapes: dict[str, tuple[int, ...]] = {"encoder.conv_in.weight": (8, 3, 3, 3)}
    channels = 8
    for level, size in enumerate(SIZES):
        for number in range(2):
            shapes |= block(f"encoder.down.{level}.block.{number}", channels, size)
            channels = size
    shapes |= layer("encoder.down.0.downsample", 8, 8, 3, 3)
    for number in range(2):
        shapes |= block(f"encoder.mid_block.{number}", 16, 16)
        shapes |= block(f"decoder.mid_block.{number}", 16, 16)
    shapes |= layer("encoder.norm_out", 16) | layer("encoder.conv_out", BITS, 16, 1, 1)
    shapes |= layer("decoder.conv_in", 16, 2 * BITS if noise else BITS, 3, 3)
    for level in (1, 0):  # level 0 is the largest grid
        for kind in ("gamma", "beta"):
            shapes |= layer(f"decoder.adaptive.{level}.{kind}", channels, BITS)
        for number in range(2):
            shapes |= block(f"decoder.up.{level}.block.{number}", channels, SIZES[level])
            channels = SIZES[level]
    shapes |= layer("decoder.up.1.upsample.conv1", 64, 16, 3, 3)
    shapes |= layer("decoder.norm_out", 8) | layer("decoder.conv_out", 3, 8, 3, 3)
    return {name: 0.2 * torch.randn(shape) for name, shape in shapes.items()}


def test_every_tensor_finds_its_place() -> None:
    state = released()
    codec = convert({"state_dict": state | {"loss.x": torch.zeros(1)}}, norm_groups=4, image_size=8)
    own = codec.state_dict()
    assert sum(v.numel() for v in own.values()) == sum(v.numel() for v in state.values())
    for ours, theirs in {
        "decoder.levels.0.2.conv.weight": "decoder.up.1.upsample.conv1.weight",
        "decoder.levels.1.0.shortcut.weight": "decoder.up.0.block.0.nin_shortcut.weight",
        "decoder.adaptive.0.gamma.weight": "decoder.adaptive.1.gamma.weight",
        "encoder.levels.0.2.conv.bias": "encoder.down.0.downsample.bias",
        "encoder.middle.1.norm2.bias": "encoder.mid_block.1.norm2.bias",
    }.items():
        assert torch.equal(own[ours], state[theirs])
    tokens = codec.encode(2 * torch.rand(2, 3, 8, 8) - 1)
    assert codec.vocab == (64,) and len(tokens.ids.unique()) > 1
    assert codec.decode(tokens).isfinite().all()


def test_running_means_are_preferred() -> None:
    state = released()
    means = {f"model_ema.{k.replace('.', '')}": v + 1 for k, v in state.items()}
    codec = convert(state | means | {"model_ema.decay": torch.ones(())}, norm_groups=4)
    assert torch.equal(codec.decoder.conv_out.weight, state["decoder.conv_out.weight"] + 1)
    del means["model_ema.decoderconv_outweight"]  # a mixture of both is of neither
    with pytest.raises(ValueError, match="'model_ema.decoderconv_outweight' is missing"):
        convert(state | means, norm_groups=4)


def test_noise_follows_the_latents() -> None:
    state = released(noise=True)
    codec = convert(state, groups=2, norm_groups=4)
    assert codec.vocab == (8, 8) and codec.name == "wetok"
    both = state["decoder.conv_in.weight"]
    assert torch.equal(codec.decoder.conv_in.weight, both[:, :BITS])
    assert torch.equal(codec.decoder.conv_noise.weight, both[:, BITS:])


def test_foreign_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="not the weights of MAGVIT2: 'encoder.conv_in.weight'"):
        convert({"a.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match="6 bits are not 4 groups"):
        convert(released(), groups=4)
    state = released()
    del state["decoder.up.0.block.1.conv1.weight"]
    with pytest.raises(ValueError, match="1 tensors are missing"):
        convert(state, norm_groups=4)
