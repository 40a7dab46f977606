"""What is read of coarser scales: the codec's own sums, which no training of a generator moves."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.generators.embeddings.scales import ScaleEmbedding

SCALES = (1, 2, 3, 5)


def quantizer(codes=7, scales=SCALES, update="gradient", dim=6):
    inner = VectorQuantizer(dim, codes, update=update, kmeans_iterations=0, dead_below=0)
    torch.nn.init.normal_(inner._codebook.codes)
    return MultiScaleQuantizer(inner, scales)


def test_vectors_are_those_of_quantized_sums_by_torchs_own_interpolation():
    held = quantizer()
    embedding = ScaleEmbedding(held, 8)
    ids = held.encode_ids(torch.randn(2, 25, 6))
    for count, next_size, stop in ((1, 2, 4), (5, 3, 13), (14, 5, 38)):
        found = embedding(ids[:, :count])
        assert found.shape == (2, stop, 8)
        latents = held.decode_ids(ids[:, :count]).transpose(1, 2).unflatten(2, (5, 5))
        small = F.interpolate(latents, (next_size, next_size), mode="area")
        expected = embedding.linear(small.flatten(2).transpose(1, 2))
        torch.testing.assert_close(found[:, -(next_size**2) :], expected, atol=1e-6, rtol=1e-5)
        longer = embedding(ids[:, :14])[:, :stop]  # a product of another shape rounds otherwise
        torch.testing.assert_close(longer, found, atol=1e-6, rtol=1e-5)
    assert embedding(ids[:, :0]).shape == (2, 0, 8)
    with pytest.raises(ValueError, match="no scale comes after the 4 of these ids"):
        embedding(ids)
    with pytest.raises(ValueError, match="4 ids do not fill whole scales"):
        embedding(ids[:, :4])


def test_a_training_leaves_the_quantizer_as_it_is():
    embedding = ScaleEmbedding(quantizer(update="ema"), 8).train()
    before = {name: value.clone() for name, value in embedding.quantizer.state_dict().items()}
    optimizer = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=0.5)
    embedding(torch.randint(0, 7, (2, 14, 1))).square().mean().backward()
    optimizer.step()
    after = embedding.quantizer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not embedding.quantizer.training and embedding.training
    assert [name for name, p in embedding.named_parameters() if p.requires_grad] == [
        "linear.weight",
        "linear.bias",
    ]


def test_it_takes_the_weights_of_a_trained_codec():
    trained, embedding = quantizer(), ScaleEmbedding(quantizer(), 8)
    ids = torch.randint(0, 7, (1, 14, 1))
    embedding.load_codec_weights(trained)
    with torch.no_grad():
        found = embedding(ids)
        assert torch.equal(found, embedding.linear(trained.sums_before(ids)))
        trained.phi[0].weight.zero_()  # it has weights of its own
        assert torch.equal(embedding(ids), found)


def test_another_quantizer_is_refused():
    embedding = ScaleEmbedding(quantizer(), 8)
    before = embedding.quantizer.state_dict()["inner._codebook.codes"].clone()
    with pytest.raises(ValueError, match="a multi-scale quantizer is needed, got a FSQ"):
        embedding.load_codec_weights(FSQ(3, (3, 3, 3)))
    for other in (quantizer(8), quantizer(scales=(1, 2, 4, 5)), quantizer(dim=5)):
        with pytest.raises(ValueError, match="the codec has scales .* set its quantizer"):
            embedding.load_codec_weights(other)
    other = MultiScaleQuantizer(FSQ(6, (7,)), SCALES)
    assert other.vocab == (7,)
    with pytest.raises(ValueError, match="the codec's quantizer is of another kind"):
        embedding.load_codec_weights(other)
    assert torch.equal(embedding.quantizer.state_dict()["inner._codebook.codes"], before)
