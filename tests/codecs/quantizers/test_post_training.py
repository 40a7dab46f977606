"""A bottleneck while training, ids afterwards."""

import pytest
import torch

from intaglio.codecs.part import build, describe
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.dimensionwise import DimensionwiseQuantizer
from intaglio.codecs.quantizers.post_training import PostTrainingQuantizer


def latents(batch=2, positions=6, dim=3):
    return torch.randn(batch, positions, 2 * dim)


def test_in_training_it_is_the_bottleneck():
    quantizer, x = PostTrainingQuantizer(3), latents().requires_grad_()
    torch.manual_seed(1)
    quantized = quantizer(x)
    torch.manual_seed(1)
    free = KLBottleneck(3)(x)
    assert torch.equal(quantized.values, free.values)
    assert quantized.losses == free.losses and set(free.losses) == {"kl"}
    assert (quantizer.dim, quantizer.input_dim, quantizer.vocab) == (3, 6, (64,) * 3)
    assert quantized.ids.shape == (2, 6, 3) and "perplexity" in quantized.stats
    quantized.values.sum().backward()
    assert x.grad.abs().min() > 0


def test_afterwards_it_quantizes_the_means():
    quantizer = PostTrainingQuantizer(3, 4)
    for _ in range(3):
        quantizer(5 + 2 * latents())
    state = {name: value.clone() for name, value in quantizer.state_dict().items()}
    x = 5 + 2 * latents()
    quantized = quantizer.eval()(x)
    plain = DimensionwiseQuantizer(3, 4)
    plain.fit(quantizer.quantizer.mean, quantizer.quantizer.std)
    assert torch.equal(quantized.ids, plain.encode_ids(x[..., :3]))
    assert torch.equal(quantizer.encode_ids(x), quantized.ids)
    assert torch.equal(quantizer.decode_ids(quantized.ids), quantized.values)
    assert torch.equal(quantized.values, plain.decode_ids(quantized.ids))
    # variances do not count, and nothing is followed any more
    x[..., 3:] += 1
    assert torch.equal(quantizer.encode_ids(x), quantized.ids)
    assert all(torch.equal(state[name], value) for name, value in quantizer.state_dict().items())


def test_the_first_step_sets_the_statistics():
    quantizer, x = PostTrainingQuantizer(3), 4 + latents(8, 20)
    quantizer(x)
    flat = x[..., :3].reshape(-1, 3)
    torch.testing.assert_close(quantizer.quantizer.mean, flat.mean(0))
    torch.testing.assert_close(
        quantizer.quantizer.std, flat.std(0, correction=0), atol=1e-3, rtol=0
    )
    assert int(quantizer.updates) == 1


def test_later_steps_follow_by_hand():
    """Running means of values and of squares; the std is that of both together."""
    quantizer = PostTrainingQuantizer(1, decay=0.75)
    means, squares = [2.0, 6.0], []
    for mean in means:
        quantizer(torch.tensor([[[mean - 1, 0], [mean + 1, 0]]]))
        squares.append(mean**2 + 1)
    mean = 0.75 * means[0] + 0.25 * means[1]
    square = 0.75 * squares[0] + 0.25 * squares[1]
    assert float(quantizer.quantizer.mean) == pytest.approx(mean)
    assert float(quantizer.quantizer.std) == pytest.approx((square - mean**2) ** 0.5)


def test_masked_positions_count_for_nothing():
    quantizer, x = PostTrainingQuantizer(3), latents()
    mask = torch.arange(6) < torch.tensor([[6], [2]])
    other = PostTrainingQuantizer(3)
    quantizer(x, mask)
    x[~mask] = 99
    other(x, mask)
    assert torch.equal(quantizer.quantizer.mean, other.quantizer.mean)
    assert torch.equal(quantizer.quantizer.std, other.quantizer.std)


def test_values_that_are_not_finite_are_not_followed():
    quantizer = PostTrainingQuantizer(3)
    quantizer(latents())
    state = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(latents().masked_fill(torch.arange(6) == 0, float("nan")))
    assert all(torch.equal(state[name], value) for name, value in quantizer.state_dict().items())


def test_statistics_survive_a_bundle():
    quantizer = PostTrainingQuantizer(3, 4)
    quantizer(3 + latents())
    again = build(describe(quantizer))
    again.load_state_dict(quantizer.state_dict())
    x = 3 + latents()
    assert torch.equal(again.encode_ids(x), quantizer.encode_ids(x))
    for one in (quantizer, again):
        one(x)
    assert torch.equal(again.quantizer.mean, quantizer.quantizer.mean)


def test_latents_that_do_not_vary_are_finite():
    quantizer = PostTrainingQuantizer(2)
    quantizer(torch.ones(2, 5, 4))
    assert (quantizer.quantizer.std > 0).all()
    assert quantizer.eval()(torch.ones(1, 5, 4)).values.isfinite().all()


def test_latents_without_variances_are_refused():
    with pytest.raises(ValueError, match=r"positions, 6\], got float32 \[1, 4, 3\]"):
        PostTrainingQuantizer(3)(torch.randn(1, 4, 3))
