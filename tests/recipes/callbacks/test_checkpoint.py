"""Checkpoint files: complete or absent, and no damage goes unnoticed."""

import errno
import os

import pytest
import torch

from intaglio.recipes.callbacks.checkpoint import LastCheckpoint
from intaglio.recipes.callbacks.checkpoint_files import CheckedIO, check, newest


def content(step):
    return {"global_step": step, "state_dict": {"weight": torch.full((40,), float(step))}}


@pytest.fixture
def folder(tmp_path):
    """A run with two saved checkpoints."""
    for step in (1, 2):
        CheckedIO().save_checkpoint(content(step), tmp_path / "version_0/checkpoints/last.ckpt")
    return tmp_path / "version_0/checkpoints"


def step_of(path):
    return CheckedIO().load_checkpoint(path, weights_only=True)["global_step"]


def test_the_one_before_is_kept_and_nothing_else(folder):
    assert {path.name for path in folder.iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert step_of(folder / "last.ckpt") == 2 and step_of(folder / "previous.ckpt") == 1
    assert newest(folder.parent.parent) == folder / "last.ckpt"


def test_a_linked_checkpoint_becomes_the_one_before(folder, tmp_path):
    os.rename(folder / "last.ckpt", tmp_path / "kept.ckpt")
    (folder / "last.ckpt").symlink_to(tmp_path / "kept.ckpt")
    CheckedIO().save_checkpoint(content(3), folder / "last.ckpt")
    assert step_of(folder / "last.ckpt") == 3 and step_of(folder / "previous.ckpt") == 2
    assert step_of(tmp_path / "kept.ckpt") == 2


def test_every_damage_is_found_or_harmless(folder):
    path = folder / "last.ckpt"
    whole = path.read_bytes()
    found = 0
    for index in range(len(whole)):
        flipped = bytes([whole[index] ^ (1 << index % 8)])
        path.write_bytes(whole[:index] + flipped + whole[index + 1 :])
        try:
            loaded = CheckedIO().load_checkpoint(path, weights_only=True)
        except ValueError as error:
            assert "is damaged" in str(error)
            found += 1
        else:  # a date of the archive, or its padding
            assert loaded["global_step"] == 2
            assert torch.equal(loaded["state_dict"]["weight"], torch.full((40,), 2.0))
    assert found > 0.3 * len(whole)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged"):
            check(path)


def test_a_damaged_one_is_named_and_skipped(folder):
    (folder / "last.ckpt").write_bytes(b"PK")
    with pytest.warns(UserWarning, match=r"last.ckpt is damaged.*trying the one before"):
        assert newest(folder.parent.parent) == folder / "previous.ckpt"
    with pytest.raises(ValueError, match="damaged"):
        CheckedIO().load_checkpoint(folder / "last.ckpt")
    (folder / "previous.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning):
        assert newest(folder.parent.parent) is None


def test_the_newest_of_several_starts_is_found(folder):
    other = folder.parent.parent / "version_1" / "checkpoints" / "last.ckpt"
    CheckedIO().save_checkpoint(content(0), other)
    assert newest(folder.parent.parent) == other
    os.utime(other, (1, 1))
    assert newest(folder.parent.parent) == folder / "last.ckpt"
    assert newest(folder) is None


@pytest.mark.parametrize("at", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_ones_and_nothing_half_written(folder, monkeypatch, at):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*args):
        raise full

    if at == "fsync":
        monkeypatch.setattr(os, "fsync", refuse)
    else:

        class Full:
            write = refuse

        save = torch.save
        monkeypatch.setattr(torch, "save", lambda content, file: save(content, Full()))
    with pytest.raises(OSError, match="No space left"):
        CheckedIO().save_checkpoint(content(3), folder / "last.ckpt")
    assert {path.name for path in folder.iterdir()} == {"last.ckpt", "previous.ckpt"}
    assert step_of(folder / "last.ckpt") == 2


def test_there_is_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        check(tmp_path / "none.ckpt")


def test_the_interval_is_checked():
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        LastCheckpoint(every_n_steps=0)
