import pytest
import torch

from intaglio.codecs.quantizers.continuous import IdentityBottleneck, KLBottleneck


def test_a_bottleneck_has_no_ids():
    for bottleneck, size in ((KLBottleneck(3), 6), (IdentityBottleneck(3), 3)):
        assert bottleneck.vocab == () and bottleneck.dim == 3 and bottleneck.input_dim == size
        latents = torch.randn(2, 5, size)
        quantized = bottleneck(latents)
        assert quantized.values.shape == (2, 5, 3)
        for ids in (quantized.ids, bottleneck.encode_ids(latents)):
            assert ids.shape == (2, 5, 0) and ids.dtype == torch.int64
        with pytest.raises(ValueError, match="no ids to decode"):
            bottleneck.decode_ids(quantized.ids)


def test_evaluation_takes_the_mean_and_training_draws():
    bottleneck = KLBottleneck(4).eval()
    latents = torch.randn(3, 2000, 8)
    mean, log_variance = latents[..., :4], latents[..., 4:]
    assert torch.equal(bottleneck(latents).values, mean)
    noise = (bottleneck.train()(latents).values - mean) / (log_variance / 2).exp()
    assert noise.mean().abs() < 0.03 and (noise.std() - 1).abs() < 0.03
    normal = bottleneck.distribution(latents)
    draws = [normal.sample(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_the_divergence_is_torchs_summed_over_an_item():
    bottleneck = KLBottleneck(4)
    latents = torch.randn(3, 7, 8, requires_grad=True)
    normal = torch.distributions.Normal(latents[..., :4], (latents[..., 4:] / 2).exp())
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(normal, standard)
    loss = bottleneck(latents).losses["kl"]
    torch.testing.assert_close(loss, expected.sum() / 3)
    loss.backward()
    assert latents.grad.abs().min() > 0
    mask = torch.arange(7) < torch.tensor([[7], [2], [0]])
    torch.testing.assert_close(bottleneck(latents, mask).losses["kl"], expected[mask].sum() / 3)


def test_variances_are_clamped():
    bottleneck = KLBottleneck(1)
    latents = torch.tensor([[[0.0, 1e9], [0.0, -1e9]]])
    assert bottleneck.distribution(latents).log_variance.flatten().tolist() == [20, -30]
    assert bottleneck(latents).losses["kl"].isfinite()


def test_half_precision_comes_back_as_float32():
    for bottleneck in (KLBottleneck(4), IdentityBottleneck(8)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            quantized = bottleneck(torch.randn(1, 3, 8).bfloat16())
        assert quantized.values.dtype == torch.float32


def test_latents_without_variances_are_refused():
    with pytest.raises(ValueError, match=r"positions, 8\], got float32 \[1, 2, 4\]"):
        KLBottleneck(4)(torch.randn(1, 2, 4))
