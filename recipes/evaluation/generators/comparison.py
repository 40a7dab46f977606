"""Generators, tables of counts and real items, measured in the same way on the same tokens."""

from typing import Any, NamedTuple

import torch

from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.generator import Generator
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.evaluation.generators.baselines import TABLES, table_nats, unigram_samples
from intaglio.recipes.evaluation.generators.likelihood import BOUND, absence, is_bound, nats_of
from intaglio.recipes.evaluation.generators.measure import Bench, Drawn
from intaglio.recipes.evaluation.scores import Score, Scores


class GeneratorRow(NamedTuple):
    """One system in a comparison.

    Attributes:
        system: name.
        bits: that an image takes by its law, mean of the held-out items; None if it has none.
        scores: by name of the column.
        items: held-out items told, or drawn if there is no likelihood.
        note: why it did not run; always "".
        is_ours: it is a generator under test.
        is_bound: its nats are a bound.
        facts: what else the record tells.
    """

    system: str
    bits: float | None
    scores: Scores
    items: int
    note: str = ""
    is_ours: bool = False
    is_bound: bool = False
    facts: dict[str, Any] = {}


def generator_row(
    bench: Bench, name: str, generator: Generator, sampler: Sampler, *, seed: int = 0
) -> tuple[GeneratorRow, Drawn]:
    """A generator's row, and what it drew.

    Args:
        bench: measures.
        name: of the row.
        generator: on its device, in evaluation mode.
        sampler: how items are drawn.
        seed: of the first item.
    """
    law = _law(bench, generator)
    drawn = bench.draw(generator, sampler, seed=seed)
    is_text = isinstance(generator.condition, PromptCondition)
    reason = "" if is_text else f"{generator.name} is told classes, not captions"
    scores = bench.against_held(drawn.features) | bench.judged(drawn, bench.places, captions=reason)
    return law._replace(
        system=name, scores=law.scores | scores, items=len(bench.places), is_ours=True
    ), drawn


def control_rows(bench: Bench) -> list[GeneratorRow]:
    """What to compare with: real items, then tables of counts."""
    everyone = list(range(bench.held.items))
    rows = [
        GeneratorRow("real, held out", None, bench.judged(bench.truth, everyone), len(everyone))
    ]
    count = min(len(bench.places), bench.train.items)
    some = torch.tensor([number * bench.train.items // count for number in range(count)])
    features = bench.reals.features[some]
    rows.append(GeneratorRow("real, training", None, bench.against_held(features), count))
    for name, context in TABLES.items():
        if name == "class-position unigram" and bench.class_judge is None:
            continue
        nats, alpha = table_nats(context, bench.train, bench.tune, bench.held, bench.codec.vocab)
        scores, bits, facts = bench.likelihood(nats)
        if name == "unigram":
            drawn = bench.seen(unigram_samples(bench.train, len(bench.places), seed=bench.seed))
            scores |= bench.against_held(drawn.features) | bench.judged(drawn, bench.places)
        facts = {"alpha": alpha} | facts
        rows.append(GeneratorRow(name, bits, scores, bench.held.items, facts=facts))
    return rows


def _law(bench: Bench, generator: Generator) -> GeneratorRow:
    """What a generator says of the held-out items, as far as it can."""
    if reason := absence(generator):
        return GeneratorRow("", None, {"nll": Score(None, None, None, 0, 0, reason)}, 0)
    told = generator.condition.of_batch(bench.held.batch(range(bench.held.items)))
    unconditional = generator.condition.dropped(told, torch.ones(len(told), dtype=torch.bool))
    law, without = (
        bench.likelihood(nats_of(generator, bench.held.tokens, condition, seed=bench.seed))
        for condition in (told, unconditional)
    )
    scores = law.scores | {"nll_untold": without.scores["nll"]}
    bound = is_bound(generator)
    if bound:
        scores = {name: score._replace(reason=BOUND) for name, score in scores.items()}
    return GeneratorRow("", law.bits, scores, 0, is_bound=bound, facts=law.facts)
