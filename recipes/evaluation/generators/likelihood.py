"""Likelihood of items that a generator was not trained on: nats of every token.

Token by token in a fixed order, or scale by scale, the chain rule gives the likelihood itself. A
masked order has a likelihood for every permutation of the positions: computed is the mean over
random ones, one token at a time, which by Jensen's inequality is at least the nats of their
mixture. Items drawn in fewer steps, or by confidence, have yet another distribution, whose
likelihood is not known.
"""

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.generators.generator import Generator
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.orders.masked import MaskedOrder

BATCH = 16
MAX_COUNTS = 64  # of masked tokens, for each item
BOUND = "a bound: mean over random orders, one token at a time"


def absence(generator: Generator) -> str:
    """Why there is no likelihood; "" if there is one."""
    if not generator.vocab:
        return f"{generator.name} draws vectors: densities do not compare with probabilities of ids"
    if not generator.head.tractable:
        return f"{type(generator.head).__name__} has no likelihood"
    order = generator.order
    if not isinstance(order, MaskedOrder) and not order.takes_prefixes:
        return f"{type(order).__name__} has no fixed order of the tokens"
    return ""


def is_bound(generator: Generator) -> bool:
    """Whether `nats_of` gives a bound of the nats and not the nats themselves."""
    return isinstance(generator.order, MaskedOrder)


@torch.no_grad()
def nats_of(
    generator: Generator, tokens: Tensor, condition: Tensor, *, seed: int = 0, progress: bool = True
) -> Tensor:
    """Nats of each token, float64 [items, positions], without smoothing of labels or dropout.

    Args:
        generator: in evaluation mode.
        tokens: int64 [items, positions, groups].
        condition: of each item.
        seed: of the random orders of the first item, the others have those after it.
        progress: show a bar on standard error, if that is a terminal.

    Raises:
        ValueError: the generator trains, or has no likelihood.
    """
    if generator.training:
        raise ValueError("likelihoods are of generators in evaluation mode: call its eval() first")
    if reason := absence(generator):
        raise ValueError(reason)
    device = next(generator.parameters()).device
    nats = _in_random_orders if is_bound(generator) else _in_order
    parts = []
    starts = range(0, len(tokens), BATCH)
    for start in tqdm(starts, desc="likelihood", disable=None if progress else True, leave=False):
        batch = tokens[start : start + BATCH].to(device)
        given = condition[start : start + BATCH].to(device)
        seeds = torch.arange(start, start + len(batch), device=device) + seed
        parts.append(nats(generator, batch, given, seeds).double().cpu())
    return torch.cat(parts)


def _in_order(generator: Generator, tokens: Tensor, condition: Tensor, seeds: Tensor) -> Tensor:
    """Nats of all tokens in the order of the predictions, scattered to their positions."""
    predictions = generator.predictions(tokens, condition)
    batch, positions = tokens.shape[:2]
    predicted = predictions.positions.view(batch, -1)
    everywhere = torch.arange(positions, device=predicted.device).expand(batch, -1)
    assert torch.equal(predicted.sort(1).values, everywhere), "predictions leave positions out"
    found = -generator.head.log_prob(predictions.hidden, predictions.target).view(batch, -1)
    return torch.empty_like(found).scatter(1, predicted, found)


def _in_random_orders(
    generator: Generator, tokens: Tensor, condition: Tensor, seeds: Tensor
) -> Tensor:
    """An unbiased mean over orders.

    In a random order, each number of masked tokens occurs once, and the next token is any of them.
    So all masked tokens are predicted, for evenly spread numbers of them, and each position is
    weighted by how often it would come next.
    """
    order = generator.order
    assert isinstance(order, MaskedOrder)
    batch, positions, _ = tokens.shape
    normalised = generator.normalise(tokens)
    everywhere = torch.arange(positions, device=tokens.device).unsqueeze(0)
    rounds = min(positions, MAX_COUNTS)
    total = torch.zeros(batch, positions, dtype=torch.float64, device=tokens.device)
    for round_ in range(rounds):
        draws = Draws(seeds, everywhere, round_)
        shift = Draws(seeds, everywhere[:, :1], round_).uniform(Role.NOISE)[:, 0]
        number = ((round_ + shift) * positions / rounds).floor().long() + 1  # [batch, 1]
        rank = draws.uniform(Role.ORDER)[..., 0].argsort(1).argsort(1)
        masked = rank < number
        predictions = order.predictions_given(generator.backbone, normalised, condition, masked)
        nats = -generator.head.log_prob(predictions.hidden, predictions.target).double()
        share = (positions / number.double()).expand(-1, positions)[masked]
        total[masked] += share * nats / rounds
    return total
