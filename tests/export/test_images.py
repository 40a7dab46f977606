"""Codecs of images, exported with an open batch axis."""

import json
from pathlib import Path

import pytest
import torch

from intaglio.codecs import ImageCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.latents import DenseDecoder, LatentDecoder
from intaglio.codecs.decoders.proxy import ProxyDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.latents import DenseEncoder, LatentEncoder
from intaglio.codecs.image.flextok import flextok
from intaglio.codecs.image.image_small import small_grid_codec
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.export import onnx, torchscript
from intaglio.export.export import export
from intaglio.export.graphs import Graphs
from intaglio.export.verify import by_rounding, verify
from intaglio.recipes import cli

BODY = {"width": 8, "multipliers": (1, 2), "groups": 4}


def grid_codec(quantizer: Quantizer, **options) -> ImageCodec:
    """8 pixels, 4 x 4 latents."""
    options = BODY | options
    noise = options.pop("noise", False)
    return ImageCodec(
        ConvEncoder(quantizer.input_dim, blocks=1, **options),
        quantizer,
        ConvDecoder(quantizer.dim, blocks=2, noise=noise, **options),
        image_size=8,
        name="grid",
    )


def vqgan_like() -> ImageCodec:
    return grid_codec(VectorQuantizer(6, 32, codebook_dim=4, update="gradient", cosine=True))


def var_like() -> ImageCodec:
    return grid_codec(MultiScaleQuantizer(VectorQuantizer(6, 32), (1, 2, 4)), attention=False)


def wetok_like() -> ImageCodec:
    codec = grid_codec(BinaryQuantizer(8, 4, 2), style="magvit2", noise=True)
    torch.nn.init.normal_(codec.decoder.conv_noise.weight, std=0.3)
    return codec


def flextok_like() -> ImageCodec:
    body = {"blocks": 1, "attention": False, **BODY}
    codec = ImageCodec(
        DenseEncoder(4, ConvEncoder(6, **body), 5, grid=4),
        FSQ(4, (5, 5, 5, 5), standardise=5),
        DenseDecoder(4, ConvDecoder(6, **body), 5, grid=4),
        image_size=8,
        prefixes="uniform",
        name="prefixes",
    )
    torch.nn.init.normal_(codec.decoder.missing)
    return codec


def titok_like() -> ImageCodec:
    body = LatentDecoder(4, Transformer(16, 1, 2), 5, patch=1, grid=4, channels=12, smooth=False)
    return ImageCodec(
        LatentEncoder(4, Transformer(16, 1, 2), 5, patch=2, grid=4),
        VectorQuantizer(4, 32, update="gradient", cosine=True),
        ProxyDecoder(body, vqgan_like(), hidden=12),
        image_size=8,
        name="titok",
    )


@pytest.mark.parametrize(
    ("make", "kind", "names"),
    [
        (vqgan_like, "torchscript", ["ids"]),
        (wetok_like, "onnx", ["ids", "noise"]),
        (var_like, "torchscript", ["ids"]),
        (wetok_like, "torchscript", ["ids", "noise"]),
        (flextok_like, "torchscript", ["ids", "mask"]),
        (titok_like, "torchscript", ["ids"]),
    ],
)
def test_tokens_and_pictures_are_equal(make, kind, names, tmp_path, generator):
    codec = make().eval()
    [record] = export(codec, tmp_path, [kind])
    assert {shape[0] for shape in record["verified"]["shapes"]} == {1, 2, 3}
    assert record["verified"]["tokens"] == 7 * codec.positions * len(codec.vocab)
    assert record["verified"]["ties"] == 0
    assert record["verified"]["error"] < 1e-5
    graphs = Graphs(codec)
    assert list(graphs.names) == names
    x = 2 * torch.rand(2, 3, 8, 8) - 1
    ids = graphs.encoder(x)
    assert len(ids.unique()) > 3  # the comparison compares something
    others = (ids + 1) % torch.tensor(codec.vocab)
    assert by_rounding(graphs.encoder, x, ids, generator).all()
    assert not by_rounding(graphs.encoder, x, others, generator).any()
    card = json.loads((tmp_path / "export.json").read_text())
    assert card["image_size"] == [8, 8] and card["open_axes"] == ["batch"]
    assert set(names) <= set(card)


def test_the_graphs_do_what_the_codec_does():
    codec = vqgan_like().eval()
    x = 2 * torch.rand(5, 3, 8, 8) - 1
    tokens = codec.encode(x)
    graphs = Graphs(codec)
    with torch.no_grad():
        assert torch.equal(graphs.encoder(x), tokens.ids)
        assert torch.equal(graphs.decoder(tokens.ids), codec.decode(tokens))


def test_a_mask_of_the_exported_decoder_is_a_prefix(tmp_path):
    codec = flextok_like().eval()
    export(codec, tmp_path, ["torchscript"])
    encode, decode = torchscript.run(tmp_path)
    x = 2 * torch.rand(4, 3, 8, 8) - 1
    tokens = codec.encode(x, positions=2)
    mine = decode(encode(x), tokens.mask)
    torch.testing.assert_close(mine, codec.decode(tokens), atol=1e-5, rtol=0)
    assert not torch.allclose(mine, codec.decode(codec.encode(x)), atol=1e-3)


def test_the_noise_of_the_exported_decoder_is_that_of_a_seed(tmp_path):
    codec = wetok_like().eval()
    export(codec, tmp_path, ["torchscript"])
    encode, decode = torchscript.run(tmp_path)
    x = 2 * torch.rand(4, 3, 8, 8) - 1
    noise = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(3))
    wanted = codec.decode(codec.encode(x), seed=3)
    torch.testing.assert_close(decode(encode(x), noise), wanted, atol=1e-5, rtol=0)
    assert not torch.allclose(decode(encode(x), 0 * noise), wanted, atol=1e-3)


def test_a_wrong_picture_or_token_is_refused():
    codec = vqgan_like().eval()
    graphs = Graphs(codec)

    def off(x):
        ids = graphs.encoder(x)
        ids[-1, -1] = (ids[-1, -1] + 1) % 32
        return ids

    with torch.no_grad():
        with pytest.raises(ValueError, match="differs by 0.0002 at 1 x 8 x 8 pixels"):
            verify(codec, graphs.encoder, lambda ids: graphs.decoder(ids) + 2e-4)
        with pytest.raises(ValueError, match="1 of 16 tokens differently at 1 x 8 x 8 pixels"):
            verify(codec, off, graphs.decoder)


def test_the_command_exports_a_bundle_of_images(in_tmp_path, monkeypatch, capsys):
    save(vqgan_like().eval(), "bundle")
    words = ["intaglio", "export", "bundle", "-o", "out", "--format", "torchscript"]
    monkeypatch.setattr("sys.argv", words)
    assert cli.main() == 0
    assert "112 tokens equal in 7 images; within" in capsys.readouterr().out
    assert (in_tmp_path / "out" / "encoder.ts").is_file()


def test_onnx_calls_its_inputs_by_name(monkeypatch):
    """The signal is `image`, and the inputs other than the ids keep their names."""
    written = []
    monkeypatch.setattr(onnx, "write_program", lambda program, *names: written.append(names[:2]))
    monkeypatch.setattr(Graphs, "programs", (None, None))
    onnx.write(Graphs(wetok_like().eval()), Path("folder"))
    assert written == [(("image",), ["ids"]), (("ids", "noise"), ["image"])]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda: flextok("d12"), "decodes by many steps of a flow", id="flow"),
        pytest.param(
            lambda: small_grid_codec(KLBottleneck(4), name="kl"), "is continuous", id="continuous"
        ),
    ],
)
def test_what_cannot_be_exported_is_reported(make, reason, tmp_path):
    with torch.device("meta"):
        codec = make()
    with pytest.raises(ValueError, match=reason):
        export(codec, tmp_path / "out", ["onnx"])
    assert not (tmp_path / "out").exists()
