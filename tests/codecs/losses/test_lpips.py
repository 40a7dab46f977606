"""LPIPS: that of torchmetrics over the same random VGG-16, and what it refuses."""

import pytest
import torch
from torch import nn

from intaglio.codecs.losses.lpips import CHANNELS, LPIPS, VGG16, channel_weights


@pytest.fixture(scope="module")
def layers():
    """VGG-16's convolutions in torchvision's order, with random weights."""
    generator = torch.Generator().manual_seed(5)
    layers, width = [], 3
    for stage in CHANNELS:
        for size in stage:
            convolution = nn.Conv2d(width, size, 3, padding=1)
            with torch.no_grad():
                convolution.weight.normal_(0, (2 / 9 / width) ** 0.5, generator=generator)
                convolution.bias.normal_(0, 0.1, generator=generator)
            layers += [convolution, nn.ReLU()]
            width = size
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def file(layers, tmp_path_factory):
    """A file like torchvision's, with something of the classifier in it."""
    state = {f"features.{name}": value for name, value in layers.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, path)
    return str(path)


@pytest.fixture(scope="module")
def distance(file):
    return LPIPS(file)


def images(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(2, 3, size, size + 5, generator=generator) - 1
    return x, (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


@pytest.mark.parity
def test_distances_are_those_of_torchmetrics(distance, layers, monkeypatch):
    from torchmetrics.functional.image import lpips

    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda net, pretrained: layers)
    reference = lpips._LPIPS(net="vgg")
    for size in (16, 33):
        x, y = images(size)
        with torch.no_grad():
            expected = reference(x, y).flatten()
        assert expected.min() > 0.01
        torch.testing.assert_close(distance.distances(x, y), expected, rtol=1e-4, atol=0)


def test_maps_are_those_before_the_poolings(distance, layers):
    """Of torchvision's layers 3, 8, 15, 22 and 29, over ImageNet's mean and standard deviation."""
    x, _ = images(32)
    y = (x / 2 + 0.5 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    maps = distance.network(x)
    assert [one.shape[1] for one in maps] == [64, 128, 256, 512, 512]
    assert [one.shape[2] for one in maps] == [32, 16, 8, 4, 2]
    for found, last in zip(maps, (3, 8, 15, 22, 29), strict=True):
        with torch.no_grad():
            torch.testing.assert_close(found, layers[: last + 1](y), rtol=1e-3, atol=1e-3)


def test_the_channels_have_the_learned_weights():
    """Golden: sums of the five groups in the release, version 0.1."""
    weights = channel_weights()
    assert [len(group) for group in weights] == [64, 128, 256, 512, 512]
    sums = [sum(group) for group in weights]
    assert sums == pytest.approx([6.926, 8.858, 17.515, 51.521, 47.035], abs=1e-3)
    assert min(map(min, weights)) > 0


def test_it_is_frozen_and_only_the_output_gets_a_gradient(distance):
    x, y = images(16)
    output, target = x.requires_grad_(), y.requires_grad_()
    distance.train()(output, target).backward()
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    assert not distance.network.training and target.grad is None
    assert output.grad.isfinite().all() and output.grad.abs().max() > 0
    assert distance(y, y) == 0
    both, second = distance.distances(output, target), distance(output[1:], target[1:])
    torch.testing.assert_close(both[1], second, rtol=1e-5, atol=0)


def test_what_it_cannot_do_is_reported(distance, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"sides of 16 pixels, got \[15, 20\]"):
        distance(*images(15))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match="checkpoints/vgg16-397923af.pth does not exist; .* put it there, or name it",
    ):
        LPIPS()
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"no tensor features.0.bias; .* vgg16-397923af.pth"):
        VGG16(str(tmp_path / "other.pth"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="torchmetrics"):
        channel_weights()
