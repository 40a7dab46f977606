"""Several discriminators as one."""

import json

import pytest
import torch

from intaglio.codecs.discriminators.combined import CombinedDiscriminator
from intaglio.codecs.discriminators.period import MultiPeriodDiscriminator
from intaglio.codecs.discriminators.stft import MultiBandDiscriminator
from intaglio.codecs.part import build, describe


@pytest.fixture
def dac() -> CombinedDiscriminator:
    torch.manual_seed(0)
    parts = [
        MultiPeriodDiscriminator([2, 3], channels=[4, 8]),
        MultiBandDiscriminator([64], channels=4, edges=[0.0, 0.5, 1.0]),
    ]
    return CombinedDiscriminator(parts, normalize=True)


@pytest.fixture
def x() -> torch.Tensor:
    return 0.2 * torch.randn(2, 1, 700, generator=torch.Generator().manual_seed(1))


def test_the_full_size_of_dac():
    with torch.device("meta"):
        dac = CombinedDiscriminator([MultiPeriodDiscriminator(), MultiBandDiscriminator()])
    assert sum(p.numel() for p in dac.parameters()) == 41_105_770 + 1_413_990


def test_judgements_stand_in_order(dac, x):
    output = dac(x)
    shifted = x - x.mean(dim=-1, keepdim=True)
    normal = 0.8 * shifted / shifted.abs().amax(dim=-1, keepdim=True)
    first, second = (part(normal) for part in dac.discriminators)
    torch.testing.assert_close(output.logits, first.logits + second.logits)
    torch.testing.assert_close(output.features, first.features + second.features)
    assert [len(layers) for layers in output.features] == [2, 2, 10]


def test_offset_and_gain_of_an_item_do_not_matter(dac, x):
    gains, offsets = torch.tensor([[[0.01], [3.0]], [[0.2], [-0.4]]]).unbind()
    moved = gains.unsqueeze(1) * x + offsets.unsqueeze(1)
    torch.testing.assert_close(dac(moved).logits, dac(x).logits, rtol=1e-3, atol=1e-4)
    plain = CombinedDiscriminator(list(dac.discriminators))
    assert (plain(moved).logits[0] - plain(x).logits[0]).abs().max() > 1e-2


def test_silence_is_judged(dac):
    output = dac(torch.zeros(1, 1, 700))
    assert all(torch.isfinite(scores).all() for scores in output.logits)


def test_the_recipe_builds_an_equal_discriminator(dac, x):
    recipe = json.loads(json.dumps(describe(dac)))
    again = build(recipe)
    again.load_state_dict(dac.state_dict())
    assert describe(again) == recipe
    torch.testing.assert_close(again(x), dac(x))


def test_nothing_to_combine():
    with pytest.raises(ValueError, match="at least one"):
        CombinedDiscriminator([])
