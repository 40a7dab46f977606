"""Weights of published networks: found where torch keeps them, refused if they are others."""

import hashlib
import os
import pickle
import zipfile

import pytest
import torch
from torch import nn

from intaglio.codecs.losses.pretrained import checksum, fill, kept


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_weights_come_from_the_file(tmp_path, zipped):
    """Of old files and new, with more tensors than are needed and without counters."""
    there, here = network(), network()
    state = {k: v for k, v in there.state_dict().items() if "num_batches" not in k}
    state["fc.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    fill(here, tmp_path / "w.pth", what="two layers")
    assert torch.equal(here[0].weight, there[0].weight) and torch.equal(here[0].bias, there[0].bias)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    good = network().state_dict()
    for state, message in (
        ({k: v for k, v in good.items() if k != "1.running_var"}, "has no tensor 1.running_var"),
        (good | {"0.weight": torch.zeros(3, 4)}, r"0.weight in .* is \[3, 4\], not \[3, 2\]"),
        (good | {"0.weight": "text"}, "has no tensor 0.weight"),
        ([1, 2], "has no tensor 0.weight"),
    ):
        torch.save(state, path)
        with pytest.raises(ValueError, match=f"{message}; it should be two layers"):
            fill(network(), path, what="two layers")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="no file of weights; it should be two layers"):
        fill(network(), path, what="two layers")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"x")
    with pytest.raises(ValueError, match="no file of weights"):
        fill(network(), path, what="two layers")
    remedy = "it should be two layers: name it, or put it into .*checkpoints"
    with pytest.raises(FileNotFoundError, match=f"none.pth does not exist; {remedy}"):
        fill(network(), tmp_path / "none.pth", what="two layers")
    os.mkfifo(tmp_path / "pipe.pth")
    for other in (tmp_path, tmp_path / "pipe.pth"):
        with pytest.raises(ValueError, match=f"{other} is a folder, a device or a pipe.*{remedy}"):
            fill(network(), other, what="two layers")


class Trap:
    """Would make a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).mkdir, (self.path,)


def test_no_code_of_a_file_is_run(tmp_path):
    torch.save({"0.weight": Trap(tmp_path / "ran")}, tmp_path / "w.pth", pickle_module=pickle)
    with pytest.raises(ValueError, match="no file of weights"):
        fill(network(), tmp_path / "w.pth", what="two layers")
    assert not (tmp_path / "ran").exists()


def test_files_are_found_where_torch_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert kept(["a.pth", "b.pth"]) is None
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "b.pth").write_bytes(b"weights")
    assert kept(["a.pth", "b.pth"]) == folder / "b.pth"
    (folder / "a.pth").write_bytes(b"others")
    assert kept(["a.pth", "b.pth"]) == folder / "a.pth"
    assert checksum(folder / "b.pth") == hashlib.sha256(b"weights").hexdigest()
