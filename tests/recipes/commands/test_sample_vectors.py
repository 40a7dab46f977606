"""``intaglio sample`` of vectors: several in a pass, fewer denoising steps, and refusals."""

import json

import pytest
import torch

from intaglio.codecs import load as load_codec
from intaglio.codecs.bundle import save
from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.heads.gaussian import GaussianHead
from intaglio.generators.heads.mixture import MixtureHead
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance


@pytest.fixture(scope="module")
def generators(image_bundle, tmp_path_factory):
    """Bundles of generators of the tiny codec's vectors."""
    folder, codec = tmp_path_factory.mktemp("vectors"), load_codec(image_bundle)
    width = codec.quantizer.dim

    def made(head, order):
        torch.manual_seed(3)
        backbone = Backbone(
            (4, 4), LinearEmbedding(width, 16), ClassCondition(3), Transformer(16, 1, 2)
        )
        generator = Generator(backbone, head, order, name="tiny vectors")
        for parameter in generator.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        generator.provenance = Provenance(codec.name, codec.fingerprint, ("cat", "dog", "tree"))
        return generator.eval()

    every = {
        "mixture": made(MixtureHead(16, width, components=2), RasterOrder()),
        "shared": made(GaussianHead(16, width, shared_variance=True), RasterOrder()),
        "flow": made(
            FlowHead(16, width, hidden_channels=16, depth=1), MaskedOrder(16, reveal="random")
        ),
    }
    return {name: save(generator, folder / name) for name, generator in every.items()}


@pytest.fixture
def sample(intaglio, generators, image_bundle, tmp_path):
    def call(kind, *words, out="out"):
        status, _, err = intaglio(
            *("sample", generators[kind], "--codec", image_bundle, "--class", "cat"),
            *("-o", tmp_path / out, *words),
        )
        assert status == 0, err
        image = (tmp_path / out / "000000.png").read_bytes()
        return image, json.loads((tmp_path / out / "samples.json").read_text())[0]

    return call


@pytest.fixture
def refused(refusal, generators, image_bundle, tmp_path):
    return lambda kind, *words, status=1: refusal(
        *("sample", generators[kind], "--codec", image_bundle, "-o", tmp_path / "no", *words),
        status=status,
    )


@pytest.mark.parametrize(
    ("kind", "drafter", "rule"),
    [
        ("mixture", "jacobi", "mixture"),
        ("shared", "jacobi:coupling=maximal", "reflection"),
        ("mixture", "model:generator={shared}", "mixture"),
    ],
)
def test_several_vectors_are_drawn_in_a_pass(sample, generators, kind, drafter, rule):
    drafter = drafter.format(**generators)
    _, record = sample(kind, "--drafter", drafter, "--accept", rule, "--window", "4")
    assert record["exact"] is True and record["accept"] == rule
    assert record["tokens_per_pass"] >= 1 and record["tv_excess"] == 0


def test_rules_and_drafters_that_do_not_fit_are_refused(refused, generators):
    assert "MixtureRejection" in refused("mixture", "--drafter", "jacobi")
    reflected = ("--drafter", "jacobi", "--accept", "reflection")
    assert "single Gaussians of equal spread" in refused("mixture", *reflected)
    assert "draw it without a drafter" in refused("flow", *reflected)
    tree = f"model:generator={generators['shared']},branching=2x2"
    line = refused("mixture", "--drafter", tree, "--accept", "mixture")
    assert "leave out the tree" in line


def test_vectors_are_denoised_in_fewer_steps(sample, refused):
    plain, _ = sample("flow")
    few, record = sample("flow", "--denoising", "6,2", out="few")
    assert few != plain and record["denoising"] == "6,2"
    own, _ = sample("flow", "--denoising", "16", out="own")
    assert own == plain
    assert "without denoising steps" in refused("mixture", "--denoising", "6,2")
    assert "exclude" in refused("mixture", "--denoising", "6,2", "--drafter", "jacobi", status=2)


@pytest.mark.parametrize("text", ["0", "5,0", "5,4,3", "many", "5,"])
def test_other_numbers_of_steps_are_wrong_usage(intaglio, text):
    status, _, err = intaglio("sample", "x", "-o", "y", "--denoising", text)
    assert status == 2 and "as in 50,5 or 25" in err
