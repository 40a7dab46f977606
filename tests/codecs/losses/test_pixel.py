"""Distances of pixels, against slow formulas."""

import json
import math

import pytest
import torch

from intaglio.codecs.losses.pixel import PixelLoss, SSIMLoss, ssim
from intaglio.codecs.part import build, describe

A = torch.tensor([[[[0.5, -0.5]]]])
B = torch.tensor([[[[0.2, 0.5]]]])


@pytest.mark.parametrize(
    "loss, expected",
    [
        (PixelLoss(), (0.3 + 1) / 2),
        (PixelLoss("l2"), (0.09 + 1) / 2),
        (PixelLoss("charbonnier", eps=0.4), (0.5 + math.sqrt(1.16)) / 2),
    ],
    ids=["l1", "l2", "charbonnier"],
)
def test_by_hand(loss, expected):
    for loss_ in (loss, build(json.loads(json.dumps(describe(loss))))):
        torch.testing.assert_close(loss_(A, B), torch.tensor(expected))


def test_charbonnier_has_a_gradient_where_images_are_equal():
    output = A.clone().requires_grad_()
    PixelLoss("charbonnier")(output, A).backward()
    assert torch.equal(output.grad, torch.zeros_like(A))
    assert float(PixelLoss("charbonnier")(A, A)) == pytest.approx(1e-3)


def slow_ssim(a, b, data_range):
    """The definition, window by window, in double precision, of one channel."""
    weights = [math.exp(-((i - 5) ** 2) / (2 * 1.5**2)) for i in range(11)]
    window = torch.tensor(weights, dtype=torch.float64)
    window = window.outer(window) / window.sum() ** 2
    low, high = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for row in range(a.shape[0] - 10):
        for column in range(a.shape[1] - 10):
            x = a[row : row + 11, column : column + 11].double()
            y = b[row : row + 11, column : column + 11].double()
            mean_x, mean_y = (window * x).sum(), (window * y).sum()
            var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
            both = (window * (x - mean_x) * (y - mean_y)).sum()
            light = (2 * mean_x * mean_y + low) / (mean_x**2 + mean_y**2 + low)
            values.append(light * (2 * both + high) / (var_x + var_y + high))
    return torch.stack(values).mean()


def test_ssim_is_the_definition():
    """The window of scikit-image's gaussian_weights, at the positions where it lies inside."""
    a = torch.rand(2, 3, 13, 15) * 2 - 1
    b = (a + 0.3 * torch.randn_like(a)).clamp(-1, 1)
    for data_range in (2.0, 1.0):
        expected = torch.stack(
            [
                torch.stack([slow_ssim(a[i, c], b[i, c], data_range) for c in range(3)]).mean()
                for i in range(2)
            ]
        )
        found = ssim(a, b, SSIMLoss().window, data_range=data_range)
        torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-4)
    loss = SSIMLoss()(a, b)
    torch.testing.assert_close(loss, 1 - ssim(a, b, SSIMLoss().window, data_range=2.0).mean())


def test_the_ssim_of_an_image_with_itself_and_its_gradient():
    a = torch.rand(2, 3, 12, 12) * 2 - 1
    assert float(SSIMLoss()(a, a)) == pytest.approx(0, abs=1e-5)
    output = (0.5 * a).requires_grad_()
    SSIMLoss()(output, a).backward()
    assert (output.grad.abs().amax(1) > 0).all()
    assert list(SSIMLoss().state_dict()) == []


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(RuntimeError, match="[Kk]ernel size"):
        SSIMLoss()(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
