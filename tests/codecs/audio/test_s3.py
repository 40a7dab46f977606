"""S3: published sizes, rates, tokens of a batch, and no decoder."""

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.audio import s3 as module
from intaglio.codecs.audio.s3 import s3
from intaglio.codecs.bundle import save
from intaglio.codecs.quantizers.fsq import FSQ


def count(part):
    return sum(parameter.numel() for parameter in part.parameters())


@pytest.fixture
def narrow(monkeypatch):
    """The system with few channels: blocks and everything else as published."""
    full = module.RecogniserEncoder

    def small(dim, depth, heads, **options):
        return full(dim, 2, 2, num_mels=40, **options)

    monkeypatch.setattr(module, "DIM", 64)
    monkeypatch.setattr(module, "RecogniserEncoder", small)


@pytest.mark.parametrize(("version", "blocks"), [(1, 6), (2, 6), (3, 12)])
def test_parameters_are_those_of_the_published_layers(version, blocks):
    """Two convolutions; blocks of attention (keys without bias), network, norms and memory."""
    dim = 1280
    block = 4 * dim**2 + 3 * dim + 8 * dim**2 + 5 * dim + 4 * dim
    block += 0 if version == 1 else 31 * dim
    with torch.device("meta"):
        codec = s3(version)
    stem = 3 * 128 * dim + 3 * dim**2 + 2 * dim
    assert count(codec.encoder) == stem + blocks * block
    assert count(codec.encoder) == {1: 123_466_240, 2: 123_704_320, 3: 241_999_360}[version]
    # version 2 has a linear layer down to 8 dimensions; the one back is for training
    quantizer = {1: 0, 2: dim * 8 + 8 + 8 * dim + dim, 3: dim * 8 + 8 + 8 * dim + dim}
    assert count(codec.quantizer) == quantizer[version]


@pytest.mark.parametrize(("version", "rate"), [(1, 25), (1, 50), (2, 25), (2, 50), (3, 25)])
@pytest.mark.usefixtures("narrow")
def test_rates_and_tokens_of_a_batch(version, rate):
    torch.manual_seed(version)
    codec = s3(version, rate).eval()
    if version == 1:
        codec.quantizer.codebook.normal_(std=0.1)
    codec.encoder.double()
    assert codec.sample_rate == 16_000 and codec.frame_rate == rate
    assert codec.vocab == ((4096,) if version == 1 else (6561,))
    hop = codec.hop_length
    lengths = torch.tensor([1, hop - 1, hop, hop + 1, 10 * hop + 3])
    wave = 0.1 * torch.randn(len(lengths), 1, int(lengths.max())).double()
    batch = codec.encode(wave, lengths)
    for item, length in enumerate(lengths.tolist()):
        single = codec.encode(wave[item : item + 1, :, :length])
        assert single.ids.shape == (1, -(-length // hop), 1)
        assert torch.equal(batch.ids[item, : single.ids.shape[1]], single.ids[0])
    assert len(batch.ids.unique()) > 3


@pytest.mark.usefixtures("narrow")
def test_a_bundle_gives_the_same_tokens_and_no_waveform(tmp_path):
    torch.manual_seed(0)
    codec = s3().eval()
    save(codec, tmp_path / "s3")
    loaded = load(tmp_path / "s3")
    wave = 0.1 * torch.randn(1, 1, 4000)
    tokens = loaded.encode(wave)
    assert torch.equal(tokens.ids, codec.encode(wave).ids)
    for refused in (lambda: loaded.decode(tokens), lambda: list(loaded.decode_blocks([tokens]))):
        with pytest.raises(ValueError, match="only encodes") as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_levels_are_rounded_as_the_release_rounds_them():
    """0.999 tanh(x), not 1.001: latents between the two borders get another digit."""
    quantizer = FSQ(8, (3,) * 8, margin=-1e-3)
    border = torch.tensor([0.5]).atanh()
    latents = torch.stack([border - 4e-4, border + 4e-4, -border + 4e-4, 3 * border])
    latents = latents.expand(4, 8).unsqueeze(0)
    digits = (0.9990000128746033 * latents.tanh()).round() + 1
    expected = (digits * 3.0 ** torch.arange(8)).sum(-1, keepdim=True).long()
    assert torch.equal(quantizer.encode_ids(latents), expected)
    others = FSQ(8, (3,) * 8).encode_ids(latents)
    assert not torch.equal(others, expected)


def test_another_version_or_rate_is_refused():
    with pytest.raises(ValueError, match="version is 1, 2 or 3 and frame_rate 25 or 50, not 4"):
        s3(4)
    with pytest.raises(ValueError, match="not 2 and 75"):
        s3(2, 75)
