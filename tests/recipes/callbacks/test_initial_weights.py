"""A training begins with the weights of another, and a resumed one with its own."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from intaglio.codecs import load
from intaglio.codecs.bundle import save
from intaglio.codecs.folding import folded_state
from intaglio.codecs.part import build, describe
from intaglio.recipes.callbacks.initial_weights import InitialWeights


def begun(codec, source, stage="fit", resumed=None):
    task = nn.ModuleDict({"codec": build(describe(codec))})
    InitialWeights(str(source)).setup(SimpleNamespace(ckpt_path=resumed), task, stage)
    return task["codec"]


def equal(one, other):
    """Up to the rounding of weight normalisation."""
    found, wanted = folded_state(one), folded_state(other)
    assert found.keys() == wanted.keys()
    return all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_weights_are_those_of_the_source(bundle):
    source = load(bundle)
    assert equal(begun(source, bundle), source)
    assert all(weight.requires_grad for weight in begun(source, bundle).parameters())


@pytest.mark.parametrize(("stage", "resumed"), [("fit", "last.ckpt"), ("validate", None)])
def test_a_resumed_training_and_other_commands_keep_theirs(bundle, stage, resumed):
    source = load(bundle)
    assert not equal(begun(source, bundle, stage, resumed), source)


def test_another_architecture_is_refused(bundle, tiny_codec, tmp_path):
    other = save(tiny_codec, tmp_path)
    with pytest.raises(ValueError, match="do not fit the codec of the recipe"):
        begun(load(bundle), other)


def test_a_name_of_the_package_is_a_source():
    assert equal(begun(load("speech"), "speech"), load("speech"))
