import logging
from types import SimpleNamespace

import pytest
import torch

from intaglio.recipes.callbacks.usage import CodeUsage


class Module:
    codec = SimpleNamespace(vocab=(4, 8))

    def __init__(self):
        self.logged = {}

    def log(self, name, value, sync_dist):
        self.logged[name] = float(value)


def steps(callback, module, ids, count=1):
    trainer = SimpleNamespace(global_step=0)
    for _ in range(count):
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, module, {"ids": ids}, None, 0)


def test_usage_counts_every_group_over_the_window():
    module = Module()
    ids = torch.tensor([[[0, 7], [1, 7]], [[2, 7], [3, 7]]])
    steps(CodeUsage(window=2), module, ids, 2)
    assert module.logged["train/usage"] == pytest.approx(5 / 12)
    assert module.logged["train/usage_ceiling"] == 1  # of 8 tokens in each group
    assert module.logged["train/dead_codes"] == 7
    assert module.logged["train/usage_perplexity"] == pytest.approx((4 + 1) / 2)


def test_nothing_is_logged_before_the_window_is_full():
    module = Module()
    steps(CodeUsage(window=3), module, torch.zeros(1, 2, 2, dtype=torch.int64), 2)
    assert module.logged == {}


def test_a_collapse_is_reported_once(caplog):
    with caplog.at_level(logging.WARNING):
        steps(CodeUsage(window=2, alarm=0.3), Module(), torch.zeros(1, 2, 2, dtype=torch.int64), 8)
    assert len(caplog.records) == 1
    assert "16.7 % of the codes" in caplog.text


def test_a_few_tokens_that_all_differ_are_no_collapse(caplog):
    """They cannot use more codes than there are tokens; that limit is logged as well."""
    module = Module()
    module.codec = SimpleNamespace(vocab=(1000,))
    ids = torch.tensor([[[0], [1], [2]]])
    with caplog.at_level(logging.WARNING):
        steps(CodeUsage(window=1, alarm=0.5), module, ids)
    assert not caplog.records
    assert module.logged["train/usage"] == pytest.approx(0.003)
    assert module.logged["train/usage_ceiling"] == pytest.approx(0.003)
    with caplog.at_level(logging.WARNING):
        steps(CodeUsage(window=1, alarm=0.5), module, 0 * ids)
    assert "0.1 % of the codes" in caplog.text and "at most 0.3 %" in caplog.text


def test_validation_counts_all_its_batches():
    module, callback = Module(), CodeUsage()
    callback.on_validation_epoch_start(None, module)
    for code in range(4):
        ids = torch.full((5, 2), code)
        callback.on_validation_batch_end(None, module, {"ids": ids}, None, code)
    callback.on_validation_epoch_end(None, module)
    assert module.logged["val/usage"] == pytest.approx(8 / 12)
    assert module.logged["val/usage_perplexity"] == pytest.approx(4)


def test_a_resumed_training_counts_on():
    first, unbroken, module = CodeUsage(window=4), Module(), Module()
    ids = torch.tensor([[[0, 1]], [[1, 3]], [[2, 5]], [[3, 7]]])
    whole = CodeUsage(window=4)
    for step in range(4):
        steps(whole, unbroken, ids[step : step + 1])
    for step in range(2):
        steps(first, module, ids[step : step + 1])
    again = CodeUsage(window=4)
    again.load_state_dict(first.state_dict())
    assert module.logged == {}
    for step in range(2, 4):
        steps(again, module, ids[step : step + 1])
    assert module.logged == unbroken.logged != {}
