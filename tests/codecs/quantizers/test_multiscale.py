import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer, Resize, nearest_tick
from intaglio.codecs.quantizers.vq import VectorQuantizer

SCALES = (1, 2, 3, 5)


def plain(codes=32, **changes):
    options = {"update": "gradient", "kmeans_iterations": 0, "dead_below": 0.0}
    return VectorQuantizer(6, codes, **(options | changes))


def multiscale(**changes):
    return MultiScaleQuantizer(plain(), SCALES, **changes)


def test_convolutions_of_the_ten_scales_and_their_ids():
    assert [nearest_tick(number, 10, 4) for number in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert [nearest_tick(number, 3, 1) for number in range(3)] == [0, 0, 0]
    assert [nearest_tick(number, 4, 2) for number in range(4)] == [0, 0, 1, 1]
    assert nearest_tick(0, 1, 4) == 0
    quantizer = MultiScaleQuantizer(plain(4096)).eval()
    assert quantizer.chosen == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert quantizer.positions == (1, 5, 14, 30, 55, 91, 155, 255, 424, 680)
    ids = quantizer.encode_ids(torch.randn(1, 256, 6))
    assert ids.shape == (1, 680, 1) and quantizer.vocab == (4096,)
    assert quantizer.decode_ids(ids).shape == (1, 256, 6)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 13, 16])
def test_sizes_change_as_torch_interpolates(size):
    resize = Resize(16, size)
    grid = torch.randn(2, 3, 16, 16)
    small = F.interpolate(grid, (size, size), mode="area")
    torch.testing.assert_close(resize.down(grid), small)
    large = F.interpolate(small, (16, 16), mode="bicubic")
    torch.testing.assert_close(resize.up(small), large, atol=1e-5, rtol=1e-5)


def reference(quantizer, latents):
    """The published procedure with torch's own interpolation."""
    grid = latents.transpose(1, 2).unflatten(2, (5, 5))
    rest, total, ids, sums = grid, 0, [], []
    for number, size in enumerate(SCALES):
        small = F.interpolate(rest, (size, size), mode="area") if size < 5 else rest
        vectors = small.flatten(2).transpose(1, 2)
        found = torch.cdist(vectors, quantizer.inner.codebook.expand(len(grid), -1, -1)).argmin(-1)
        codes = quantizer.inner.codebook[found].transpose(1, 2).unflatten(2, (size, size))
        large = F.interpolate(codes, (5, 5), mode="bicubic") if size < 5 else codes
        convolution = quantizer.phi[quantizer.chosen[number]]
        large = large + quantizer.share * (convolution(large) - large)
        rest, total = rest - large, total + large
        ids.append(found)
        sums.append(total)
    return torch.cat(ids, 1), sums, grid


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_ids_values_and_losses_are_those_of_the_published_procedure(share):
    quantizer = multiscale(share=share).train()
    latents = torch.randn(3, 25, 6)
    ids, sums, grid = reference(quantizer, latents)
    output = quantizer(latents)
    assert torch.equal(output.ids[..., 0], ids)
    torch.testing.assert_close(output.values, sums[-1].flatten(2).transpose(1, 2))
    expected = torch.stack([(one - grid).square().mean() for one in sums]).mean()
    torch.testing.assert_close(output.losses["commitment"], expected)
    torch.testing.assert_close(output.losses["codebook"], expected)
    for number, end in enumerate(quantizer.positions):
        part = quantizer.decode_ids(output.ids[:, :end])
        torch.testing.assert_close(part, sums[number].flatten(2).transpose(1, 2))


def test_each_loss_moves_its_own_and_every_scale_has_one():
    quantizer = multiscale().train()
    latents = torch.randn(2, 25, 6, requires_grad=True)
    output = quantizer(latents)
    weight = torch.randn(2, 25, 6)
    parts = [latents, quantizer.inner.codebook, *quantizer.phi.parameters()]
    moved = [
        [
            grad is not None and bool(grad.abs().sum() > 0)
            for grad in torch.autograd.grad(loss, parts, allow_unused=True, retain_graph=True)
        ]
        for loss in (*output.losses.values(), (output.values * weight).sum())
    ]
    assert moved == [[True] + [False] * 9, [False] + [True] * 9, [True] + [False] * 9]
    (back,) = torch.autograd.grad((output.values * weight).sum(), latents)
    torch.testing.assert_close(back, weight)
    loss = quantizer(latents).losses["codebook"]
    (whole,) = torch.autograd.grad(loss, quantizer.phi[0].weight)
    last = F.mse_loss(quantizer.decode_ids(output.ids), latents.detach())
    (only_last,) = torch.autograd.grad(last, quantizer.phi[0].weight)
    assert (whole - only_last / len(SCALES)).abs().max() > 1e-4


def test_a_codebook_of_running_means_sees_all_scales_at_once():
    quantizer = MultiScaleQuantizer(VectorQuantizer(6, 16, kmeans_iterations=0), SCALES).train()
    codebook = quantizer.inner._codebook
    before = codebook.usage.clone()
    output = quantizer(torch.randn(4, 25, 6))
    assert codebook.updates == 1
    counts = torch.bincount(output.ids.flatten(), minlength=16)
    alive = 0.99 * before + 0.01 * counts >= quantizer.inner._codebook.dead_below
    torch.testing.assert_close(codebook.usage[alive], (0.99 * before + 0.01 * counts)[alive])
    quantizer.eval()(torch.randn(4, 25, 6))
    assert codebook.updates == 1


def test_statistics_of_each_scale():
    output = multiscale()(torch.randn(4, 25, 6))
    each = [output.stats.pop(f"perplexity_{number}") for number in range(1, 5)]
    torch.testing.assert_close(output.stats, {"perplexity": torch.stack(each).mean()})
    assert 1 <= each[0] <= 4 and each[3] > 5


def test_any_quantizer_can_be_the_inner_one():
    quantizer = MultiScaleQuantizer(BinaryQuantizer(6, 3, 2), SCALES).eval()
    latents = torch.randn(2, 25, 6)
    output = quantizer(latents)
    assert output.ids.shape == (2, 39, 2) and quantizer.vocab == (8, 8)
    assert torch.equal(quantizer.decode_ids(output.ids), output.values)


def test_what_is_no_whole_grid_or_scale_is_refused():
    quantizer = multiscale()
    with pytest.raises(ValueError, match="5 x 5 has 25 latents, got 24"):
        quantizer(torch.randn(1, 24, 6))
    with pytest.raises(
        ValueError, match=r"6 ids do not fill whole scales, which end at \[1, 5, 14, 39"
    ):
        quantizer.decode_ids(torch.zeros(1, 6, 1, dtype=torch.int64))
    mask = torch.ones(1, 25, dtype=torch.bool)
    quantizer(torch.randn(1, 25, 6), mask)
    mask[0, 24] = False
    with pytest.raises(ValueError, match="in part"):
        quantizer(torch.randn(1, 25, 6), mask)
    with pytest.raises(ValueError, match=r"got \[2, 1\]"):
        MultiScaleQuantizer(plain(), (2, 1))


def test_the_input_of_a_generator_are_the_sums_in_the_size_of_the_next_scale():
    quantizer = multiscale()
    ids, sums, _ = reference(quantizer, torch.randn(3, 25, 6))
    for number, end in enumerate(quantizer.positions[:-1]):
        expected = [
            F.interpolate(total, (size, size), mode="area").flatten(2).transpose(1, 2)
            for total, size in zip(sums[: number + 1], SCALES[1:], strict=False)
        ]
        found = quantizer.sums_before(ids[:, :end].unsqueeze(-1))
        torch.testing.assert_close(found, torch.cat(expected, dim=1))
    with pytest.raises(ValueError, match="no scale comes after the 4 of these ids"):
        quantizer.sums_before(ids.unsqueeze(-1))
