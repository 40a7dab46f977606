"""Where tokens come from travels with the weights."""

import pytest
import torch

from intaglio.codecs.bundle import fingerprint, read, save
from intaglio.generators import load
from intaglio.generators.heads.gaussian import GaussianHead
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance, packed, unpacked
from intaglio.generators.samplers.sampler import Sampler

ORIGIN = Provenance("tiny", "f" * 32, ("apple", "Bär"))


def test_text_and_back():
    assert unpacked(packed(ORIGIN)) == ORIGIN
    assert unpacked(packed(None)) is None
    for text in (b"{", b"[]", b'{"codec": "x"}', b"\xff"):
        with pytest.raises(ValueError, match="provenance cannot be read"):
            unpacked(torch.tensor(list(text), dtype=torch.uint8))


def test_a_bundle_knows_it(raster, tmp_path):
    generator = raster()
    before = fingerprint(generator)
    generator.provenance = ORIGIN
    assert fingerprint(generator) != before
    save(generator, tmp_path / "bundle")
    assert read(tmp_path / "bundle").provenance == ORIGIN
    found = load(tmp_path / "bundle")
    assert found.provenance == ORIGIN and not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_another_codec_is_refused():
    ORIGIN.check(Provenance("other name", "f" * 32))
    with pytest.raises(ValueError, match="tiny ffffffffffff, not of tiny eeeeeeeeeeee"):
        ORIGIN.check(Provenance("tiny", "e" * 32))


def test_a_codec_is_no_generator(raster, tiny_codec, tmp_path):
    save(tiny_codec, tmp_path / "codec")
    with pytest.raises(ValueError, match="holds AudioCodec, not a generator"):
        load(tmp_path / "codec")
    with pytest.raises(FileNotFoundError, match="there is no generator at"):
        load(tmp_path / "nothing")


def test_a_bundle_draws_vectors_in_the_units_of_the_codec(flowing, tmp_path):
    """Means and deviations are part of the weights; fresh weights draw standard normal vectors."""
    generator, label = flowing().eval(), torch.tensor([0, 1])
    plain = Sampler().generate(generator, label)
    generator.fit_normalisation(3 + 2 * torch.randn(50, 4, 4))
    found = load(save(generator, tmp_path / "bundle"))
    assert float(generator.mean.mean()) > 2 and float(generator.std.mean()) > 1.5
    drawn = Sampler().generate(found, label)
    torch.testing.assert_close(drawn, plain * generator.std + generator.mean)


def test_densities_are_per_unit_of_the_tokens(flowing):
    generator, label = flowing(head=GaussianHead(16, 4), order=RasterOrder()), torch.tensor([0, 1])
    generator.eval()
    tokens = torch.randn(2, 4, 4)
    plain = generator.log_prob(tokens, label)
    generator.fit_normalisation(3 + 2 * torch.randn(50, 4, 4))
    found = generator.log_prob(tokens * generator.std + generator.mean, label)
    torch.testing.assert_close(found, plain - generator.std.log().sum())
