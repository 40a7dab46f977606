"""Metrics of images: identities, scikit-image's SSIM, and distances that order distortions."""

import math

import pytest
import torch

from intaglio.data.image_transforms import to_pixels
from intaglio.data.synthetic.images import shapes_image
from intaglio.recipes.evaluation.image.metrics import (
    PSNR,
    SSIM,
    FrechetDistance,
    KernelDistance,
    PerceptualDistance,
    frechet_distance,
    kernel_distance,
)
from intaglio.recipes.evaluation.image.selection import select_image_metrics
from intaglio.recipes.evaluation.items import Item, ItemSet
from intaglio.recipes.evaluation.scores import Pair


def images(pictures):
    return ItemSet([Item(str(number), one) for number, one in enumerate(pictures)])


def pattern(height, width):
    """A picture and another, by integer arithmetic alone."""
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    c = torch.arange(3).view(3, 1, 1)
    one = (y * 7 + x * 5 + c * 40 + (x * y) % 13 * 4) % 256
    other = (one * 7 // 8 + (x * 3 + y * 11) % 29).clamp(0, 255)
    return Pair(one.byte(), other.byte())


def test_psnr_of_a_constant_offset():
    grey = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    for offset in (1, 20):
        assert PSNR()(Pair(grey, grey + offset)) == pytest.approx(20 * math.log10(255 / offset))
    with pytest.raises(ValueError, match="copy"):
        PSNR()(Pair(grey, grey))
    light, dark = torch.tensor([255]), torch.tensor([0])  # differences must not wrap around
    pair = Pair(light.byte().expand(3, 4, 4), dark.byte().expand(3, 4, 4))
    assert PSNR()(pair) == 0


@pytest.mark.parametrize(
    ("size", "golden"), [((24, 31), 0.940034201126401), ((11, 40), 0.9335625442003505)], ids=str
)
def test_ssim_is_that_of_scikit_image(size, golden):
    """Golden: scikit-image with gaussian_weights, sigma 1.5, population covariance, range 255."""
    assert SSIM()(pattern(*size)) == pytest.approx(golden, abs=1e-9)
    assert SSIM()(Pair(pattern(*size).reference, pattern(*size).reference)) == 1
    with pytest.raises(ValueError, match="11"):
        SSIM()(pattern(10, 40))


def test_frechet_distance_of_shifted_and_scaled_distributions():
    x = torch.randn(4000, 3, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + shift) == pytest.approx(5.25, abs=1e-9)
    expected = x.T.cov().trace() + x.mean(0).square().sum()  # (3 - 2)^2 times
    assert frechet_distance(2 * x, 3 * x) == pytest.approx(float(expected), rel=1e-6)


def test_kernel_distance_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(200):
        x, y = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
        draws.append(kernel_distance(x, y))
    error = torch.tensor(draws).std() / 200**0.5
    assert abs(torch.tensor(draws).mean()) < 4 * error
    assert kernel_distance(x, x) == 0 and kernel_distance(x, x + 2) > 1


@pytest.fixture(scope="module")
def shapes():
    generator = torch.Generator().manual_seed(2)
    return [to_pixels(shapes_image(40, number % 3, generator)) for number in range(12)]


def blurred(pixels, times):
    values = pixels.float().unsqueeze(0)
    for _ in range(times):
        values = torch.nn.functional.avg_pool2d(
            torch.nn.functional.pad(values, (1,) * 4, mode="replicate"), 3, 1
        )
    return values[0].round().byte()


def test_features_order_distortions(shapes):
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'intaglio[metrics]'")
    originals = images(shapes)
    metrics = (PerceptualDistance(), KernelDistance())
    for metric in metrics:
        means = [
            metric.score(originals, images([blurred(one, times) for one in shapes])).mean
            for times in (0, 1, 4)
        ]
        assert abs(means[0]) < 1e-6 < means[1] < means[2], metric.name
    single = PerceptualDistance()(Pair(shapes[0], blurred(shapes[0], 2)))
    score = PerceptualDistance().score(images(shapes[:1]), images([blurred(shapes[0], 2)]))
    assert score.mean == single


def test_a_biased_distance_is_not_given(shapes):
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'intaglio[metrics]'")
    few, full = FrechetDistance(2), FrechetDistance()
    many = images(shapes)
    score = few.score(many, images([blurred(one, 2) for one in shapes]))
    assert score.mean > 0.01 and score.low is None and score.measured == 12
    absent = full.score(many, many)
    assert absent.mean is None and "fewer than 320 images" in absent.reason
    one = KernelDistance().score(images(shapes[:1]), images(shapes[:1]))
    assert one.mean is None and one.failures == 1


@pytest.mark.parity
def test_frechet_distance_is_that_of_torchmetrics():
    """Also with fewer items than dimensions, where another matrix is decomposed."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Given(torch.nn.Module):
        num_features = 12

        def forward(self, rows):
            return rows

    mixing = torch.randn(12, 12, dtype=torch.float64)
    for count in (9, 300):
        x = torch.randn(count, 12, dtype=torch.float64) @ mixing
        y = 0.7 * x.flip(1) + 0.5
        reference = FrechetInceptionDistance(Given()).set_dtype(torch.float64)
        reference.update(x, real=True)
        reference.update(y, real=False)
        assert frechet_distance(x, y) == pytest.approx(float(reference.compute()), rel=1e-4)
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_names_say_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # weights that lie there add metrics
    names = [metric.name for metric in select_image_metrics()]
    assert names == [
        *("psnr", "ssim", "lpips-lite", "rKID[effnet-lite0@128]"),
        *("rFD[effnet-lite0@128,pca64]", "rFD[effnet-lite0@128]"),
    ]
    assert [m.name for m in select_image_metrics(["rkid", "psnr"])] == [
        "psnr",
        "rKID[effnet-lite0@128]",
    ]
    with pytest.raises(ValueError, match="unknown metric fid; of images there are psnr.* rfid"):
        select_image_metrics(["fid"])
