from types import SimpleNamespace

import pytest
import torch
from torch import nn

from intaglio.recipes.callbacks.ema import ParameterEMA


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.codec = nn.Module()
        self.codec.weight = nn.Parameter(torch.zeros(2))
        self.codec.register_buffer("count", torch.zeros(1))
        self.other = nn.Linear(1, 1)


@pytest.fixture
def run():
    """A module, a callback, and a function that makes a step."""
    module, callback = Module(), ParameterEMA(decay=0.5)
    trainer = SimpleNamespace(global_step=0)
    callback.on_fit_start(trainer, module)

    def step(value):
        trainer.global_step += 1
        with torch.no_grad():
            module.codec.weight.fill_(value)
            module.codec.count += 1
        callback.on_train_batch_end(trainer, module, None, None, 0)

    return module, callback, trainer, step


def test_only_the_parameters_of_the_sub_module_are_averaged(run):
    module, callback, _, step = run
    step(1.0)
    assert set(callback.average) == {"weight"}
    step(1.0)
    # shares kept: min(0.5, 2 / 11), then min(0.5, 3 / 12)
    expected = 1 - 2 / 11 * 3 / 12
    torch.testing.assert_close(callback.average["weight"], torch.full((2,), expected))
    assert module.codec.count == 2


def test_a_skipped_step_does_not_count(run):
    module, callback, trainer, step = run
    step(1.0)
    before = callback.average["weight"].clone()
    callback.on_train_batch_end(trainer, module, None, None, 0)
    assert torch.equal(callback.average["weight"], before)


def test_the_average_serves_validation_and_the_live_weights_come_back(run):
    module, callback, trainer, step = run
    step(1.0)
    callback.on_validation_start(trainer, module)
    assert torch.equal(module.codec.weight, callback.average["weight"])
    checkpoint = {"state_dict": {"codec.weight": module.codec.weight.clone()}}
    callback.on_save_checkpoint(trainer, module, checkpoint)
    assert torch.equal(checkpoint["state_dict"]["codec.weight"], torch.ones(2))
    callback.on_validation_end(trainer, module)
    assert torch.equal(module.codec.weight, torch.ones(2))
    callback.on_validation_end(trainer, module)
    assert torch.equal(module.codec.weight, torch.ones(2))


def test_a_resumed_run_averages_on(run):
    module, callback, trainer, step = run
    step(1.0)
    checkpoint = {"state_dict": {}}
    callback.on_save_checkpoint(trainer, module, checkpoint)
    again = ParameterEMA(decay=0.5)
    again.on_load_checkpoint(trainer, module, checkpoint)
    again.on_fit_start(trainer, module)
    step(3.0)
    again.on_train_batch_end(trainer, module, None, None, 0)
    torch.testing.assert_close(again.average["weight"], callback.average["weight"])


def test_decay_is_checked():
    with pytest.raises(ValueError, match=r"1\.0"):
        ParameterEMA(decay=1.0)
