"""Sections of tokens: scales, and prefixes of falling importance."""

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.recipes.evaluation.generators.tokens import section_ends


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
