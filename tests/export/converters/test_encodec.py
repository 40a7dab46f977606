"""EnCodec compared with transformers' at random weights: the same codes, the same samples."""

import functools
from collections.abc import Callable

import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.export.converters.encodec import convert

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

STEREO = {
    "sampling_rate": 48_000,
    "audio_channels": 2,
    "normalize": True,
    "chunk_length_s": 1.0,
    "overlap": 0.01,
    "use_causal_conv": False,
    "norm_type": "time_group_norm",
    "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
}


@functools.cache
def their_model(sample_rate: int) -> torch.nn.Module:
    changes = STEREO if sample_rate == 48_000 else {"target_bandwidths": [1.5, 6.0, 24.0]}
    model = transformers.EncodecModel(transformers.EncodecConfig(**changes)).eval()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith("codebook.embed"):
            # a spread that falls with the level, as residues do
            level = int(name.split(".")[2])
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.5 * 0.9**level)
    return model


@functools.cache
def our_codec(sample_rate: int) -> AudioCodec:
    return convert(their_model(sample_rate).state_dict(), sample_rate)


def released_names(state: dict[str, torch.Tensor], sample_rate: int) -> dict[str, torch.Tensor]:
    """Transformers' tensors under the names of the authors' files."""
    names = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "quantizer":
            names[f"quantizer.vq.layers.{parts[2]}._codebook.{parts[4]}"] = tensor
            continue
        new = name.replace(".layers.", ".model.")
        if ".lstm." not in new:
            up = parts[0] == "decoder" and parts[2] in ("3", "6", "9", "12")
            kind = "convtr" if up else "conv"
            norm = ".norm." in new
            old = ".norm." if norm else ".conv."
            new = new.replace(old, f".{kind}{old}" if norm else f".{kind}.{kind}.")
            new = new.replace("parametrizations.weight.original0", "weight_g")
            new = new.replace("parametrizations.weight.original1", "weight_v")
        names[new] = tensor
    return names


@pytest.mark.parametrize("bandwidth", [1.5, 6.0, 24.0])
@pytest.mark.parametrize("samples", [1, 319, 24_000, 30_001])
def test_mono_equals_transformers(
    bandwidth: float, samples: int, same_codes: Callable[..., bool]
) -> None:
    theirs, ours = their_model(24_000), our_codec(24_000)
    wave = 0.3 * torch.randn(2, 1, samples)
    with torch.no_grad():
        codes = theirs.encode(wave, bandwidth=bandwidth)
        decoded = theirs.decode(codes.audio_codes, codes.audio_scales)[0][..., :samples]
    tokens = ours.encode(wave, levels=ours.levels_at(1000 * bandwidth))
    assert same_codes(tokens.ids, codes.audio_codes[0].transpose(1, 2))
    tokens = tokens._replace(ids=codes.audio_codes[0].transpose(1, 2))
    assert (ours.decode(tokens) - decoded).abs().max() < 1e-5


@pytest.mark.parametrize("samples", [30_000, 47_520, 2 * 47_520 + 20_001])
def test_stereo_equals_transformers(samples: int, same_codes: Callable[..., bool]) -> None:
    theirs, ours = their_model(48_000), our_codec(48_000)
    wave = 0.3 * torch.randn(1, 2, samples) * torch.linspace(0.2, 1, samples)
    with torch.no_grad():
        codes = theirs.encode(wave, bandwidth=24.0)
        decoded = theirs.decode(
            codes.audio_codes, codes.audio_scales, last_frame_pad_length=codes.last_frame_pad_length
        )[0]
    tokens = ours.encode(wave)
    pieces = codes.audio_codes.permute(1, 0, 3, 2).flatten(1, 2)
    pieces = pieces[:, : pieces.shape[1] - codes.last_frame_pad_length]
    assert same_codes(tokens.ids, pieces)
    scales = torch.stack([scale[:, 0] for scale in codes.audio_scales], dim=1)
    assert torch.allclose(tokens.scale, scales, rtol=1e-6)
    tokens = tokens._replace(ids=pieces)
    assert (ours.decode(tokens) - decoded[..., :samples]).abs().max() < 1e-4


@pytest.mark.parametrize("sample_rate", [24_000, 48_000])
def test_the_authors_names_mean_the_same(sample_rate: int) -> None:
    state = released_names(their_model(sample_rate).state_dict(), sample_rate)
    assert convert(state, sample_rate).fingerprint == our_codec(sample_rate).fingerprint


def test_foreign_weights_are_refused() -> None:
    state = their_model(24_000).state_dict()
    del state["decoder.layers.15.conv.bias"]
    with pytest.raises(ValueError, match=r"1 tensors are missing \(decoder.head.conv.bias\)"):
        convert(state, 24_000)
