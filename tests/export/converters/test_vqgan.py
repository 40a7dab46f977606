"""VQGAN compared with diffusers' VQModel at random weights, and weights under other names."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.image.vqgan import vqgan
from intaglio.export.converters.vqgan import convert

WIDTHS = (8, 8, 16)
GROUPS = 4


def diffusers_model(attention: bool, code_size: int) -> torch.nn.Module:
    """``attention``: also in the blocks of the smallest grid, besides the middle."""
    diffusers = pytest.importorskip("diffusers")
    downs, ups = ["DownEncoderBlock2D"] * 3, ["UpDecoderBlock2D"] * 3
    if attention:
        downs[-1], ups[0] = "AttnDownEncoderBlock2D", "AttnUpDecoderBlock2D"
    model = diffusers.VQModel(
        down_block_types=tuple(downs),
        up_block_types=tuple(ups),
        block_out_channels=WIDTHS,
        layers_per_block=2,
        latent_channels=12,
        num_vq_embeddings=64,
        norm_num_groups=GROUPS,
        vq_embed_dim=code_size,
    )
    with torch.no_grad():
        for parameter in model.parameters():  # biases and scales that are not 0 and 1
            parameter.add_(0.05 * torch.randn_like(parameter))
        latents = model.encode(2 * torch.rand(1, 3, 32, 32) - 1).latents  # 64 codes that get used
        model.quantize.embedding.weight.copy_(latents[0].flatten(1).t())
    return model.eval()


@pytest.mark.parity
@pytest.mark.parametrize(("attention", "code_size"), [(False, 4), (True, 4), (False, 12)])
def test_codes_and_pixels_equal_diffusers(
    attention: bool, code_size: int, same_codes: Callable[..., bool]
) -> None:
    theirs = diffusers_model(attention, code_size)
    ours = convert(theirs.state_dict(), groups=GROUPS, image_size=32)
    x = 2 * torch.rand(3, 3, 32, 48) - 1
    with torch.no_grad():
        latents = theirs.encode(x).latents
        codes = theirs.quantize(latents)[2][2].view(3, -1, 1)
        decoded = theirs.decode(latents).sample
    tokens = ours.encode(x)
    assert same_codes(tokens.ids, codes)
    assert len(codes.unique()) > 30
    values = ours.from_latents(ours.quantizer.decode_ids(codes), grid=tokens.grid)
    assert (values - decoded.clamp(-1, 1)).abs().max() < 1e-4
    assert decoded.std() > 0.05


def block(stem: str, channels: int, out: int | None = None) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a residual block."""
    out = out or channels
    shapes = {f"{stem}.norm1": (channels,), f"{stem}.norm2": (out,)}
    shapes |= {f"{stem}.conv1": (out, channels, 3, 3), f"{stem}.conv2": (out, out, 3, 3)}
    return shapes | ({f"{stem}.nin_shortcut": (out, channels, 1, 1)} if channels != out else {})


def attention(stem: str, channels: int) -> dict[str, tuple[int, ...]]:
    square = (channels, channels, 1, 1)
    layers = {f"{stem}.{name}": square for name in ("q", "k", "v", "proj_out")}
    return {f"{stem}.norm": (channels,)} | layers


def middle(part: str, channels: int) -> dict[str, tuple[int, ...]]:
    blocks = block(f"{part}.mid.0", channels) | block(f"{part}.mid.2", channels)
    return blocks | attention(f"{part}.mid.1", channels)


def released() -> dict[str, Tensor]:
    """Random weights under LlamaGen's names: three levels of 32, 32 and 64 channels."""
    shapes: dict[str, tuple[int, ...]] = {"encoder.conv_in": (32, 3, 3, 3)}
    channels = 32
    for level, size in enumerate((32, 32, 64)):
        for number in range(2):
            shapes |= block(f"encoder.conv_blocks.{level}.res.{number}", channels, size)
            channels = size
            if level == 2:
                shapes |= attention(f"encoder.conv_blocks.2.attn.{number}", size)
        if level < 2:
            shapes[f"encoder.conv_blocks.{level}.downsample.conv"] = (size, size, 3, 3)
    shapes |= middle("encoder", 64) | middle("decoder", 64)
    shapes |= {"encoder.norm_out": (64,), "encoder.conv_out": (16, 64, 3, 3)}
    shapes |= {"quant_conv": (4, 16, 1, 1), "post_quant_conv": (16, 4, 1, 1)}
    shapes |= {"decoder.conv_in": (64, 16, 3, 3), "decoder.norm_out": (32,)}
    shapes["decoder.conv_out"] = (3, 32, 3, 3)
    for level, size in enumerate((64, 32, 32)):  # from the smallest grid on
        for number in range(3):
            shapes |= block(f"decoder.conv_blocks.{level}.res.{number}", channels, size)
            channels = size
            if level == 0:
                shapes |= attention(f"decoder.conv_blocks.0.attn.{number}", size)
        if level < 2:
            shapes[f"decoder.conv_blocks.{level}.upsample.conv"] = (size, size, 3, 3)
    state = {"quantize.embedding.weight": torch.randn(128, 4)}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = 0.2 * torch.randn(shape)
        state[f"{name}.bias"] = 0.2 * torch.randn(shape[0])
    return state


def taming(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of taming-transformers, whose decoder counts from the last level."""
    middles = {"0": "block_1", "1": "attn_1", "2": "block_2"}
    names = {}
    for name, tensor in state.items():
        words = name.split(".")
        if words[1] == "mid":
            words[2] = middles[words[2]]
        elif words[1] == "conv_blocks":
            decodes = words[0] == "decoder"
            words[1] = "up" if decodes else "down"
            words[2] = str(2 - int(words[2])) if decodes else words[2]
            words[3] = {"res": "block"}.get(words[3], words[3])
        names[".".join(words)] = tensor
    return names


def pictures(codec: ImageCodec) -> tuple[Tensor, Tensor]:
    tokens = codec.encode(torch.linspace(-1, 1, 2 * 3 * 16 * 16).sin().view(2, 3, 16, 16))
    return tokens.ids, codec.decode(tokens)


def test_every_tensor_of_llamagen_finds_its_place() -> None:
    state = released()
    codec = convert({"ema": state | {"quantize.codebook_used": torch.zeros(8)}}, image_size=16)
    own = codec.state_dict()
    total = sum(
        value.numel() for name, value in own.items() if not name.startswith("quantizer._codebook.")
    )
    codes = state["quantize.embedding.weight"]
    assert total + codes.numel() == sum(value.numel() for value in state.values())
    assert torch.equal(own["quantizer._codebook.codes"], codes)
    assert codec.quantizer.cosine and codec.hop_length == 4
    stem = "encoder.conv_blocks.2.attn.1"
    fused = torch.cat([state[f"{stem}.{one}.weight"] for one in "qkv"])
    assert torch.equal(own["encoder.levels.2.3.qkv.weight"], fused)
    assert torch.equal(
        own["decoder.levels.0.6.conv.weight"], state["decoder.conv_blocks.0.upsample.conv.weight"]
    )
    assert torch.equal(own["decoder.middle.2.conv1.bias"], state["decoder.mid.2.conv1.bias"])
    ids, decoded = pictures(codec)
    assert torch.equal(decoded, pictures(codec)[1]) and len(ids.unique()) > 3


def test_the_first_level_of_the_decoder_is_the_smallest_grid() -> None:
    """Both spellings mean the same, and a tensor of a level acts in that level alone."""
    state = released()
    ids, decoded = pictures(convert(state, image_size=16))
    again = convert(taming(state), image_size=16)
    assert not again.quantizer.cosine
    again.quantizer.cosine = again.quantizer._codebook.cosine = True
    assert torch.equal(pictures(again)[0], ids)
    assert torch.equal(pictures(again)[1], decoded)
    changed = state | {"decoder.conv_blocks.1.upsample.conv.bias": torch.randn(32)}
    own = convert(changed, image_size=16).state_dict()
    plain = convert(state, image_size=16).state_dict()
    differs = [name for name in own if not torch.equal(own[name], plain[name])]
    assert differs == ["decoder.levels.1.3.conv.bias"]


def test_the_layout_is_that_of_the_system() -> None:
    """The names of a converted codec are those of `vqgan`, at its number of levels."""
    converted = convert(released(), image_size=16).state_dict()
    with torch.device("meta"):
        system = vqgan(16).state_dict()
    outer = {name for name in system if ".levels." not in name}
    assert outer == {name for name in converted if ".levels." not in name}


def test_foreign_and_incomplete_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="not the weights of a VQGAN: 'encoder.conv_in.weight'"):
        convert({"a.weight": torch.zeros(3)})
    state = released()
    del state["encoder.mid.0.conv1.bias"]
    with pytest.raises(ValueError, match=r"1 tensors are missing \(encoder.middle.0.conv1.bias"):
        convert(state)
    with pytest.raises(ValueError, match=r"1 left over \(encoder.levels.7.res"):
        convert(released() | {"encoder.levels.7.res": torch.zeros(3)})
