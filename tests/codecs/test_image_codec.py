"""ImageCodec: the contract around its parts, which are as small as they can be."""

import pytest
import torch

from intaglio.codecs import ImageCodec, Tokens
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.codecs.decoders.latents import LatentDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.latents import LatentEncoder
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.vq import VectorQuantizer

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "attention": False}


def grid_codec(quantizer=None, **changes):
    """Squares of 2 pixels, 8 x 8 pixels."""
    quantizer = quantizer or VectorQuantizer(4, 16, kmeans_iterations=0)
    encoder = ConvEncoder(quantizer.input_dim, **SMALL)
    decoder = ConvDecoder(quantizer.dim, **SMALL, noise="noise" in changes.get("name", ""))
    return ImageCodec(encoder, quantizer, decoder, **({"image_size": 8} | changes)).eval()


def sequence_codec(**changes):
    """Six positions of 8 x 8 pixels."""
    encoder = LatentEncoder(4, Transformer(8, 1, 2), 6, patch=4, grid=2)
    decoder = LatentDecoder(4, Transformer(8, 1, 2), 6, patch=4, grid=2)
    quantizer = VectorQuantizer(4, 16, kmeans_iterations=0)
    return ImageCodec(encoder, quantizer, decoder, image_size=8, **changes).eval()


def wrapped_codec(scale=0.5):
    """Six positions of a map of 4 x 4 latents of an autoencoder, decoded by a flow."""
    autoencoder = grid_codec(KLBottleneck(3), name="autoencoder")
    encoder = LatentEncoder(4, Transformer(8, 1, 2), 6, patch=2, grid=2, channels=3, causal=True)
    decoder = FlowDecoder(
        4, Transformer(8, 1, 2, streams=2), 6, patch=2, grid=2, channels=3, steps=2, guidance=1.0
    )
    codec = ImageCodec(
        encoder,
        FSQ(4, (5, 5, 5, 5)),
        decoder,
        image_size=8,
        prefixes="powers",
        autoencoder=autoencoder,
        latent_scale=scale,
        name="wrapped",
    )
    torch.nn.init.normal_(decoder.head.weight)  # both begin at zero
    for block in decoder.trunk.blocks:
        torch.nn.init.normal_(block.modulation.linear.weight)
    return codec.eval()


def images(*sides, batch=2):
    return torch.rand(batch, 3, *(sides or (8, 8))) * 2 - 1


def test_what_a_codec_says_of_itself():
    codec = grid_codec()
    assert (codec.hop_length, codec.positions, codec.bits) == (2, 16, 64.0)
    assert codec.any_size and not codec.is_flexible
    codec = sequence_codec()
    assert (codec.hop_length, codec.positions, codec.bits) == (4, 6, 24.0)
    assert codec.is_flexible and not codec.any_size
    codec = wrapped_codec()
    assert (codec.hop_length, codec.positions, codec.is_flexible) == (4, 6, True)
    assert codec.signal == "image" and codec.name == "wrapped"


@pytest.mark.parametrize("sides", [(8, 8), (2, 6), (12, 4)])
def test_a_grid_codec_takes_any_size(sides):
    codec, x = grid_codec(), images(*sides)
    tokens = codec.encode(x).check()
    assert tokens.grid == (sides[0] // 2, sides[1] // 2)
    assert tokens.ids.shape == (2, sides[0] * sides[1] // 4, 1)
    decoded = codec.decode(tokens)
    assert decoded.shape == x.shape and decoded.abs().max() <= 1
    with torch.no_grad():
        assert torch.equal(decoded, codec(x).values.clamp(-1, 1))
    latents = codec.latents(x)
    assert torch.equal(codec.quantizer.decode_ids(tokens.ids), latents)
    assert torch.equal(codec.from_latents(latents, grid=tokens.grid), decoded)


def test_latents_of_the_training_size_need_no_grid():
    codec, x = grid_codec(KLBottleneck(4)), images()
    latents = codec.latents(x)
    assert latents.shape == (2, 16, 4) and latents.dtype == torch.float32
    with torch.no_grad():
        mean = codec.encoder(x)[..., :4]
        values = codec(x).values
    assert torch.equal(latents, mean)
    assert torch.equal(codec.from_latents(latents), values.clamp(-1, 1))


def test_a_sequence_has_no_grid():
    tokens = sequence_codec().encode(images())
    assert tokens.grid is None and tokens.ids.shape == (2, 6, 1) and tokens.mask.all()


def test_inference_changes_nothing_and_has_no_gradient():
    codec = grid_codec().train()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    tokens = codec.encode(images())
    assert not codec.decode(tokens).requires_grad
    assert codec.training and codec.quantizer.training
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


@pytest.mark.parametrize(
    "x, message",
    [
        (torch.zeros(3, 8, 8), r"floating-point images \[batch, 3, height, width\].*\[3, 8, 8\]"),
        (torch.zeros(1, 1, 8, 8), r"float32 \[1, 1, 8, 8\]"),
        (torch.zeros(0, 3, 8, 8), r"\[0, 3, 8, 8\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "got uint8"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.float64), "float32 like its weights, got float64"),
        (torch.full((1, 3, 8, 8), torch.nan), "finite values, got nan"),
        (torch.zeros(1, 3, 8, 7), "multiples of 2 pixels, got 8 x 7"),
        (torch.zeros(1, 3, 7, 7), "multiples of 2 pixels, got 7 x 7"),
        (torch.zeros(1, 3, 0, 8), "multiples of 2 pixels, got 0 x 8"),
    ],
    ids=["rank", "channels", "empty", "bytes", "double", "nan", "width", "height", "nothing"],
)
def test_images_that_do_not_fit_are_refused(x, message):
    codec = grid_codec(name="small")
    for call in (codec.encode, codec.latents):
        with pytest.raises(ValueError, match=f"^small takes .*{message}"):
            call(x)


def test_latents_that_do_not_fit_are_refused():
    codec = grid_codec(name="small")
    with pytest.raises(ValueError, match=r"^small .*positions, 4\], got float32 \[1, 4, 16\]"):
        codec.from_latents(torch.zeros(1, 4, 16))
    with pytest.raises(ValueError, match=r"mask is bool \[1, 16\], got bool \[1, 15\]"):
        codec.from_latents(torch.zeros(1, 16, 4), torch.ones(1, 15, dtype=torch.bool))


def test_an_autoencoder_lets_a_bad_batch_of_a_training_through():
    """The trainer skips it."""
    codec = wrapped_codec().train()
    assert not codec(torch.full((2, 3, 8, 8), torch.nan)).values.isfinite().all()


@pytest.mark.parametrize("sides", [(8, 16), (16, 16), (4, 4)])
def test_a_sequence_codec_takes_one_size(sides):
    with pytest.raises(ValueError, match="takes 8 x 8 pixels, got {} x {}".format(*sides)):
        sequence_codec().encode(images(*sides))


def test_tokens_that_do_not_fit_are_refused():
    codec = grid_codec(name="small")
    tokens = codec.encode(images())
    masked = tokens.mask.clone()
    masked[1, -1] = False
    wrong = {
        r"vocabulary \(17,\), the codec has \(16,\)": tokens._replace(vocab=(17,)),
        "id 16 at position 3": tokens._replace(ids=tokens.ids.index_fill(1, torch.tensor(3), 16)),
        "15 positions, small has 16": tokens._replace(ids=tokens.ids[:, 1:], mask=masked[:, 1:]),
        "16 positions, small has 12": tokens._replace(grid=(3, 4)),
        "cannot decode a grid of 0 x 4": tokens._replace(grid=(0, 4)),
        "all positions; some of them are masked": tokens._replace(mask=masked),
    }
    for message, record in wrong.items():
        with pytest.raises(ValueError, match=message):
            codec.decode(record)
    assert torch.equal(codec.decode(tokens._replace(grid=None)), codec.decode(tokens))
    wide = codec.decode(tokens._replace(grid=(2, 8)))
    assert wide.shape == (2, 3, 4, 16)


def test_tokens_of_a_sequence_that_do_not_fit_are_refused():
    codec = sequence_codec(name="six")
    tokens = codec.encode(images())
    headless = tokens.mask.clone()
    headless[1, 0] = False
    wrong = {
        "cannot decode a grid of 2 x 3": tokens._replace(grid=(2, 3)),
        "without its first position": tokens._replace(mask=headless),
        "5 positions, six has 6": Tokens(tokens.ids[:, 1:], tokens.mask[:, 1:], tokens.vocab),
    }
    for message, record in wrong.items():
        with pytest.raises(ValueError, match=message):
            codec.decode(record)


def test_a_continuous_codec_has_no_tokens():
    codec = grid_codec(KLBottleneck(4), name="kl")
    assert codec.vocab == () and codec.bits == 0
    with pytest.raises(ValueError, match="kl is continuous and has no tokens; use `latents`"):
        codec.encode(images())
    empty = Tokens(torch.zeros(1, 16, 0, dtype=torch.int64), torch.ones(1, 16).bool(), ())
    with pytest.raises(ValueError, match="kl is continuous and decodes latents"):
        codec.decode(empty)


@pytest.mark.parametrize("make", [sequence_codec, wrapped_codec])
def test_any_first_positions_make_a_picture(make):
    codec, x = make(), images()
    tokens = codec.encode(x)
    for positions in range(1, 7):
        first = codec.encode(x, positions=positions)
        assert torch.equal(first.mask.sum(1), torch.tensor([positions] * 2))
        assert torch.equal(first.ids[:, :positions], tokens.ids[:, :positions])
        assert not first.ids[:, positions:].any()
        assert torch.equal(codec.first(tokens, positions).ids, first.ids)
        short = codec.tokens(tokens.ids[:, :positions])
        assert torch.equal(short.ids, first.ids) and torch.equal(short.mask, first.mask)
        picture = codec.decode(first)
        assert torch.equal(codec.decode(short), picture)
        torch.testing.assert_close(
            codec.decode(codec.tokens(tokens.ids[:1, :positions])), picture[:1]
        )
    assert torch.equal(picture, codec.decode(tokens))
    assert not torch.allclose(codec.decode(codec.encode(x, positions=1)), picture)


@pytest.mark.parametrize("make", [sequence_codec, wrapped_codec])
def test_ids_behind_the_mask_never_matter(make):
    """Not even those that are no ids."""
    codec = make()
    tokens = codec.encode(images(), positions=2)
    picture = codec.decode(tokens)
    for id_ in (3, -1, 10**6):
        ids = tokens.ids.masked_fill(~tokens.mask.unsqueeze(-1), id_)
        assert torch.equal(codec.decode(tokens._replace(ids=ids)), picture)


def test_lengths_of_one_batch_may_differ():
    codec = sequence_codec()
    tokens = codec.encode(images())
    mask = torch.arange(6) < torch.tensor([[2], [5]])
    pictures = codec.decode(tokens._replace(mask=mask))
    for item, positions in enumerate((2, 5)):
        alone = codec.decode(codec.first(tokens, positions))[item]
        torch.testing.assert_close(pictures[item], alone)
    again = codec.first(tokens._replace(mask=mask), 4)
    assert again.mask.sum(1).tolist() == [2, 4]


@pytest.mark.parametrize("positions", [0, 7])
def test_numbers_of_positions_that_do_not_fit_are_refused(positions):
    codec = sequence_codec(name="six")
    with pytest.raises(ValueError, match=f"six decodes 1 to 6 positions, not {positions}"):
        codec.encode(images(), positions=positions)


def test_a_codec_without_prefixes_decodes_all_positions():
    codec, x = grid_codec(name="small"), images()
    with pytest.raises(ValueError, match="small decodes all 16 positions, not 15"):
        codec.encode(x, positions=15)
    assert torch.equal(codec.encode(x, positions=16).ids, codec.encode(x).ids)
    latents, mask = codec.latents(x), torch.arange(16).expand(2, -1) < 15
    with pytest.raises(ValueError, match="small decodes all positions; some of them are masked"):
        codec.from_latents(latents, mask)
    short = codec.tokens(codec.encode(x).ids[:, :15])
    with pytest.raises(ValueError, match="15 positions, small has 16"):
        codec.decode(short)


@pytest.mark.parametrize(
    "prefixes, kept", [("uniform", {1, 2, 3, 4, 5, 6}), ("powers", {1, 2, 4, 6})]
)
def test_training_drops_the_last_positions(prefixes, kept):
    """Each number alike, for each item of its own, and only in training."""
    codec = sequence_codec(prefixes=prefixes)
    masks = codec._prefix_mask(torch.zeros(3000, 6, 4))
    counts = masks.sum(1)
    assert torch.equal(masks, torch.arange(6) < counts.unsqueeze(1))
    assert set(counts.tolist()) == kept
    shares = torch.bincount(counts)[sorted(kept)] / 3000
    assert (shares - 1 / len(kept)).abs().max() < 0.04
    masks = []
    learn = codec.decoder.learn
    codec.decoder.learn = lambda latents, target, mask, grid: (
        masks.append(mask) or learn(latents, target, mask, grid=grid)
    )
    codec.train()(images(batch=16))
    codec.eval()(images())
    assert len(set(masks[0].sum(1).tolist())) > 1 and masks[1] is None


def test_powers_of_two_end_with_all_positions():
    codec = sequence_codec(prefixes="powers")
    for count, kept in ((1, {1}), (8, {1, 2, 4, 8}), (9, {1, 2, 4, 8, 9})):
        counts = codec._prefix_mask(torch.zeros(2000, count, 4)).sum(1)
        assert set(counts.tolist()) == kept
        assert abs((counts == count).float().mean() - 1 / len(kept)) < 0.05


def test_noise_of_a_seed_is_the_same_for_every_item():
    codec = grid_codec(name="noise")
    torch.nn.init.normal_(codec.decoder.conv_noise.weight)
    tokens = codec.encode(images(4, 8))
    picture = codec.decode(tokens)
    assert torch.equal(picture, codec.decode(tokens, seed=0))
    assert not torch.allclose(picture, codec.decode(tokens, seed=1))
    alone = codec.decode(tokens._replace(ids=tokens.ids[1:], mask=tokens.mask[1:]))
    torch.testing.assert_close(alone[0], picture[1], atol=1e-5, rtol=0)


def test_the_autoencoder_by_hand():
    """Its means as a map, scaled; back through its decoder, unscaled. It never learns."""
    codec, x = wrapped_codec(scale=0.25), images()
    with torch.no_grad():
        latents = codec.autoencoder.encoder(x)[..., :3]
        wrapped = torch.stack([latents[:, 4 * r : 4 * r + 4] for r in range(4)], 1).permute(
            0, 3, 1, 2
        )
        torch.testing.assert_close(codec._encoder_input(x), 0.25 * wrapped)
        ids = codec.quantizer.encode_ids(codec.encoder(0.25 * wrapped))
        tokens = codec.encode(x)
        assert torch.equal(tokens.ids, ids)
        generator = torch.Generator().manual_seed(3)
        values = codec.decoder(codec.quantizer.decode_ids(ids), grid=(2, 2), generator=generator)
        rows = (values / 0.25).permute(0, 2, 3, 1).reshape(2, 16, 3)
        picture = codec.autoencoder.decoder(rows, grid=(4, 4)).clamp(-1, 1)
    torch.testing.assert_close(codec.decode(tokens, seed=3), picture)
    output = codec.train()(x)
    assert output.values.shape == x.shape and set(output.quantized.losses) == {"flow"}
    (output.quantized.losses["flow"] + output.values.mean()).backward()
    assert all(p.grad is None for p in codec.autoencoder.parameters())
    assert codec.decoder.head.weight.grad.any()


def test_the_size_of_training_fills_whole_positions():
    with pytest.raises(ValueError, match="image of 9 pixels does not fill positions of 2"):
        grid_codec(image_size=9)


def test_prefixes_need_a_decoder_that_takes_them():
    with pytest.raises(ValueError, match="needs a decoder that takes them"):
        grid_codec(prefixes="uniform")


def test_parts_that_disagree_are_refused():
    quantizer = VectorQuantizer(4, 16, kmeans_iterations=0)
    with pytest.raises(ValueError, match="latent sizes differ: encoder 5, quantizer 4 to 4"):
        ImageCodec(ConvEncoder(5, **SMALL), quantizer, ConvDecoder(4, **SMALL), image_size=8)
    with pytest.raises(ValueError, match="hop lengths differ: encoder 2, decoder 4"):
        ImageCodec(
            ConvEncoder(4, **SMALL), quantizer, ConvDecoder(4, **SMALL, patch=2), image_size=8
        )
