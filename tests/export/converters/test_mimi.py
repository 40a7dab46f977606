"""Mimi, whole and in streams, compared with transformers': the same codes, the same samples."""

import functools
from collections.abc import Callable

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.export.converters.mimi import convert

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

DEPTH = 5  # levels; the release has 32 of one kind


@functools.cache
def their_model() -> torch.nn.Module:
    config = transformers.MimiConfig(num_quantizers=DEPTH)
    model = transformers.MimiModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("codebook.embed_sum"):
            # a spread that falls with the level, as residues do
            level = int(name.split("layers.")[1].partition(".")[0])
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.5 * 0.9**level)
        elif name.endswith("codebook.cluster_usage"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    for name, parameter in model.named_parameters():
        if "layer_scale" in name:  # or transformers add next to nothing
            torch.nn.init.uniform_(parameter, 0.1, 0.5)
    return model


@functools.cache
def our_codec() -> AudioCodec:
    return convert(their_model().state_dict())


def released_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Transformers' tensors under the names of the authors' files."""
    names: dict[str, torch.Tensor] = {}
    projections: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part == "quantizer":
            new = name.replace("semantic_residual_vector_quantizer", "rvq_first")
            new = new.replace("acoustic_residual_vector_quantizer", "rvq_rest")
            new = new.replace(".layers.", ".vq.layers.").replace(".codebook.", "._codebook.")
            names[new.replace("embed_sum", "embedding_sum")] = tensor
        elif "seanet" in rest:
            number = int(rest.split(".")[2])
            kind = "convtr" if part == "decoder" and number in (2, 5, 8, 11) else "conv"
            rest = rest.replace(f"{part}_seanet.layers", "model")
            names[f"{part}.{rest.replace('.conv.', f'.{kind}.{kind}.')}"] = tensor
        elif "sample" in rest:
            kind = "conv" if part == "encoder" else "convtr"
            names[rest.replace(".conv.", f".{kind}.{kind}.{kind}.")] = tensor
        else:
            block, _, last = rest.replace(".layers.", ".transformer.layers.").rpartition(
                "self_attn."
            )
            if block and last[1:] == "_proj.weight" and last[0] in "qkv":
                projections.setdefault(block, {})[last[0]] = tensor
                continue
            for theirs, new in (
                ("self_attn_layer_scale", "layer_scale_1"),
                ("mlp_layer_scale", "layer_scale_2"),
                ("mlp.fc1", "linear1"),
                ("mlp.fc2", "linear2"),
                ("input_layernorm", "norm1"),
                ("post_attention_layernorm", "norm2"),
                ("o_proj", "out_proj"),
            ):
                rest = rest.replace(theirs, new)
            names[rest.replace(".layers.", ".transformer.layers.")] = tensor
    for block, found in projections.items():
        turned = [
            found[kind].view(8, 2, 32, 512).transpose(1, 2).reshape(512, 512) for kind in "qk"
        ]
        names[f"{block}self_attn.in_proj_weight"] = torch.cat([*turned, found["v"]])
    return names


@pytest.mark.parametrize("levels", [1, 3, DEPTH])
@pytest.mark.parametrize("samples", [1, 1919, 30_001])
@torch.no_grad()
def test_equals_transformers(levels: int, samples: int, same_codes: Callable[..., bool]) -> None:
    theirs, ours = their_model(), our_codec()
    wave = 0.3 * torch.randn(2, 1, samples)
    codes = theirs.encode(wave, num_quantizers=levels).audio_codes
    tokens = ours.encode(wave, levels=levels)
    assert same_codes(tokens.ids, codes.transpose(1, 2))
    decoded = theirs.decode(codes).audio_values[..., :samples]
    tokens = tokens._replace(ids=codes.transpose(1, 2))
    assert (ours.decode(tokens) - decoded).abs().max() < 1e-4


@torch.no_grad()
def test_the_window_is_theirs_and_so_are_streams(same_codes: Callable[..., bool]) -> None:
    """Longer than the ten seconds that the attention sees; in chunks of up to a second."""
    theirs, ours = their_model(), our_codec()
    wave = 0.3 * torch.randn(1, 1, 252_007)
    codes = theirs.encode(wave, num_quantizers=3).audio_codes.transpose(1, 2)
    decoded = theirs.decode(codes.transpose(1, 2)).audio_values[..., : wave.shape[-1]]
    ids, waves, start = [], [], 0
    with ours.streaming() as stream:
        for size in 8 * (1, 1919, 1920, 5000, 24_000):
            tokens = stream.encode(wave[..., start : start + size], levels=3)
            start += size
            ids.append(tokens.ids)
        ids.append(stream.end_encoding(levels=3).ids)
        for part in codes.split([1, 2, 7, 1, 80, codes.shape[1] - 91], dim=1):
            waves.append(stream.decode(ours.tokens(part)).values)
    assert same_codes(torch.cat(ids, dim=1), codes)
    assert (torch.cat(waves, dim=-1)[..., : wave.shape[-1]] - decoded).abs().max() < 1e-4


def test_the_authors_names_mean_the_same() -> None:
    state = released_names(their_model().state_dict())
    assert convert(state).fingerprint == our_codec().fingerprint


def test_foreign_weights_are_refused() -> None:
    state = their_model().state_dict()
    del state["encoder.downsample.conv.weight"]
    with pytest.raises(ValueError, match=r"1 tensors are missing \(encoder.down.conv.weight\)"):
        convert(state)
    state = their_model().state_dict()
    name = next(name for name in state if name.endswith("embed_sum"))
    del state[name]
    with pytest.raises(ValueError, match="these are not the weights of mimi: no embedding_sum"):
        convert(state)
