"""Generators, tables of counts and real items, measured in the same way on the same tokens."""

from typing import NamedTuple

import torch

from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.evaluation.generators.baselines import TABLES, table_nats, unigram_samples
from intaglio.recipes.evaluation.generators.evaluator import GeneratorEvaluator, Samples
from intaglio.recipes.evaluation.generators.likelihood import BOUND, absence, is_bound, nats_of
from intaglio.recipes.evaluation.items import evenly_spaced
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.scores import Score


class GeneratorResult(NamedTuple):
    """A generator's row, and what it drew."""

    row: Row
    samples: Samples


def evaluate_generator(
    evaluator: GeneratorEvaluator,
    name: str,
    generator: Generator,
    sampler: Sampler,
    *,
    seed: int = 0,
) -> GeneratorResult:
    """Measure a generator: likelihood of the held-out tokens, then samples.

    Args:
        evaluator: measures.
        name: of the row.
        generator: on its device, in evaluation mode.
        sampler: how items are drawn.
        seed: of the first item.
    """
    row = _likelihood_row(evaluator, name, generator)
    samples = evaluator.draw(generator, sampler, seed=seed)
    is_text = isinstance(generator.condition, PromptCondition)
    reason = "" if is_text else f"{generator.name} is conditioned on classes, not on captions"
    items = evaluator.condition_items
    scores = evaluator.distance_scores(samples.features)
    scores |= evaluator.probe_scores(samples, items, no_captions=reason)
    return GeneratorResult(row._replace(scores=row.scores | scores, items=len(items)), samples)


def control_rows(evaluator: GeneratorEvaluator) -> list[Row]:
    """What to compare with: real items, then tables of counts."""
    held, train, items = evaluator.held, evaluator.train, evaluator.condition_items
    count = min(len(items), train.items)
    real_train = evaluator.real_train.features[torch.tensor(evenly_spaced(train.items, count))]
    probes = evaluator.probe_scores(evaluator.real_held, range(held.items))
    rows = [
        Row("real, held out", None, probes, held.items),
        Row("real, training", None, evaluator.distance_scores(real_train), count),
    ]
    for name, context in TABLES.items():
        if name == "class-position unigram" and evaluator.class_probe is None:
            continue
        nats, alpha = table_nats(context, train, evaluator.tune, held, evaluator.codec.vocab)
        scores, bits, facts = evaluator.likelihood(nats)
        if name == "unigram":
            drawn = unigram_samples(train, len(items), seed=evaluator.seed)
            samples = evaluator.decoded(drawn)
            scores |= evaluator.distance_scores(samples.features)
            scores |= evaluator.probe_scores(samples, items)
        rows.append(Row(name, bits, scores, held.items, facts={"alpha": alpha} | facts))
    return rows


def _likelihood_row(evaluator: GeneratorEvaluator, name: str, generator: Generator) -> Row:
    """How well a generator predicts the held-out items, conditional and unconditional."""
    if reason := absence(generator):
        return Row(name, None, {"nll": Score.absent(reason)}, 0, is_ours=True)
    held = evaluator.held
    condition = generator.condition.of_batch(held.batch(range(held.items)))
    none = generator.condition.dropped(condition, torch.ones(len(condition), dtype=torch.bool))
    conditional, unconditional = (
        evaluator.likelihood(nats_of(generator, held.tokens, one, seed=evaluator.seed))
        for one in (condition, none)
    )
    scores = conditional.scores | {"nll_unconditional": unconditional.scores["nll"]}
    if is_bound(generator):
        scores = {
            metric: score._replace(reason=BOUND, is_upper_bound=True)
            for metric, score in scores.items()
        }
    return Row(name, conditional.bits, scores, 0, is_ours=True, facts=conditional.facts)
