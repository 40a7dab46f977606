"""Perceptual distance: its formula on any features, and the network that a package ships."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from intaglio.codecs.losses.perceptual import EfficientNetLite, FeatureNetwork, PerceptualLoss


class Planes(FeatureNetwork):
    """The image itself, and its squares at half the size."""

    def forward(self, x):
        return [1 * x, F.avg_pool2d(x, 2).square()]


def test_by_hand():
    a, b = torch.rand(2, 2, 3, 4, 4).unbind()
    expected = torch.zeros(2)
    weighted = torch.zeros(2)
    weights = [[1.0, 2.0, 0.0], [0.5, 0.5, 3.0]]
    for number, (x, y) in enumerate(zip(Planes()(a), Planes()(b), strict=True)):
        for item in range(2):
            rows, columns = x.shape[2:]
            for row in range(rows):
                for column in range(columns):
                    u, v = x[item, :, row, column], y[item, :, row, column]
                    squares = (u / u.norm() - v / v.norm()) ** 2
                    expected[item] += squares.sum() / (rows * columns)
                    share = squares @ torch.tensor(weights[number])
                    weighted[item] += share / (rows * columns)
    loss = PerceptualLoss(Planes())
    torch.testing.assert_close(loss.distances(a, b), expected)
    torch.testing.assert_close(loss(a, b), expected.mean())
    loss = PerceptualLoss(Planes(), weights=weights)
    torch.testing.assert_close(loss.distances(a, b), weighted)


def test_only_the_output_gets_a_gradient_and_zeros_no_infinite_one():
    output = torch.rand(1, 3, 4, 4)
    output[..., 0] = 0
    output.requires_grad_()
    target = torch.rand(1, 3, 4, 4, requires_grad=True)
    PerceptualLoss(Planes())(output, target).backward()
    assert target.grad is None
    assert output.grad.isfinite().all() and output.grad.abs().max() > 0


def test_a_network_stays_in_evaluation_mode():
    loss = PerceptualLoss(Planes()).train()
    assert loss.training and not loss.network.training


class Weighted(Planes):
    def __init__(self):
        super().__init__()
        self.layer = nn.BatchNorm2d(3)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


def test_checkpoints_do_not_hold_the_network_and_those_that_do_are_read():
    module = nn.ModuleDict({"loss": PerceptualLoss(Weighted()), "own": nn.Linear(2, 2)})
    state = copy.deepcopy(module.state_dict())
    assert list(state) == ["own.weight", "own.bias"]
    with torch.no_grad():
        module["own"].weight.zero_()
        module["loss"].network.layer.weight.fill_(7)
    module.load_state_dict(state)
    assert module["own"].weight.any() and (module["loss"].network.layer.weight == 7).all()
    older = nn.ModuleDict(
        {"loss": nn.ModuleDict({"network": nn.ModuleDict()}), "own": module["own"]}
    )
    older["loss"]["network"]["layer"] = nn.BatchNorm2d(3)
    module.load_state_dict(older.state_dict())
    assert (module["loss"].network.layer.weight == 1).all()
    with pytest.raises(RuntimeError, match="Missing key.*own"):
        module.load_state_dict({})


@pytest.fixture(scope="module")
def efficient():
    pytest.importorskip("efficientnet_lite_pytorch")
    return EfficientNetLite()


def test_the_shipped_network_is_frozen_and_orders_damages(efficient):
    loss = PerceptualLoss(efficient).train()
    assert not any(p.requires_grad for p in loss.parameters())
    assert not any(module.training for module in efficient.modules())
    positions = torch.linspace(-3, 3, 64)
    x = torch.sin(positions)[:, None] * torch.cos(2 * positions)
    x = torch.stack([x, x.T, -x]).unsqueeze(0)
    weak, strong = (
        (x + share * torch.randn_like(x)).clamp(-1, 1).requires_grad_() for share in (0.02, 0.3)
    )
    tensors = [*efficient.parameters(), *efficient.buffers()]
    before = [value.clone() for value in tensors]
    distances = [loss(image, x) for image in (x, weak, strong)]
    assert distances[0] == 0 < distances[1] < distances[2]
    distances[2].backward()
    assert strong.grad.isfinite().all() and strong.grad.abs().max() > 0
    assert all(map(torch.equal, before, tensors)) and len(before) > 100


def test_the_shipped_network_knows_what_it_saw(efficient):
    """Sizes of the tapped maps, and the scaling of bytes: (pixel - 127) / 128."""
    sizes = [tuple(f.shape[1:]) for f in efficient(torch.zeros(1, 3, 64, 64))]
    assert sizes == [(16, 64, 64), (24, 32, 32), (40, 16, 16), (112, 8, 8), (320, 4, 4)]
    byte = torch.tensor([0.0, 127.0, 255.0]).view(1, 3, 1, 1).expand(-1, -1, 128, 128)
    fitted = efficient.fitted(byte / 127.5 - 1)
    torch.testing.assert_close(fitted, (byte - 127) / 128, atol=1e-6, rtol=0)
    assert efficient.fitted(torch.zeros(2, 3, 100, 60)).shape == (2, 3, 128, 128)


def test_images_may_be_of_mixed_precision(efficient):
    """Half as large as they are compared: CPUs resize no bfloat16."""
    pair = torch.rand(2, 1, 3, 64, 64)
    whole, mixed = PerceptualLoss(efficient)(*pair), PerceptualLoss(efficient)(*pair.bfloat16())
    torch.testing.assert_close(mixed, whole, rtol=0.05, atol=0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ModuleNotFoundError, match=r"intaglio\[metrics\]"):
        EfficientNetLite()
