"""Overlays train two steps on a CPU; `many_gpus` does so in `test_many_processes`."""

import pytest
import torch

from intaglio.recipes.callbacks.compiled import CompiledCodec


@pytest.fixture
def train(launcher, tiny_recipe, tmp_path):
    """Two steps with an overlay; gives the checkpoint."""

    def run(overlay):
        words = ("fit", "-c", tiny_recipe, "-c", f"overlays/{overlay}", "--trainer.max_steps=2")
        environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        process = launcher.start(tmp_path, *words, environment=environment)
        assert launcher.wait(process) == 0, launcher.output.read_text()
        (path,) = tmp_path.rglob("last.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["global_step"] == 2
        return checkpoint

    return run


def test_bf16_trains_and_keeps_weights_and_codebook_exact(train):
    state = train("bf16")["state_dict"]
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64, torch.bool}
    assert all(value.isfinite().all() for value in state.values())
    assert state["codec.quantizer._codebook.updates"] == 2


def test_wandb_logs_into_the_folder_of_the_run(train, tmp_path):
    train("wandb")
    assert list((tmp_path / "run").glob("wandb/offline-run-*"))
    assert (tmp_path / "run" / "version_0" / "checkpoints" / "last.ckpt").is_file()


def test_compiled_in_place_the_names_stay(tiny_codec):
    """The forward pass is compiled, not the module: nothing is compiled here."""
    names = list(tiny_codec.state_dict())
    task = torch.nn.Module()
    task.codec = tiny_codec
    CompiledCodec().on_fit_start(None, task)
    assert list(task.codec.state_dict()) == names
    assert task.codec._compiled_call_impl is not None
