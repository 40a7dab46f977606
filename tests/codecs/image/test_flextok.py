import pytest
import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.codecs.encoders.latents import LatentEncoder
from intaglio.codecs.image.flextok import flextok
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.fsq import FSQ


def trunk(streams: int) -> Transformer:
    return Transformer(
        32, 2, 2, gated=True, bias=False, affine=False, qk_norm=True, streams=streams
    )


def tiny(guidance: float = 2.0) -> ImageCodec:
    """The published structure at 64 pixels: 16 tokens over latents of 8 x 8."""
    return ImageCodec(
        LatentEncoder(3, trunk(0), 16, patch=2, grid=4, channels=4, causal=True),
        FSQ(3, (5, 5, 5)),
        FlowDecoder(3, trunk(2), 16, patch=2, grid=4, channels=4, steps=3, guidance=guidance),
        image_size=64,
        prefixes="powers",
        autoencoder=small_grid_codec(KLBottleneck(4), name="autoencoder"),
        latent_scale=0.5,
        name="flextok",
    )


@pytest.fixture
def codec():
    torch.manual_seed(0)
    codec = tiny()
    with torch.no_grad():  # the velocity begins as zero, whatever the latents
        for parameter in codec.decoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return codec.eval()


def test_the_small_size_keeps_the_contract(keeps_the_contract):
    keeps_the_contract(flextok("small"))


def test_the_small_size_tells_images_apart_from_the_first_step(spread_at_the_start):
    spread_at_the_start(flextok("small"))


@pytest.mark.parametrize(("size", "parameters"), [("d12", 340_008_937), ("d18", 947_796_841)])
def test_sizes(count, size, parameters):
    """With the autoencoder; the encoder is 85 and 287 million of them."""
    assert count(lambda: flextok(size)) == parameters


def test_a_token_does_not_depend_on_later_ones(codec):
    """The encoder's latents are causal: with fewer of them the first ones stay the same."""
    x = torch.randn(2, 4, 8, 8)
    whole = codec.encoder(x)
    with torch.no_grad():
        codec.encoder.latents[5:] += torch.randn(11, 32)
    torch.testing.assert_close(codec.encoder(x)[:, :5], whole[:, :5], atol=1e-5, rtol=0)
    assert not torch.allclose(codec.encoder(x)[:, 5:], whole[:, 5:], atol=1e-3)


def test_ids_behind_a_prefix_never_change_the_picture(codec):
    tokens = codec.encode(torch.rand(2, 3, 64, 64), positions=4)
    assert tokens.mask.sum(1).tolist() == [4, 4] and not tokens.ids[:, 4:].any()
    other = tokens._replace(ids=torch.where(tokens.mask[..., None], tokens.ids, 7))
    assert torch.equal(codec.decode(tokens), codec.decode(other))
    all_of_them = codec.encode(torch.rand(2, 3, 64, 64))
    assert not torch.allclose(codec.decode(tokens), codec.decode(all_of_them), atol=1e-4)
    short = codec.tokens(tokens.ids[:, :4])
    assert torch.equal(codec.decode(short), codec.decode(tokens))


def test_the_same_seed_gives_the_same_picture_at_any_batch_size(codec):
    tokens = codec.encode(torch.rand(2, 3, 64, 64))
    first = codec.decode(tokens, seed=3)
    assert torch.equal(first, codec.decode(tokens, seed=3))
    assert not torch.allclose(first, codec.decode(tokens, seed=4), atol=1e-3)
    alone = tokens._replace(ids=tokens.ids[1:], mask=tokens.mask[1:])
    torch.testing.assert_close(codec.decode(alone, seed=3), first[1:], atol=1e-5, rtol=0)


def test_training_moves_everything_but_the_autoencoder(codec):
    output = codec.train()(torch.rand(4, 3, 64, 64))
    assert set(output.quantized.losses) == {"flow"}
    output.quantized.losses["flow"].backward()
    assert all(p.grad is None for p in codec.autoencoder.parameters())
    for name in ("encoder", "decoder"):
        assert any(p.grad is not None and p.grad.any() for p in getattr(codec, name).parameters())


def test_prefixes_are_drawn_for_each_item(codec):
    torch.manual_seed(0)
    masks = codec._prefix_mask(torch.zeros(400, 16, 3))
    kept = masks.sum(1)
    assert set(kept.tolist()) == {1, 2, 4, 8, 16}
    assert torch.equal(masks, torch.arange(16) < kept.unsqueeze(1))
    codec.prefixes = "uniform"
    kept = codec._prefix_mask(torch.zeros(400, 16, 3)).sum(1)
    assert set(kept.tolist()) == set(range(1, 17))


def test_a_number_of_positions_out_of_range_is_reported(codec):
    with pytest.raises(ValueError, match="decodes 1 to 16 positions, not 17"):
        codec.encode(torch.rand(1, 3, 64, 64), positions=17)
    with pytest.raises(ValueError, match="d12, d18, d18_d28 or small, not 'd99'"):
        flextok("d99")
    with pytest.raises(ValueError, match="small FlexTok has no autoencoder"):
        flextok("small", small_grid_codec(KLBottleneck(4), name="autoencoder"))
