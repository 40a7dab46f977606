"""Sections of tokens, features by name, and the figure."""

import pytest
import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.recipes.evaluation.figures.samples import Shown, sample_figure
from intaglio.recipes.evaluation.generators.features import feature_extractor, small_pixels
from intaglio.recipes.evaluation.generators.tokens import section_ends
from intaglio.recipes.evaluation.image.features import pooled_features


def codec_of(quantizer):
    options = {"width": 8, "multipliers": (1, 1), "blocks": 1, "style": "magvit2", "groups": 4}
    return ImageCodec(ConvEncoder(4, **options), quantizer, ConvDecoder(4, **options), image_size=8)


def test_scales_and_prefixes_end_sections():
    inner = VectorQuantizer(4, 8, update="gradient")
    multiscale = codec_of(MultiScaleQuantizer(inner, (1, 2, 4), convolutions=1))
    assert section_ends(multiscale, 21) == [1, 5, 21]
    plain = codec_of(VectorQuantizer(4, 8))
    assert section_ends(plain, 16) == []
    plain.prefixes = "powers"
    assert section_ends(plain, 12) == [1, 2, 4, 8, 12]
    assert section_ends(plain, 8) == [1, 2, 4, 8]


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


def test_the_figure_has_a_block_for_eight(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'intaglio[demo]'")
    from PIL import Image

    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)
    shown = Shown("a very long caption of a small black square", picture, picture, picture)
    heights = []
    for count in (8, 9):
        path = tmp_path / f"{count}.png"
        path.write_bytes(sample_figure([shown] * count))
        with Image.open(path) as picture_file:
            heights.append(picture_file.height)
    assert heights[1] == 2 * heights[0]
    with pytest.raises(ValueError, match="no pictures"):
        sample_figure([])
