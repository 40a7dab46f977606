import math

import pytest
import torch

from intaglio.codecs.quantizers.dimensionwise import DimensionwiseQuantizer, normal_centroids


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(2, [-1.26018, -0.32466, 0.32466, 1.26018]), (6, [-2.43710, -1.99424, -1.76421])],
)
def test_centroids(bits, expected):
    centroids = normal_centroids(2**bits, 3.0)
    assert centroids[: len(expected)].tolist() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(centroids, -centroids.flip(0))


@pytest.mark.parametrize(
    ("bits", "expected"), [(2, [-2.10031, -0.54110, 0.54110, 2.10031]), (6, [-4.06183, -3.32373])]
)
def test_values_are_centroids_in_units_of_the_latents(bits, expected):
    quantizer = DimensionwiseQuantizer(1, bits)
    values = quantizer.decode_ids(torch.arange(len(expected)).view(1, -1, 1))
    assert values.flatten().tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("bits", "decibels", "information"), [(2, 8.02, 1.694), (6, 31.83, 5.724)])
def test_noise_and_information_of_normal_latents(bits, decibels, information):
    """By integration; draws of 100,000 differ from it by 0.1 dB."""
    quantizer = DimensionwiseQuantizer(1, bits)
    latents = torch.linspace(-8, 8, 100_001).view(1, -1, 1)
    weight = (-latents.double().square() / 2).exp()
    weight /= weight.sum()
    quantized = quantizer(latents)
    error = (weight * (quantized.values - latents).square()).sum().item()
    assert -10 * math.log10(error) == pytest.approx(decibels, abs=0.01)
    shares = torch.zeros(2**bits, dtype=torch.float64)
    shares.index_add_(0, quantized.ids.flatten(), weight.flatten())
    assert torch.special.entr(shares).sum() / math.log(2) == pytest.approx(information, abs=2e-3)


def test_the_nearest_centroid_is_taken_and_far_latents_go_to_the_outermost():
    quantizer = DimensionwiseQuantizer(2, 4)
    latents = torch.linspace(-9, 9, 1000).view(1, -1, 1).expand(1, 1000, 2)
    points = quantizer.decode_ids(torch.arange(16).view(1, 16, 1).expand(1, 16, 2))[0, :, 0]
    expected = (latents.unsqueeze(-1) - points).abs().argmin(-1)
    ids = quantizer.encode_ids(latents)
    assert torch.equal(ids, expected)
    assert ids[0, 0].tolist() == [0, 0] and ids[0, -1].tolist() == [15, 15]


def test_statistics_shift_and_scale_each_dimension():
    plain, fitted = DimensionwiseQuantizer(3, 5), DimensionwiseQuantizer(3, 5)
    mean, std = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 2.0, 4.0])
    fitted.fit(mean, std)
    latents = torch.randn(2, 50, 3)
    assert fitted.vocab == (32, 32, 32)
    quantized, expected = fitted(latents * std + mean), plain(latents)
    same = quantized.ids == expected.ids
    assert same.float().mean() > 0.99  # but for ties
    torch.testing.assert_close(
        quantized.values[same], (expected.values * std + mean)[same], atol=1e-5, rtol=1e-5
    )
    assert {"mean", "std"} == set(fitted.state_dict())


def test_the_gradient_passes_straight_through():
    latents = torch.randn(1, 4, 3, requires_grad=True)
    weight = torch.randn(1, 4, 3)
    (DimensionwiseQuantizer(3)(latents).values * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)


def test_bad_statistics_and_sizes_are_refused():
    quantizer = DimensionwiseQuantizer(3)
    with pytest.raises(ValueError, match=r"must be \[3\], got \[2\] and \[3\]"):
        quantizer.fit(torch.zeros(2), torch.ones(3))
    with pytest.raises(ValueError, match="standard deviations above 0"):
        quantizer.fit(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="1 to 10 bits"):
        DimensionwiseQuantizer(3, 11)
