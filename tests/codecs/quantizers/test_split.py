"""Split quantization: by hand, in training, and what it refuses. The contract has its own tests."""

import pytest
import torch

from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer


def split(levels=3, **changes):
    books = [VectorQuantizer(4, 16, kmeans_iterations=0) for _ in range(levels)]
    return SplitQuantizer(6, ResidualQuantizer(books[:1]), ResidualQuantizer(books[1:]), **changes)


@torch.no_grad()
def test_both_halves_quantize_the_same_latents():
    quantizer, latents = split().eval(), torch.randn(2, 5, 6)
    semantic = latents @ quantizer.project_in["semantic"].weight.T
    acoustic = latents @ quantizer.project_in["acoustic"].weight.T
    ids = [quantizer.semantic.encode_ids(semantic), quantizer.acoustic.encode_ids(acoustic)]
    assert torch.equal(quantizer.encode_ids(latents), torch.cat(ids, dim=-1))
    parts = [
        half.decode_ids(of) @ quantizer.project_out[name].weight.T
        for of, (name, half) in zip(
            ids, (("semantic", quantizer.semantic), ("acoustic", quantizer.acoustic)), strict=True
        )
    ]
    torch.testing.assert_close(quantizer.decode_ids(torch.cat(ids, dim=-1)), parts[0] + parts[1])
    torch.testing.assert_close(quantizer.decode_ids(ids[0]), parts[0])
    result = quantizer(latents)
    torch.testing.assert_close(result.values, parts[0] + parts[1])
    torch.testing.assert_close(result.semantic, parts[0])
    torch.testing.assert_close(result.of_levels(True), parts[0])


def test_losses_are_means_over_all_levels():
    quantizer, latents = split(levels=4).eval(), torch.randn(2, 5, 6)
    halves = [
        half(quantizer.project_in[name](latents)).losses["commitment"]
        for name, half in (("semantic", quantizer.semantic), ("acoustic", quantizer.acoustic))
    ]
    expected = halves[0] / 4 + 3 * halves[1] / 4
    torch.testing.assert_close(quantizer(latents).losses["commitment"], expected)


def test_some_items_of_a_training_are_not_quantized():
    torch.manual_seed(1)
    quantizer, latents = split(bypass=0.5).train(), torch.randn(40, 3, 6)
    exact = sum(
        quantizer.project_out[name](quantizer.project_in[name](latents))
        for name in ("semantic", "acoustic")
    )
    bypassed = (quantizer(latents).values - exact).abs().amax((1, 2)) < 1e-6
    assert 8 < bypassed.sum() < 32
    quantizer.eval()
    assert ((quantizer(latents).values - exact).abs().amax((1, 2)) > 1e-3).all()


def test_gradients_reach_latents_and_projections():
    quantizer, latents = split().train(), torch.randn(2, 5, 6, requires_grad=True)
    quantizer(latents).values.square().sum().backward()
    assert latents.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quantizer.parameters())


def test_what_does_not_fit_is_refused():
    book = VectorQuantizer(4, 16)
    with pytest.raises(ValueError, match="a bypass in"):
        SplitQuantizer(6, book, book, bypass=1.5)
    with pytest.raises(ValueError, match="strides of 1"):
        SplitQuantizer(6, book, FactorizedVectorQuantizer(4, 16, codebook_dim=2, stride=2))
    with pytest.raises(ValueError, match="a loss of semantic levels needs a quantizer"):
        book(torch.randn(1, 3, 4)).of_levels(True)
