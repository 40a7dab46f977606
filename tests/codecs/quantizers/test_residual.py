import pytest
import torch

from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.product import ProductQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.residual_fsq import ResidualFSQ
from intaglio.codecs.quantizers.vq import VectorQuantizer


def rvq(levels=4, **options):
    quantizers = [VectorQuantizer(6, 32, kmeans_iterations=5) for _ in range(levels)]
    return ResidualQuantizer(quantizers, **options)


def factorized(strides=(1, 1, 1), **options):
    levels = [FactorizedVectorQuantizer(6, 32, codebook_dim=4, stride=s) for s in strides]
    return ResidualQuantizer(levels, through_levels=True, **options)


def grouped():
    return ProductQuantizer(
        [ResidualQuantizer([VectorQuantizer(3, 16, kmeans_iterations=3)] * 1) for _ in range(2)]
    )


ALL = [rvq, factorized, lambda: factorized((4, 2, 1)), grouped, lambda: ResidualFSQ(6, (5, 4))]


@pytest.mark.parametrize("make", ALL)
def test_ids_decode_to_the_quantized_values(make):
    quantizer = make()
    latents = torch.randn(3, 16, 6)
    quantizer(latents)  # codebooks start
    quantizer.eval()
    quantized = quantizer(latents)
    assert quantized.ids.shape == (3, 16 // quantizer.stride, len(quantizer.vocab))
    assert quantized.ids.dtype == torch.int64
    assert torch.equal(quantizer.encode_ids(latents), quantized.ids)
    torch.testing.assert_close(quantizer.decode_ids(quantized.ids), quantized.values)
    assert sum(quantizer.level_groups) == len(quantizer.vocab)
    assert (quantized.ids < torch.tensor(quantizer.vocab)).all()


@pytest.mark.parametrize("make", ALL)
def test_gradients_reach_the_latents(make):
    quantizer = make()
    quantizer(torch.randn(3, 16, 6))
    latents = torch.randn(3, 16, 6, requires_grad=True)
    quantizer(latents).values.square().sum().backward()
    assert latents.grad.abs().min() > 0


def test_the_gradient_of_a_sum_passes_straight_through_once():
    """Not once for each level, and the same for any dropout."""
    quantizer = rvq(dropout=1.0)
    latents = torch.randn(3, 16, 6, requires_grad=True)
    weight = torch.randn(3, 16, 6)
    (quantizer(latents).values * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)


@pytest.mark.parametrize("make", [rvq, factorized])
def test_every_level_has_a_commitment_gradient_of_its_own(make):
    """The release of EnCodec lost all but the first."""
    for level in range(3):
        quantizer = make()
        quantizer(torch.randn(4, 32, 6))
        latents = torch.randn(4, 32, 6, requires_grad=True)
        with torch.no_grad():
            residual = latents - sum(
                quantizer.levels[before].decode_ids(quantizer.encode_ids(latents)[..., [before]])
                for before in range(level)
            )
        residual = residual.requires_grad_()
        quantizer.levels[level](residual).losses["commitment"].backward()
        assert residual.grad.abs().sum() > 0
    loss = quantizer(latents).losses["commitment"]
    (whole,) = torch.autograd.grad(loss, latents)
    only_first = quantizer.levels[0](latents).losses["commitment"] / len(quantizer.levels)
    (first,) = torch.autograd.grad(only_first, latents)
    assert (whole - first).abs().max() > 1e-4


def test_each_level_brings_the_sum_nearer():
    quantizer = rvq()
    data = torch.randn(8, 64, 6)
    for _ in range(30):
        quantizer(data)
    quantizer.eval()
    ids = quantizer.encode_ids(data)
    errors = []
    for level in range(1, 5):
        assert torch.equal(quantizer.encode_levels(data, level), ids[..., :level])
        errors.append((quantizer.decode_ids(ids[..., :level]) - data).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_groups_of_a_finer_level_stand_in_time_order():
    quantizer = factorized((4, 2, 1)).eval()
    latents = torch.randn(2, 8, 6)
    ids = quantizer.encode_ids(latents)
    assert ids.shape == (2, 2, 7)
    assert quantizer.level_groups == (1, 2, 4)
    residual = latents
    for level, groups in zip(quantizer.levels, (slice(1), slice(1, 3), slice(3, 7)), strict=True):
        own = level.encode_ids(residual)
        assert torch.equal(ids[..., groups].reshape(2, -1, 1), own)
        residual = residual - level.decode_ids(own)


def test_a_stride_quantizes_the_mean():
    level = FactorizedVectorQuantizer(6, 32, stride=4).eval()
    latents = torch.randn(1, 8, 6)
    means = latents.view(1, 2, 4, 6).mean(2).repeat_interleave(4, dim=1)
    assert torch.equal(level.encode_ids(latents), level.encode_ids(means))
    values = level(latents).values.view(1, 2, 4, 6)
    assert torch.equal(values, values[:, :, :1].expand_as(values))


def test_a_factorized_code_is_found_by_direction_and_given_by_value():
    level = FactorizedVectorQuantizer(4, 3, codebook_dim=4).eval()
    with torch.no_grad():
        level.project_in.weight = torch.eye(4)
        level.project_out.weight = torch.eye(4)
        level.project_in.bias.zero_()
        level.project_out.bias.zero_()
        level.codebook.copy_(torch.tensor([[9.0, 0, 0, 0], [0.1, 0.1, 0, 0], [0, 0, 1, 0]]))
    latents = torch.tensor([[[1.0, 0.9, 0, 0], [0.2, 0, 0.1, 0]]])
    assert level.encode_ids(latents).flatten().tolist() == [1, 0]
    assert level(latents).values[0, 0].tolist() == pytest.approx([0.1, 0.1, 0, 0])


@pytest.mark.parametrize("one", [True, False])
def test_dropout_draws_every_depth(one):
    quantizer = rvq(dropout=1.0, one_depth=one)
    latents = torch.randn(64, 1, 6)
    drawn = torch.stack([quantizer._depth(latents) for _ in range(50)])
    assert drawn.unique().tolist() == [1, 2, 3, 4]
    assert (len(drawn[0].unique()) == 1) == one
    quantizer = rvq(dropout=1.0, depths=(2, 4))
    assert quantizer._depth(latents).unique().tolist() == [2, 4]
    half = rvq(dropout=0.5)
    assert (half._depth(latents)[32:] == 4).all() and (half._depth(latents)[:32] < 4).any()
    assert (quantizer.eval()._depth(latents) == 4).all()


def test_an_item_of_less_depth_is_the_sum_of_its_first_levels(monkeypatch):
    quantizer = factorized()
    latents = torch.randn(3, 5, 6)
    monkeypatch.setattr(quantizer, "_depth", lambda _: torch.tensor([1, 3, 2]))
    values = quantizer(latents).values
    monkeypatch.undo()
    ids = quantizer.eval().encode_ids(latents)
    for item, depth in enumerate([1, 3, 2]):
        torch.testing.assert_close(values[item], quantizer.decode_ids(ids[..., :depth])[item])


@pytest.mark.parametrize("make", ALL)
def test_masked_latents_have_no_influence(make):
    quantizer = make()
    quantizer(torch.randn(4, 16, 6))
    quantizer.eval()
    latents = torch.randn(2, 16, 6)
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[1, 8:] = False
    before = quantizer(latents, mask)
    latents[1, 8:] = 100.0
    after = quantizer(latents, mask)
    for name, loss in before.losses.items():
        torch.testing.assert_close(after.losses[name], loss)
    torch.testing.assert_close(after.stats["perplexity"], before.stats["perplexity"])


def test_levels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no levels"):
        ResidualQuantizer([])
    with pytest.raises(ValueError, match=r"one latent size, got \[6, 4\]"):
        ResidualQuantizer([FactorizedVectorQuantizer(6, 8), FactorizedVectorQuantizer(4, 8)])
    with pytest.raises(ValueError, match=r"strides \[1, 2\]"):
        factorized((1, 2))
    with pytest.raises(ValueError, match="do not fit 4 levels"):
        rvq(depths=(5,))
    with pytest.raises(ValueError, match=r"one stride, got \[2, 1\]"):
        ProductQuantizer([FactorizedVectorQuantizer(6, 8, stride=s) for s in (2, 1)])


def test_product_parts_see_their_own_share():
    quantizer = ProductQuantizer([ResidualFSQ(2, (5, 5), depth=2), ResidualFSQ(1, (7,), depth=1)])
    assert quantizer.dim == 3 and quantizer.vocab == (25, 25, 7)
    latents = torch.randn(1, 9, 3)
    ids = quantizer.encode_ids(latents)
    latents[..., 2] += 1.0
    assert torch.equal(quantizer.encode_ids(latents)[..., :2], ids[..., :2])
    assert not torch.equal(quantizer.encode_ids(latents)[..., 2], ids[..., 2])
