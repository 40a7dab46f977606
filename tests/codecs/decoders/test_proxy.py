"""The decoder to another codec's tokens; its use in a system is tested with TiTok."""

import pytest
import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.latents import LatentDecoder
from intaglio.codecs.decoders.proxy import ProxyDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

SMALL = {"width": 8, "multipliers": (1, 1), "blocks": 1, "groups": 4, "attention": False}
GRID = (3, 3)


def teacher(quantizer=None):
    quantizer = quantizer or VectorQuantizer(
        4, 16, update="gradient", kmeans_iterations=0, dead_below=0
    )
    return ImageCodec(
        ConvEncoder(4, **SMALL), quantizer, ConvDecoder(4, **SMALL), image_size=6, name="teacher"
    )


def decoder():
    trunk = Transformer(8, 1, 2)
    body = LatentDecoder(5, trunk, 6, patch=1, grid=3, channels=7, smooth=False)
    return ProxyDecoder(body, teacher(), hidden=7)


def test_the_picture_is_that_of_the_expected_codes():
    part = decoder()
    latents = torch.randn(2, 6, 5)
    logits = part.head(part.body(latents, grid=GRID))
    assert logits.shape == (2, 16, 3, 3)
    shares = logits.softmax(1)
    codebook = part.teacher.quantizer.decode_ids(torch.arange(16).view(1, 16, 1))[0]
    expected = torch.einsum("bkrc,kd->brcd", shares, codebook).reshape(2, 9, 4)
    picture = part(latents, grid=GRID)
    assert part.hop_length == 2 and picture.shape == (2, 3, 6, 6)
    torch.testing.assert_close(picture, part.teacher.decoder(expected, grid=GRID))


def test_the_loss_is_the_cross_entropy_of_the_teachers_ids():
    part = decoder().train()
    latents, target = torch.randn(2, 6, 5), torch.rand(2, 3, 6, 6) * 2 - 1
    before = {name: value.clone() for name, value in part.teacher.state_dict().items()}
    decoding = part.learn(latents, target, None, grid=GRID)
    ids = part.teacher.encode(target).ids[..., 0]
    chances = part.head(part.body(latents, grid=GRID)).flatten(2).log_softmax(1)
    picked = [chances[item, ids[item, at], at] for item in range(2) for at in range(9)]
    torch.testing.assert_close(decoding.losses, {"proxy": -torch.stack(picked).mean()})
    for name, value in part.teacher.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} of the teacher moved"


def test_masked_latents_count_for_nothing():
    part = decoder()
    latents = torch.randn(1, 6, 5)
    mask = torch.arange(6).unsqueeze(0) < 2
    picture = part(latents, mask, grid=GRID)
    latents[:, 2:] = 9
    assert torch.equal(part(latents, mask, grid=GRID), picture)
    assert part.takes_prefixes


def test_the_teachers_decoder_learns_and_its_rest_does_not():
    part = decoder()
    assert not any(p.requires_grad for p in part.teacher.encoder.parameters())
    assert not any(p.requires_grad for p in part.teacher.quantizer.parameters())
    assert part.last_weight is part.teacher.decoder.conv_out.weight
    part(torch.randn(1, 6, 5), grid=GRID).sum().backward()
    assert part.last_weight.grad.abs().max() > 0


def test_a_teacher_of_several_codebooks_is_refused():
    body = LatentDecoder(5, Transformer(8, 1, 2), 6, patch=1, grid=3, channels=7)
    with pytest.raises(ValueError, match="one codebook over a grid, teacher has not"):
        ProxyDecoder(body, teacher(BinaryQuantizer(4, 2, 2)), hidden=7)
