"""What is advised when a training has failed is true of the files that are there."""

from types import SimpleNamespace

import pytest

from intaglio.recipes.callbacks.checkpoint import LastCheckpoint
from intaglio.recipes.training.failures import how_to_resume


@pytest.mark.parametrize(
    ("batches", "saved", "said"),
    [
        (0, True, ""),
        (3, False, "no checkpoint has been saved yet"),
        (3, True, "the last checkpoint of step 2 is {}: give the same command with --ckpt_path"),
    ],
)
def test_advice_on_going_on(tmp_path, batches, saved, said):
    callback = LastCheckpoint()
    callback.path, callback.saved_step = tmp_path / "last.ckpt", 2
    if saved:
        callback.path.touch()
    progress = SimpleNamespace(total=SimpleNamespace(ready=batches))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    trainer = SimpleNamespace(fit_loop=loop, checkpoint_callbacks=[callback])
    advice = how_to_resume(trainer)
    assert advice.startswith(said.format(callback.path)) and bool(advice) is bool(said)
