"""Groups by probability: the kernel finds the masses that torch finds, and wrong ones are seen."""

import math

import pytest
import torch

from intaglio.generators.inference.kernels import bands
from intaglio.generators.samplers.acceptance import grouped
from intaglio.generators.samplers.acceptance.grouped import Grouped

# the logarithm of 0 is meant
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
    pytest.mark.usefixtures("large_tiles"),
]


def laws(batch, window, vocab, device):
    """Log-probabilities of a target with top-p, and of drafts that are the same for some items."""
    random = torch.Generator().manual_seed(vocab)
    p, q = 2 * torch.randn(2, batch, window + 1, vocab, generator=random)
    p[::2, :, ::2] = -torch.inf
    drafts = torch.randint(vocab, (batch, window), generator=random)
    q = q[:, :1].expand(-1, window, -1)
    return p.log_softmax(-1)[:, :-1].to(device), q.log_softmax(-1).to(device), drafts.to(device)


def check(module, monkeypatch, batch, window, vocab, device, *, distance):
    """By `Grouped`, which calls the module or does not."""
    p, q, drafts = laws(batch, window, vocab, device)
    codes = torch.randn(vocab, 3, generator=torch.Generator().manual_seed(1)).to(device)
    rule = Grouped([codes], band=1.6, difference=0.03, distance=distance, corrected=False)
    wanted = rule._by_band(p, q, drafts, 0)
    monkeypatch.setattr(grouped, "is_fused", lambda *_: True)
    monkeypatch.setattr("intaglio.generators.inference.kernels.bands", module)
    monkeypatch.setattr(module, "TILE", bands.TILE)
    found = rule._by_band(p, q, drafts, 0)
    monkeypatch.undo()
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32 and one.shape == (batch, window)
        # an id or two in many thousands may lie where rounding decides
        assert ((one - other).abs() > 1e-5).sum() <= batch * window // 500
    alone = (wanted[0] - p.gather(-1, drafts.unsqueeze(-1)).squeeze(-1).exp()).abs() < 1e-7
    assert 0 < alone.float().mean() < 1  # there are groups of one id, and larger ones


SIZES = {"many": (400, 4, 23), "few": (3, 1, 70), "wide": (20, 2, 300)}


@pytest.mark.parametrize("distance", [1.5, math.inf])
@pytest.mark.parametrize("size", SIZES)
def test_masses_are_those_of_torch(size, distance, monkeypatch, device):
    check(bands, monkeypatch, *SIZES[size], device, distance=distance)


def test_there_may_be_no_drafts(device):
    p, q, drafts = laws(3, 0, 7, device)
    options = {"band": 1.0, "difference": 1.0, "distance": math.inf, "codes": None}
    assert [one.shape for one in bands.masses(p, q, drafts, **options)] == [(3, 0)] * 2


MUTANTS = {
    "one side of the band": ("tl.abs(target - here) <= band", "(target - here) <= band"),
    "without the draft": ("| (index == draft)", ""),
    "difference of logarithms": ("    target = tl.exp(target)\n", ""),
    "square of the distance": ("tl.sqrt(apart) <= distance", "apart <= distance"),
    "code of another id": ("codes + draft * DIM", "codes + 0 * DIM"),
    "last component alone": ("apart += step * step", "apart = step * step"),
    "drafts of the first slot": (
        "+ item * q_item + slot * q_slot + index",
        "+ slot * q_slot + index",
    ),
    "every id": ("member &= inside", "member = inside"),
    "target twice": ("tl.where(member, drafted, 0.0)", "tl.where(member, target, 0.0)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_kernels_are_seen(mutant, monkeypatch, device, name):
    wrong = mutant("bands", *MUTANTS[name])
    with pytest.raises(AssertionError):
        check(wrong, monkeypatch, *SIZES["many"], device, distance=1.5)
