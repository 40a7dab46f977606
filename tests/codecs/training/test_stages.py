"""Stages: which holds when, and what they freeze."""

import pytest
import torch
from torch import nn

from intaglio.codecs.training.stages import Stage, check, enter, stage_at


class Statistics(nn.Module):
    """Something with a buffer only, and something without anything, inside."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.dropout = nn.Dropout()


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
        self.quantizer = Statistics()
        self.decoder = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


def learning(body):
    return {name for name, p in body.named_parameters() if p.requires_grad}


def in_training(body):
    return {name for name, module in body.named_modules() if module.training}


def test_the_last_stage_that_began_holds():
    stages = [Stage(), Stage(3), Stage(10)]
    found = [stages.index(stage_at(stages, step)) for step in (0, 2, 3, 4, 9, 10, 11, 1000)]
    assert found == [0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("starts", [(), (1,), (0, 5, 5), (0, 5, 3)])
def test_stages_out_of_order_are_refused(starts):
    stages = [Stage(start) for start in starts]
    with pytest.raises(ValueError, match=r"begin at step 0 and follow one another, got starts \["):
        stage_at(stages, 0)
    with pytest.raises(ValueError, match="follow one another"):
        check(stages, Body())


def test_what_is_not_named_neither_learns_nor_trains():
    body = Body()
    enter(Stage(learns=["decoder.1.*"]), body, set())
    assert learning(body) == {"decoder.1.weight", "decoder.1.bias"}
    assert in_training(body) == {"", "decoder", "decoder.1"}


def test_a_buffer_may_be_what_learns():
    body = Body()
    enter(Stage(learns=["quantizer.mean", "encoder*"]), body, set())
    assert learning(body) == {"encoder.0.weight", "encoder.0.bias"}
    assert in_training(body) == {
        *("", "encoder", "encoder.0", "encoder.1", "quantizer", "quantizer.dropout")
    }


def test_a_later_stage_frees_what_an_earlier_one_froze():
    body = Body()
    enter(Stage(learns=["decoder.*"]), body, set())
    enter(Stage(learns=["encoder.*"]), body, set())
    assert learning(body) == {"encoder.0.weight", "encoder.0.bias"}
    enter(Stage(), body, set())
    assert learning(body) == {name for name, _ in body.named_parameters()}
    assert in_training(body) == {name for name, _ in body.named_modules()}


def test_what_is_always_frozen_stays_so():
    body = Body()
    enter(Stage(), body, {"encoder.0.weight"})
    assert {name for name, _ in body.named_parameters()} - learning(body) == {"encoder.0.weight"}


def test_a_pattern_that_names_nothing_is_refused():
    check([Stage(), Stage(5, ["quantizer.*"])], Body())
    with pytest.raises(ValueError, match="no part of the codec is called decodr"):
        check([Stage(), Stage(5, ["decoder.*", "decodr.*"])], Body())
