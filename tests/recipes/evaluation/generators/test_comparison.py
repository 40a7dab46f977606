"""Perfect, copying and unconditional generators of made-up tokens get the scores they must."""

import io
import json
import math

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.layers.transformer import Transformer
from intaglio.data.formats.shards import ShardWriter
from intaglio.data.formats.tokens import Extent, image_header, write_tokens
from intaglio.data.tokens import TokenShards
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.embeddings.base import IdEmbedding, LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.evaluation.generators import evaluator as evaluators
from intaglio.recipes.evaluation.generators.comparison import control_rows, evaluate_generator
from intaglio.recipes.evaluation.generators.evaluator import GeneratorEvaluator
from intaglio.recipes.evaluation.generators.features import feature_extractor
from intaglio.recipes.evaluation.generators.tokens import check_fits, side_of

NAMES = ("blue", "green", "red")
SIZE = 512


def tokens_of(label, seed):
    """16 tokens of a class: some number of the class's own range, the same bits elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    digits = torch.randint(0, 8, (16, 3), generator=generator)
    digits[:, label] = 7 * (torch.rand(16, generator=generator) < 0.9)
    return (digits * torch.tensor([1, 8, 64])).sum(1, keepdim=True)


@pytest.fixture(scope="module")
def codec(image_bundle):
    return load(image_bundle)


@pytest.fixture(scope="module")
def data(codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    with (folder / "000000.tar").open("wb") as file:
        writer = ShardWriter(file)
        for number in range(300):
            header = image_header(
                codec.name,
                codec.fingerprint,
                vocab=(SIZE,),
                positions=16,
                hop_length=4,
                picture=Extent(16, 16, 4, 4),
                extras={},
            )
            tokens = io.BytesIO()
            write_tokens(tokens, header, tokens_of(number % 3, number))
            name = NAMES[number % 3]
            said = {"path": f"{number}.png", "text": f"{name} {number}", "label": name}
            content = {"intaglio": tokens.getvalue(), "json": json.dumps(said).encode()}
            writer.add(f"{number:09}", content)
        writer.close()
    data = TokenShards(str(folder), validation_share=0.1, test_share=0.3)
    data.setup()
    return data


@pytest.fixture(scope="module")
def evaluator(codec, data):
    return GeneratorEvaluator(codec, data, feature_extractor("pixels"))


def fresh(condition=None, order=None, **options):
    """A generator with a uniform distribution, as its head starts with zeros."""
    torch.manual_seed(0)
    generator = Generator(
        Backbone(
            (4, 4),
            IdEmbedding((SIZE,), 16),
            condition or ClassCondition(3),
            Transformer(16, 1, 2),
        ),
        CategoricalHead(16, (SIZE,)),
        order or RasterOrder(),
        **options,
    )
    return generator.eval()


class Scripted(Sampler):
    """Draws what a function of label and seed says."""

    def __init__(self, item):
        super().__init__()
        self.item = item

    def generate(self, generator, condition, *, seed=0, given=None, callback=None):
        labels = enumerate(condition.tolist(), start=seed)
        return torch.stack([self.item(label, number) for number, label in labels])


def scores_of(evaluator, item, seed=0):
    row, _ = evaluate_generator(evaluator, "ours", fresh(), Scripted(item), seed=seed)
    return {name: score.mean for name, score in row.scores.items()}


@pytest.fixture(scope="module")
def controls(evaluator):
    return {row.system: row for row in control_rows(evaluator)}


def test_a_perfect_generator_is_as_good_as_what_was_held_out(evaluator, controls):
    ours = scores_of(evaluator, lambda label, seed: tokens_of(label, 10_000 + seed))
    real = {name: score.mean for name, score in controls["real, held out"].scores.items()}
    training = controls["real, training"].scores
    unigram = controls["unigram"].scores
    assert real["class_accuracy"] > 0.9
    assert ours["class_accuracy"] == pytest.approx(real["class_accuracy"], abs=0.08)
    assert ours["distinct"] == 1 and ours["exact_copies"] == 0 and ours["near_copies"] <= 0.1
    (name,) = [one for one in ours if one.startswith("FD")]
    assert ours[name] < 1.5 * training[name].mean
    assert unigram[name].mean > 3 * ours[name]
    assert abs(ours["KD[pixels@16]"]) < 0.2 * unigram["KD[pixels@16]"].mean
    assert unigram["class_accuracy"].mean < 0.6


def test_a_generator_that_copies_its_training_is_found_out(evaluator):
    train = evaluator.train

    def copied(label, seed):
        indices = (train.labels == label).nonzero()[:, 0]
        return train.tokens[indices[seed % len(indices)]]

    ours = scores_of(evaluator, copied)
    assert ours["near_copies"] == 1 and ours["exact_copies"] == 1
    assert ours["class_accuracy"] > 0.9


def test_a_generator_that_ignores_its_condition_is_at_chance(evaluator):
    ignoring = scores_of(evaluator, lambda label, seed: tokens_of(seed % 3, 20_000 + seed * 7))
    assert ignoring["class_accuracy"] == pytest.approx(1 / 3, abs=0.17)
    one = scores_of(evaluator, lambda label, seed: tokens_of(0, 20_000))
    assert one["distinct"] == pytest.approx(1 / evaluator.held.items)


def test_a_uniform_distribution_costs_the_logarithm_of_the_codebook(evaluator):
    row, drawn = evaluate_generator(evaluator, "ours", fresh(), Sampler())
    assert row.scores["nll"].mean == pytest.approx(math.log(SIZE), abs=1e-5)
    assert row.scores["nll_unconditional"].mean == pytest.approx(row.scores["nll"].mean)
    assert row.bits == pytest.approx(16 * 9, abs=1e-3)
    per_dimension = row.scores["bits_per_dimension"].mean
    assert per_dimension == pytest.approx(16 * 9 / (3 * 16 * 16), abs=1e-5)
    assert (
        drawn.tokens.shape == (evaluator.held.items, 16, 1)
        and row.is_ours
        and not row.scores["nll"].is_upper_bound
    )
    assert drawn.pictures.shape == (evaluator.held.items, 3, 16, 16)


def test_samples_have_the_conditions_of_the_held_out_items(codec, data):
    seen = []

    def noted(label, seed):
        seen.append((label, seed))
        return tokens_of(label, seed)

    some = GeneratorEvaluator(codec, data, feature_extractor("pixels"), items=100)
    scores_of(some, noted, seed=500)
    assert [seed for _, seed in seen] == list(range(500, 600))
    assert [label for label, _ in seen] == some.held.labels[some.condition_items].tolist()
    assert some.held.items < 100 and set(some.condition_items) == set(range(some.held.items))
    few = GeneratorEvaluator(codec, data, feature_extractor("pixels"), items=4)
    assert few.condition_items == [n * few.held.items // 4 for n in range(4)]
    assert not any(one.name.startswith("FD") for one in few.columns())


def test_tables_next_to_the_generator(controls, evaluator):
    nll = {name: row.scores["nll"].mean for name, row in controls.items() if "nll" in row.scores}
    assert list(nll) == ["unigram", "bigram", "position unigram", "class-position unigram"]
    assert nll["unigram"] < math.log(SIZE)
    row = controls["unigram"]
    assert row.bits == pytest.approx(16 * nll["unigram"] / math.log(2))
    assert row.facts["alpha"] > 0 and row.items == evaluator.held.items
    real = controls["real, held out"].scores
    assert "nll" not in real and real["distinct"].mean == 1 and real["exact_copies"].mean == 0


def test_captions_are_retrieved_only_where_they_are_given(evaluator):
    columns = {one.name for one in evaluator.columns()}
    assert {"nll", "class_accuracy", "caption_retrieval", "KD[pixels@16]"} <= columns
    row, _ = evaluate_generator(evaluator, "ours", fresh(), Sampler())
    assert row.scores["caption_retrieval"].mean is None
    assert "conditioned on classes" in row.scores["caption_retrieval"].reason
    row, _ = evaluate_generator(evaluator, "ours", fresh(TextCondition()), Sampler())
    assert row.scores["caption_retrieval"].mean is not None


def test_likelihoods_of_masked_orders_are_bounds(evaluator):
    row, _ = evaluate_generator(evaluator, "ours", fresh(order=MaskedOrder(16, steps=2)), Sampler())
    assert row.scores["nll"].is_upper_bound and "a bound" in row.scores["nll"].reason
    assert row.scores["nll"].mean == pytest.approx(math.log(SIZE), abs=1e-5)


def test_vectors_are_drawn_and_scored_without_a_likelihood(evaluator):
    torch.manual_seed(0)
    generator = Generator(
        Backbone((4, 4), LinearEmbedding(3, 16), ClassCondition(3), Transformer(16, 1, 2)),
        FlowHead(16, 3, hidden_channels=8, depth=1, steps=2),
        MaskedOrder(16, reveal="random", steps=2),
    ).eval()
    row, drawn = evaluate_generator(evaluator, "ours", generator, Sampler())
    assert row.bits is None and row.scores["nll"].mean is None
    assert "vectors" in row.scores["nll"].reason and "exact_copies" not in row.scores
    assert drawn.tokens.is_floating_point() and row.scores["distinct"].mean == 1


def test_wrong_company_is_refused(codec, data):
    generator = fresh()
    with pytest.raises(ValueError, match="never trained"):
        check_fits(generator, codec, data)
    generator.provenance = Provenance(codec.name, codec.fingerprint, NAMES)
    check_fits(generator, codec, data)
    generator.provenance = generator.provenance._replace(classes=("a", "b", "c"))
    with pytest.raises(ValueError, match="3 classes"):
        check_fits(generator, codec, data)
    text = fresh(TextCondition())
    text.provenance = generator.provenance
    check_fits(text, codec, data)  # its condition has no class numbers
    generator.provenance = Provenance("other", "0" * 32, NAMES)
    with pytest.raises(ValueError, match="draws tokens of other 000000000000"):
        check_fits(generator, codec, data)


def test_views_and_limits_of_a_side(data):
    whole, some = side_of(data, "train"), side_of(data, "train", limit=7)
    assert some.items == 7 and len(some.captions) == 7
    assert torch.equal(some.views, whole.views) and len(whole.views) == whole.items
    index = whole.captions.index(some.captions[3])
    assert torch.equal(some.tokens[3], whole.tokens[index])
    batch = whole.batch([2, 0])
    assert batch["caption"] == [whole.captions[2], whole.captions[0]]
    assert batch["label"].tolist() == [int(whole.labels[2]), int(whole.labels[0])]
    assert [NAMES[n] for n in batch["label"]] == [text.split()[0] for text in batch["caption"]]


def test_nats_are_given_for_each_section(evaluator, monkeypatch):
    """The mean over all would hide a first scale that learned nothing."""
    monkeypatch.setattr(evaluators, "section_ends", lambda codec, positions: [1, 5, 16])
    nats = torch.ones(8, 16, dtype=torch.float64)
    nats[:, 0], nats[:, 5:] = 4, 2
    sections = evaluator.likelihood(nats).facts["sections"]
    assert [part["nll"] for part in sections] == [4, 1, 2]
    assert [(part["from"], part["to"]) for part in sections] == [(0, 1), (1, 5), (5, 16)]
