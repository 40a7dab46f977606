"""Dual quantization by hand, in training, and what it refuses."""

import pytest
import torch

from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer

DIM = 6


def book(size=16, **changes):
    return FactorizedVectorQuantizer(DIM, size, codebook_dim=3, **changes)


def dual(levels=3, **changes):
    books = [book() for _ in range(levels - 1)]
    return DualQuantizer(book(32), ResidualQuantizer(books, through_levels=True), **changes)


def test_the_acoustic_levels_quantize_what_the_semantic_ones_leave():
    quantizer, latents = dual().eval(), torch.randn(2, 5, 2 * DIM)
    first, second = latents[..., :DIM], latents[..., DIM:]
    with torch.no_grad():
        said = quantizer.semantic.encode_ids(first)
        meaning = quantizer.semantic.decode_ids(said)
        detail = quantizer.acoustic.encode_ids(second - meaning)
        ids = torch.cat([said, detail], dim=-1)
        values = meaning + quantizer.acoustic.decode_ids(detail)
        result = quantizer(latents)
    assert torch.equal(quantizer.encode_ids(latents), ids)
    assert torch.equal(result.ids, ids)
    assert quantizer.vocab == (32, 16, 16) and quantizer.level_groups == (1, 1, 1)
    assert (quantizer.input_dim, quantizer.dim) == (2 * DIM, DIM)
    torch.testing.assert_close(quantizer.decode_ids(ids), values)
    torch.testing.assert_close(result.values, values)
    torch.testing.assert_close(result.of_levels(True), meaning)
    torch.testing.assert_close(quantizer.decode_ids(said), meaning)
    for levels in (1, 2, 3):
        assert torch.equal(quantizer.encode_levels(latents, levels), ids[..., :levels])


def test_losses_are_means_over_all_levels():
    quantizer, latents = dual(levels=4).eval(), torch.randn(2, 5, 2 * DIM)
    first = quantizer.semantic(latents[..., :DIM])
    rest = quantizer.acoustic(latents[..., DIM:] - first.values)
    for name in ("commitment", "codebook"):
        expected = first.losses[name] / 4 + 3 * rest.losses[name] / 4
        torch.testing.assert_close(quantizer(latents).losses[name], expected)


def test_a_mask_leaves_positions_out_of_the_losses():
    quantizer, latents = dual().eval(), torch.randn(1, 5, 2 * DIM)
    mask = torch.arange(5).unsqueeze(0) < 3
    masked = quantizer(latents, mask).losses["commitment"]
    torch.testing.assert_close(masked, quantizer(latents[:, :3]).losses["commitment"])


def test_each_half_learns_from_its_own_latents():
    """The semantic half nothing from what the acoustic one has left to do."""
    quantizer, latents = dual().train(), torch.randn(2, 5, 2 * DIM, requires_grad=True)
    result = quantizer(latents)
    acoustic = result.values - result.semantic
    [gradient] = torch.autograd.grad(acoustic.square().sum(), latents, retain_graph=True)
    assert not gradient[..., :DIM].any() and gradient[..., DIM:].any()
    [gradient] = torch.autograd.grad(result.semantic.square().sum(), latents, retain_graph=True)
    assert gradient[..., :DIM].any() and not gradient[..., DIM:].any()
    (result.values.square().sum() + sum(result.losses.values())).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quantizer.parameters())


def test_some_items_of_a_training_are_decoded_from_semantic_levels_alone():
    torch.manual_seed(1)
    quantizer, latents = dual(semantic_only=0.5).train(), torch.randn(40, 3, 2 * DIM)
    result = quantizer(latents)
    alone = (result.values == result.semantic).all(-1).all(-1)
    assert 8 < alone.sum() < 32
    quantizer.eval()
    assert not (quantizer(latents).values == result.semantic).all(-1).all(-1).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="semantic_only is a share in"):
        dual(semantic_only=1.5)
    with pytest.raises(ValueError, match="strides of 1, got"):
        DualQuantizer(book(), book(stride=2))
    with pytest.raises(ValueError, match="two of one latent size"):
        DualQuantizer(book(), FSQ(DIM + 2, (5, 5)))
    with pytest.raises(ValueError, match="DualQuantizer"):
        dual().encode_ids(torch.randn(1, 3, DIM))
