import pytest
import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.latents import LatentDecoder
from intaglio.codecs.decoders.proxy import ProxyDecoder
from intaglio.codecs.encoders.latents import LatentEncoder
from intaglio.codecs.image.image_small import image_small
from intaglio.codecs.image.titok import titok
from intaglio.codecs.image.vqgan import vqgan
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.vq import VectorQuantizer


def tiny(teacher: ImageCodec) -> ImageCodec:
    """The published structure at 64 pixels."""
    body = LatentDecoder(4, Transformer(32, 2, 2), 8, patch=1, grid=8, channels=24, smooth=False)
    return ImageCodec(
        LatentEncoder(4, Transformer(32, 2, 2), 8, patch=8, grid=8),
        VectorQuantizer(4, 32, update="gradient", cosine=True, kmeans_iterations=0, dead_below=0),
        ProxyDecoder(body, teacher, hidden=24),
        image_size=64,
        name="titok",
    )


def test_the_small_size_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(titok("small"))


def test_the_small_size_tells_images_apart_from_the_first_step(spread_at_the_start):
    spread_at_the_start(titok("small"))


def test_the_published_structure_keeps_the_contract(keeps_the_contract):
    torch.manual_seed(0)
    keeps_the_contract(tiny(image_small((5, 5, 5))))


@pytest.mark.parametrize(
    ("size", "parameters", "tokens"),
    [("S", 124_695_191, 128), ("B", 245_834_903, 64), ("L", 682_075_799, 32)],
)
def test_sizes(bare, count, size, parameters, tokens):
    """Encoder, quantizer and decoder are the released layout's; the teacher is a VQGAN."""
    assert count(lambda: titok(size)) == parameters
    codec = bare(lambda: titok(size))
    assert (codec.positions, codec.vocab) == (tokens, (4096,))


def test_the_teacher_is_frozen_but_for_its_decoder():
    codec = tiny(image_small((5, 5, 5)))
    x = torch.rand(2, 3, 64, 64)
    output = codec.train()(x)
    (output.quantized.losses["proxy"] + output.values.mean()).backward()
    teacher = codec.decoder.teacher
    assert all(p.grad is None for p in teacher.encoder.parameters())
    assert all(p.grad is not None for p in teacher.decoder.parameters())
    # what the proxy compares with are the teacher's own ids of the picture
    logits = codec.decoder._logits(output.quantized.values, None, (8, 8))
    loss = torch.nn.functional.cross_entropy(logits.flatten(2), teacher.encode(x).ids[..., 0])
    torch.testing.assert_close(output.quantized.losses["proxy"], loss)


def test_sure_logits_give_the_teachers_picture():
    teacher = image_small((5, 5, 5)).eval()
    decoder = tiny(teacher).decoder
    tokens = teacher.encode(torch.rand(1, 3, 64, 64))
    sure = 1e4 * torch.nn.functional.one_hot(tokens.ids[..., 0], 125).float()
    picture = decoder._image(sure.transpose(1, 2).unflatten(2, (8, 8)))
    torch.testing.assert_close(picture.clamp(-1, 1), teacher.decode(tokens), atol=1e-5, rtol=0)


def test_mistakes_are_reported():
    with pytest.raises(ValueError, match="S, B, L or small, not 'XL'"):
        titok("XL")
    with pytest.raises(ValueError, match="squares of 16 pixels, not 8"):
        titok("S", vqgan(codebook_size=8, size="small"))
    with pytest.raises(ValueError, match="small TiTok has no teacher"):
        titok("small", image_small())
