"""Races of the kernel and of torch: the same tokens, and kernels that draw others are seen."""

import pytest
import torch

from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.inference.counter_rng import gumbel
from intaglio.generators.inference.kernels import races
from intaglio.generators.inference.logits import Warp

ROUNDING = 2e-5  # of a log-probability
# what has no row, or nothing to lose, is inf - inf or the logarithm of 0 to the interpreter
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning"),
    pytest.mark.usefixtures("large_tiles"),
]


def logits(rows, vocab, dtype, device):
    """Some with ties, one id that is certain, few that are possible, or all alike."""
    random = torch.Generator().manual_seed(vocab)
    x = 2 * torch.randn(rows, 3, vocab, generator=random)
    x[0] = x[0].round()
    x[1] = x[1].sign() / 2
    x[2] = -torch.inf
    x[2, :, -1] = 1.0
    x[3, :, ::2] = -torch.inf
    x[4] = 0.0
    x[5] *= 50
    x[6] = 0.0
    x[6, :, ::2] = -0.0
    return x.to(device, dtype)


def check(module, case, rows, device):
    vocab, dtype, scale, warp = case
    value, null = logits(rows, vocab, dtype, device), logits(rows, vocab, dtype, device).flip(0)
    null = null.clamp_min(-9)
    if scale == 0:  # 0 * inf is no number
        value = value.clamp_min(-9)
    random = torch.Generator().manual_seed(1)
    keys = torch.randint(-(2**63), 2**63 - 1, (rows, 3), generator=random).to(device)
    if scale == "each":
        scale = torch.rand(rows, 3, generator=random, dtype=torch.float64).mul(3).to(device)
        scale[0], scale[1] = 1, 0
    wanted = warp(guided(value.float(), null.float(), scale))
    found = module.distribution(value, null, scale, warp)
    assert torch.equal(found.isneginf(), wanted.isneginf())
    possible = ~wanted.isneginf()
    bound = ROUNDING + 2**-22 * wanted[possible].abs()  # two ulps of -300, which guidance makes
    assert ((found - wanted)[possible].abs() <= bound).all()
    scores = wanted + gumbel(keys, vocab)
    drawn = module.draw(value, null, scale, warp, keys)
    # where two ids race neck and neck, rounding decides
    lost = scores.amax(-1) - scores.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
    assert lost.max() < ROUNDING
    assert (drawn != scores.argmax(-1)).sum() <= 1 + rows // 1000


SHARP = torch.tensor([0.5, 1.0, 1.7, 0.2]).repeat(1024)
CASES = {
    "plain": (5, torch.float32, 1, Warp()),
    "two ids": (2, torch.float32, 3, Warp(0.7)),
    "top-k": (37, torch.float32, 3.0, Warp(1.3, top_k=11)),
    "the likeliest": (257, torch.bfloat16, 0, Warp(0.9, top_k=1)),
    "nucleus": (37, torch.bfloat16, 3.0, Warp(1.0, top_p=0.8)),
    "half of equal ids": (8, torch.float32, 1.0, Warp(top_p=0.5)),
    "small nucleus": (257, torch.float32, "each", Warp(1.0, top_p=1e-6)),
    "zeros": (8, torch.float32, 1, Warp(top_k=3)),
    "both": (100, torch.float32, "each", Warp(SHARP[:512], top_k=20, top_p=0.5)),
}


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_those_of_torch(case, device):
    check(races, CASES[case], 512 if CASES[case][0] < 200 else 64, device)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocab", [2, 3, 64, 257, 1000, 16384])
def test_tokens_of_many_rows_are_those_of_torch(vocab, dtype, device):
    rows = 1024 if vocab < 200 else 256 if vocab < 1000 else 16
    for scale, warp in (
        (0, Warp()),
        (1.0, Warp(0.8, top_k=1)),
        (3, Warp(1.2, top_k=vocab - 1)),
        ("each", Warp(SHARP[:rows].to(device), top_k=vocab // 2, top_p=0.9)),
        (3, Warp(1.0, top_p=1e-6)),
    ):
        check(races, (vocab, dtype, scale, warp), rows, device)


def test_logits_may_be_part_of_others(device):
    """As those of several groups are, and as the halves of a guided batch."""
    every = logits(16, 12, torch.float32, device)
    keys = torch.arange(24, device=device).view(8, 3)
    for part in (every[..., 2:9], every.split([5, 7], -1)[1]):
        value, null = part.chunk(2)
        found = races.draw(value, null, 2.0, Warp(), keys)
        same = races.draw(value.contiguous(), null.contiguous(), 2.0, Warp(), keys)
        assert torch.equal(found, same)
    assert races.draw(every[:0], None, 1.0, Warp(), keys[:0]).shape == (0, 3)


@pytest.mark.parametrize("positions", [0, 1, 4])
def test_logits_of_one_position_are_those_of_all(device, positions):
    value = logits(7, 5, torch.float32, device)[:, :1]
    random = torch.Generator().manual_seed(1)
    keys = torch.randint(-(2**63), 2**63 - 1, (7, positions), generator=random).to(device)
    drawn = races.draw(value, None, 1.0, Warp(), keys)
    wanted = value.log_softmax(-1) + gumbel(keys, 5)
    assert torch.equal(drawn, wanted.argmax(-1)) and drawn.shape == (7, positions)


def test_scales_are_of_all_of_items_or_of_positions(device):
    value, null = logits(16, 6, torch.float32, device)[7:].chunk(2)
    for shape in ((1,), (4,), (1, 3), (4, 1), (4, 3)):
        scale = torch.linspace(0, 2, 12, device=device)[: torch.Size(shape).numel()].view(shape)
        found = races.distribution(value[:4], null, scale, Warp())
        torch.testing.assert_close(found, Warp()(guided(value[:4], null, scale)))


def test_an_id_is_drawn_that_there_is_whatever_the_logits_are(device):
    for value in (-torch.inf, torch.nan, torch.inf):
        x = torch.full((2, 1, 5), value, device=device)
        for warp in (Warp(), Warp(top_k=2), Warp(top_p=0.5)):
            ids = races.draw(x, None, 1.0, warp, torch.zeros(2, 1, dtype=torch.int64).to(device))
            assert ((ids >= 0) & (ids < 5)).all()


MUTANTS = {
    "no guidance": ("two ids", "races", "    if GUIDED:", "    if False:"),
    "the other way round": (
        "two ids",
        "races",
        "other + scale * (x - other)",
        "x + scale * (other - x)",
    ),
    "no temperature": ("two ids", "races", "    if WARMED:", "    if False:"),
    "a temperature of others": ("both", "races", "row * temperature_stride", "row * 0"),
    "a scale of others": ("both", "races", "row * scale_stride", "row * 0"),
    "one id too few": ("top-k", "races", "weight >= least", "weight > least"),
    "ties are left out": (
        "top-k",
        "races",
        "x = tl.where(ranks >= least",
        "x = tl.where(ranks > least",
    ),
    "no nucleus": ("nucleus", "races", "    if TOP_P:", "    if False:"),
    "one id too many": ("half of equal ids", "races", "* shares < top_p", "* shares <= top_p"),
    "all of equal ids": ("half of equal ids", "races", "earlier.to(tl.float32) * shares", "0.0"),
    "negative zero": ("zeros", "races", "(x + 0.0)", "x"),
    "one key": ("plain", "races", "tl.load(keys + row)", "tl.load(keys)"),
    "next id": ("plain", "numbers", "(index + 1)", "(index + 2)"),
    "other mixing": ("plain", "numbers", "word >> 27", "word >> 28"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_wrong_kernels_are_seen(mutant, monkeypatch, device, name):
    case, module, text, other = MUTANTS[name]
    wrong = mutant(module, text, other)
    if module == "numbers":
        monkeypatch.setattr(races, "gumbels", wrong.gumbels)
        wrong = races
    monkeypatch.setattr(wrong, "TILE", races.TILE)
    with pytest.raises(AssertionError):
        check(wrong, CASES[case], 512, device)
