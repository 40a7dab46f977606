"""Rejection sampling by the kernels and by torch: the same verdicts, and wrong ones are seen."""

import pytest
import torch

from intaglio.generators.inference.counter_rng import Draws
from intaglio.generators.inference.kernels import rejection
from intaglio.generators.samplers.acceptance.base import TINY, Window, deciding
from intaglio.generators.samplers.acceptance.exact import ModifiedRejection

# the logarithm of 0 is meant
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
    pytest.mark.usefixtures("large_tiles"),
]


def window_and_target(batch, window, vocab, device, known=True):
    """Some drafts from distributions that are equal, disjoint, certain, or the same everywhere."""
    random = torch.Generator().manual_seed(vocab[0])
    p = [2 * torch.randn(batch, window + 1, size, generator=random) for size in vocab]
    q = [2 * torch.randn(batch, window, size, generator=random) for size in vocab]
    for target, drafted in zip(p, q, strict=True):
        drafted[0] = target[0, :-1]
        target[1, :, ::2], drafted[1, :, 1::2] = -torch.inf, -torch.inf
        target[2, :, 1:] = -torch.inf
        target[3, :, 0] = -torch.inf
        drafted[4, :, 1:] = -torch.inf
        drafted[5:100] = target[5:100, :-1] + drafted[5:100] / 9  # many of which are kept
        if window:
            drafted[:] = drafted.where(torch.arange(batch)[:, None, None] != 6, drafted[6, 0])
    q = [one.log_softmax(-1) for one in q]
    ids = [
        (one - torch.empty_like(one).exponential_(generator=random).log()).argmax(-1) for one in q
    ]
    tokens = torch.stack(ids, -1).to(device)
    p = [one.log_softmax(-1).to(device) for one in p]
    return Window(tokens, [one.to(device) for one in q] if known else None), p


def check(module, batch, window, vocab, device, *, known=True):
    drafts, target = window_and_target(batch, window, vocab, device, known)
    seeds, positions = torch.arange(batch, device=device), torch.arange(window + 1, device=device)
    draws = Draws(seeds, positions[None], seeds % 5)
    wanted = ModifiedRejection().verify(drafts, target, draws)
    numbers, keys = deciding(draws, len(vocab))
    given = (target, drafts.log_probs, drafts.tokens, numbers, keys)
    accepted, tokens = module.verify(*given, tiny=TINY)
    # a number or two in many thousands may lie where rounding decides
    assert (accepted != wanted.accepted).sum() <= batch // 1000
    # so may races, and those for what is left of two distributions that are nearly equal
    assert (tokens != wanted.tokens).sum() <= batch // 200
    kept, found = module.verify(*given, tiny=TINY, everywhere=False)
    assert torch.equal(kept, accepted)
    first = accepted.long().cumprod(1).sum(1, keepdim=True)
    reached = positions[None] <= first
    assert torch.equal(found[reached], tokens[reached])
    behind = ~reached & (positions < window)
    assert torch.equal(found[behind], drafts.tokens[behind[:, :-1]])
    assert (found[~reached & (positions == window)] == -1).all()
    assert not window or 0 < accepted.float().mean() < 1


SIZES = {"many": (400, 5, (37,)), "groups": (200, 4, (5, 9)), "none": (200, 0, (7,))}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_verdicts_are_those_of_torch(size, known, device):
    check(rejection, *SIZES[size], device, known=known)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_verdicts_on_many_windows_are_those_of_torch(known, device):
    for window in (1, 2, 8, 33):
        for vocab in ((2,), (3, 2), (64,), (257,), (1000,)):
            batch = 3000 // window if vocab[0] < 100 else 100
            check(rejection, batch, window, vocab, device, known=known)


def test_distributions_may_be_part_of_others_and_the_same_everywhere(device):
    """As those of several groups are, and what `JacobiDrafter` draws its first drafts from."""
    drafts, target = window_and_target(100, 3, (12,), device)
    draws = Draws(torch.arange(100, device=device), torch.arange(4, device=device)[None], 1)
    numbers, keys = deciding(draws, 1)
    uniform = torch.zeros(12, device=device).log_softmax(0).expand(100, 3, -1)
    wide = torch.cat([target[0]] * 2, -1)[..., 6:18].log_softmax(-1)
    for p, q in (([wide], [uniform]), ([wide.contiguous()], [uniform.contiguous()])):
        found = rejection.verify(p, q, drafts.tokens, numbers, keys, tiny=TINY)
        wanted = ModifiedRejection().verify(Window(drafts.tokens, q), p, draws)
        assert torch.equal(found[0], wanted.accepted) and torch.equal(found[1], wanted.tokens)


MUTANTS = {
    "inverted ratio": ("keep < drafted, tl.math", "keep > drafted, tl.math"),
    "target in place of the residual": ("tl.exp(target) - tl.exp(drafted)", "tl.exp(target)"),
    "distance": (
        "tl.maximum(tl.exp(target) - tl.exp(drafted), 0.0)",
        "tl.abs(tl.exp(target) - tl.exp(drafted))",
    ),
    "past the first rejection": (
        "tl.min(tl.where(flags == 0, slots, window), 1",
        "tl.max(slots, 1",
    ),
    "the last rejection": (
        "tl.min(tl.where(flags == 0, slots, window), 1",
        "tl.max(tl.where(flags == 0, slots, 0), 1",
    ),
    "shifted": ("(item * (window + 1) + slot) * vocab", "(item * (window + 1) + slot + 1) * vocab"),
    "drafts of the first item": (
        "+ item * q_item + slot * q_slot + draft",
        "+ slot * q_slot + draft",
    ),
    "a refused draft again": ("index == token", "index == -1"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_kernels_are_seen(mutant, monkeypatch, device, name):
    wrong = mutant("rejection", *MUTANTS[name])
    monkeypatch.setattr(wrong, "TILE", rejection.TILE)
    known = name != "a refused draft again"
    with pytest.raises(AssertionError):
        check(wrong, *SIZES["many"], device, known=known)
