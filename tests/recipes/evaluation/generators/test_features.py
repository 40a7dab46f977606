"""Features by the name of a network."""

import pytest
import torch

from intaglio.recipes.evaluation.generators.features import feature_extractor, small_pixels
from intaglio.recipes.evaluation.image.features import pooled_features


def test_pixels_are_means_of_squares():
    picture = torch.zeros(3, 32, 32, dtype=torch.uint8)
    picture[1, :2, :2] = torch.tensor([[255, 255], [0, 0]])
    features = small_pixels([picture])
    assert features.shape == (1, 768) and features.dtype == torch.float64
    assert features[0, 256] == 0.5 and features.sum() == 0.5
    assert small_pixels([picture[:, :8, :8]]).shape == (1, 192)


def test_networks_by_name(inception_file):
    assert feature_extractor("pixels").label == "pixels@16"
    with pytest.raises(ValueError, match="pixels, not of 'resnet'"):
        feature_extractor("resnet")
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'intaglio[metrics]'")
    network = feature_extractor("effnet-lite0")
    assert network.label == "effnet-lite0@128" and network.extract is pooled_features
    pictures = [torch.randint(0, 256, (3, 16, 16)).byte()]
    found = feature_extractor("inception", inception_file=str(inception_file))
    assert (
        found.extract(pictures).shape == (1, 2048)
        and found.extract(pictures).dtype == torch.float64
    )


def test_inception_needs_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="--inception FILE"):
        feature_extractor("inception")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        feature_extractor("inception", inception_file=str(tmp_path / "none.pth"))
