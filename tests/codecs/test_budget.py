"""What a recipe from a file asks for is measured before it costs memory or time."""

import hashlib
import json
import os
import subprocess
import sys
import time
import warnings

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.budget import check_values
from intaglio.codecs.bundle import save
from intaglio.codecs.part import describe
from intaglio.data.formats.atomic import settle


@pytest.fixture
def folder(tiny_codec, tmp_path):
    return save(tiny_codec, tmp_path / "bundle")


def refused(source):
    """The one line of a refusal that comes at once and warns of nothing."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load(source)
    assert time.process_time() - began < 5  # a second or less; others share the processor
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


def change(folder, where, name, value):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    arguments = config["recipe"]["init_args"]
    (arguments[where]["init_args"] if where else arguments)[name] = value
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("encoder", "lstm_layers", 1_000_000),
        ("encoder", "width", 10**9),
        ("encoder", "width", 10**30),
        ("encoder", "width", 0),
        ("encoder", "width", None),
        ("encoder", "dim", -1),
        ("encoder", "strides", [2, 0, 5]),
        ("encoder", "strides", [2, -2, -5]),
        ("encoder", "kernel_size", float("nan")),
        ("encoder", "width", float("inf")),
        ("quantizer", "codebook_size", 10**9),
        ("decoder", "num_layers", 10**6),
        ("decoder", "n_fft", 10**8),
        ("decoder", "width", "x" * 10_000),
        ("", "encoder", None),
        ("", "encoder", []),
        ("", "quantizer", {"class_path": "intaglio.codecs.part.Part"}),
    ],
)
def test_sizes_that_the_weights_cannot_fill_are_refused(folder, where, name, value):
    change(folder, where, name, value)
    refused(folder)


def test_other_sizes_within_the_budget_are_refused_before_they_are_made(folder):
    change(folder, "quantizer", "codebook_size", 1000)
    assert "do not fit its recipe, one of them is damaged or foreign: 'quan" in refused(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 50_000, "null", "3", "[]", "9" * 10_000, '{"format_version": 1}'],
)
def test_json_that_is_no_configuration_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format_version", True),
        ("format_version", 0),
        ("recipe", None),
        ("recipe", []),
        ("recipe", {}),
        ("sha256", None),
        ("name", 3),
    ],
)
def test_fields_of_another_kind_are_refused(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "folder", "empty", "missing"])
def test_what_is_no_file_of_weights_is_not_read(folder, name, kind):
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(20 << 30)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    assert name in refused(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("names", "do not fit its recipe"),
        ("offsets", "is damaged"),
        ("length", "no sensible header"),
        ("long", "no sensible header"),
        ("cut", "is damaged"),
        ("many", "tensors, more than 10000"),
    ],
)
def test_a_header_that_lies_is_refused_before_the_weights_are_read(folder, change, reason):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    first = next(name for name in header if name != "__metadata__")
    if change == "names":
        header["other"] = header.pop(first)
    elif change == "offsets":
        header[first]["data_offsets"] = [0, 1 << 40]
    elif change == "many":
        empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        header |= {f"x{number}": empty for number in range(20_000)}
    text = json.dumps(header).encode() + b" " * (5 << 20 if change == "long" else 0)
    length = 1 << 62 if change == "length" else len(text)
    path.write_bytes(length.to_bytes(8, "little") + text + data[: 5 if change == "cut" else None])
    config = json.loads((folder / "config.json").read_text())
    config["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    assert reason in refused(folder)


def test_the_largest_size_can_be_set(folder, monkeypatch):
    monkeypatch.setenv("INTAGLIO_MAX_WEIGHTS", "0.00001")
    assert "set INTAGLIO_MAX_WEIGHTS" in refused(folder)
    monkeypatch.setenv("INTAGLIO_MAX_WEIGHTS", "much")
    assert "is a number of GiB" in refused(folder)
    monkeypatch.setenv("INTAGLIO_MAX_WEIGHTS", "1")
    assert load(folder).name == "tiny"


def itself():
    found = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value", [itself(), [0] * 200_000, {"x": torch.zeros(1)}, 2**40, float("nan"), "x" * 5000]
)
def test_values_that_no_recipe_has_are_refused(value):
    with pytest.raises(ValueError, match="recipe"):
        check_values({"init_args": value})


@pytest.mark.parametrize(
    "change", ["expanded", "all expanded", "meta", "sparse", "number", "itself", "pipe"]
)
def test_a_checkpoint_that_claims_what_it_does_not_hold_is_refused(tiny_codec, tmp_path, change):
    path = tmp_path / "last.ckpt"
    state = {f"codec.{name}": value for name, value in tiny_codec.state_dict().items()}
    recipe = describe(tiny_codec)
    name = "codec.decoder.head.out.bias"
    if change == "expanded":
        state[name] = torch.zeros(1).expand(1 << 40)
    elif change == "all expanded":  # of the right shapes
        zero = torch.zeros(())
        state = {name: zero.to(value.dtype).expand(value.shape) for name, value in state.items()}
    elif change == "meta":
        state[name] = state[name].to("meta")
    elif change == "sparse":
        state[name] = torch.zeros(3, 3).to_sparse()
    elif change == "number":
        state[name] = 3
    elif change == "itself":
        recipe["init_args"]["encoder"]["init_args"]["strides"] = itself()
    torch.save({"hyper_parameters": {"codec": recipe}, "state_dict": state}, path)
    if change == "pipe":
        path.unlink()
        os.mkfifo(path)
    refused(path)


def test_a_link_in_a_bundle_takes_no_files_from_elsewhere(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").touch()
    (folder / ".set.intaglio-ready").symlink_to(tmp_path / "elsewhere")
    settle(folder)
    assert load(folder).name == "tiny" and (tmp_path / "elsewhere/precious").exists()


def test_looking_at_a_recipe_does_not_import_torchs_compiler(tmp_path):
    """Which would take longer than everything else that loading does."""
    script = (
        "import sys, intaglio; from intaglio.generators import load\n"
        "intaglio.load('speech'); load('emoji')\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
