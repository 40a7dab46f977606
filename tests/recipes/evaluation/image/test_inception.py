"""Inception of the Frechet distance: features and resize of torch-fidelity, files it refuses."""

import pytest
import torch

from intaglio.recipes.evaluation.image.inception import Inception, resized


@pytest.fixture(scope="module")
def network(inception_file):
    return Inception(inception_file)


def pictures(height, width, count=1):
    y, x = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    c = torch.arange(3 * count).view(count, 3, 1, 1)
    return ((y * 7 + x * 5 + c * 40 + (x * y) % 13 * 4) % 256).byte()


@pytest.mark.parity
@pytest.mark.parametrize("size", [(40, 61), (330, 299)], ids=str)
def test_features_are_those_of_torch_fidelity(network, inception_file, size):
    module = pytest.importorskip(
        "torch_fidelity.feature_extractor_inceptionv3",
        reason="pip install torch-fidelity, which needs the torchvision of this torch",
    )
    reference = module.FeatureExtractorInceptionV3("inception", ["2048"], str(inception_file))
    pixels = pictures(*size)
    torch.testing.assert_close(network(pixels), *reference(pixels), rtol=1e-4, atol=1e-4)


def test_features_of_a_known_picture(network):
    """Golden: torch-fidelity 0.4.0 with the same weights and picture."""
    (found,) = network(pictures(40, 61))
    indices = [220, 614, 810, 1375, 1750, 1989]  # of each convolution of the last block
    golden = [1.36918056, 1.38847709, 1.13450503, 0.88899148, 0.93388981, 1.82954144]
    assert found.shape == (2048,) and found.dtype == torch.float32
    assert found[indices].tolist() == pytest.approx(golden, rel=1e-4)


def test_pictures_are_stretched_as_tensorflow_1_did():
    """From the upper left corner: the last pixel is repeated, and nothing is averaged."""
    x = torch.tensor([[0.0, 8.0, 4.0, 2.0]]).view(1, 1, 1, 4)
    assert resized(x, 8)[0, 0, 0].tolist() == [0, 4, 8, 6, 4, 3, 2, 2]
    assert resized(x, 2)[0, 0, 1].tolist() == [0, 4]
    assert torch.equal(resized(x.mT, 8), resized(x, 8).mT)


def test_the_network_is_frozen_and_takes_pictures_apart(network):
    images = list(pictures(20, 24, 3))
    rows = network.features(images)
    assert rows.shape == (3, 2048) and not rows.requires_grad
    torch.testing.assert_close(rows[1:2], network.features(images[1:2]), rtol=1e-4, atol=1e-4)
    assert (rows[0] - rows[1]).abs().max() > 1e-3
    assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_the_inception_of_torchvision_is_refused(inception_file, tmp_path):
    """Its tensors have the same names and, but for the classes, the same shapes."""
    state = torch.load(inception_file, weights_only=True)
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:1000], state["fc.bias"][:1000]
    torch.save(state, tmp_path / "inception_v3_google.pth")
    with pytest.raises(ValueError, match=r"\[1000, 2048\], not \[1008, 2048\]; .* pt_inception"):
        Inception(tmp_path / "inception_v3_google.pth")
