import copy
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from intaglio.codecs import load
from intaglio.codecs.bundle import restore, save
from intaglio.codecs.folding import fold, folded_state
from intaglio.codecs.part import describe
from intaglio.codecs.quantizers.fsq import FSQ


def test_a_loaded_codec_gives_the_same_tokens_and_samples(tiny_codec, tmp_path):
    wave = torch.randn(1, 1, 500)
    codec = load(save(tiny_codec, tmp_path / "b"))
    assert not codec.training
    assert not any(p.requires_grad for p in codec.parameters())
    tokens = tiny_codec.encode(wave)
    assert torch.equal(codec.encode(wave).ids, tokens.ids)
    torch.testing.assert_close(codec.decode(tokens), tiny_codec.decode(tokens), atol=1e-6, rtol=0)


def test_a_half_bundle_is_the_rounded_codec(tiny_codec, tmp_path):
    before = {name: tensor.clone() for name, tensor in tiny_codec.state_dict().items()}
    whole, half = (
        save(tiny_codec, tmp_path / "whole"),
        save(tiny_codec, tmp_path / "half", half=True),
    )
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    codec, weights = load(half), load(whole).state_dict()
    for name, tensor in codec.state_dict().items():
        expected = weights[name]
        rounded = expected.half().float() if expected.dtype == torch.float32 else expected
        assert torch.equal(tensor, rounded) and tensor.dtype == expected.dtype
    assert codec.fingerprint != tiny_codec.fingerprint
    assert (
        save(codec, tmp_path / "again")
        and load(tmp_path / "again").fingerprint == codec.fingerprint
    )
    assert all(torch.equal(before[name], t) for name, t in tiny_codec.state_dict().items())
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias[0] = 1e5
    with pytest.raises(ValueError, match="values that float16 cannot hold"):
        save(tiny_codec, tmp_path / "half", half=True)
    assert load(half).fingerprint == codec.fingerprint


def test_files_of_another_model_stay(tiny_codec, tmp_path):
    for config in (None, "", "[]", '{"model_type": "llama"}', '{"recipe": "soup"}'):
        if config is not None:
            (tmp_path / "config.json").write_text(config)
        (tmp_path / "model.safetensors").write_bytes(b"theirs")
        with pytest.raises(ValueError, match=r"model\.safetensors of something else than a bundle"):
            save(tiny_codec, tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == b"theirs"
        assert config is None or (tmp_path / "config.json").read_text() == config


def test_a_damaged_or_newer_bundle_is_replaced(tiny_codec, tmp_path):
    save(tiny_codec, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    assert load(save(tiny_codec, tmp_path)).fingerprint == tiny_codec.fingerprint
    (tmp_path / "model.safetensors").unlink()
    assert load(save(tiny_codec, tmp_path)).fingerprint == tiny_codec.fingerprint


def test_folding_keeps_the_output_and_the_fingerprint(tiny_codec):
    folded = copy.deepcopy(tiny_codec)
    expected = folded_state(folded)
    fold(folded)  # and leaves the codec alone that it was copied from
    assert set(folded.state_dict()) == set(expected)
    assert not any("parametrizations" in name for name in expected)
    assert folded.fingerprint == tiny_codec.fingerprint


def test_a_fingerprint_changes_with_any_weight_and_any_argument(tiny_codec):
    before = tiny_codec.fingerprint
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias[0] += 1e-6
    assert tiny_codec.fingerprint != before
    other = copy.deepcopy(tiny_codec)
    other.init_args = {**other.init_args, "sample_rate": 2000}
    assert other.fingerprint != tiny_codec.fingerprint


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_stored_as_those_that_will_be_read(
    tiny_codec, tmp_path, kind
):
    fold(tiny_codec)
    expected = copy.deepcopy(tiny_codec).to(kind).float()
    found = load(save(tiny_codec.to(kind), tmp_path / "bundle"))
    assert found.fingerprint == expected.fingerprint
    assert {tensor.dtype for tensor in found.parameters()} == {torch.float32}
    assert next(tiny_codec.parameters()).dtype == kind


def test_a_bundle_is_read_in_single_precision_whatever_is_the_default(tiny_codec, tmp_path):
    save(tiny_codec, tmp_path)
    torch.set_default_dtype(torch.float64)
    try:
        found = load(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.fingerprint == tiny_codec.fingerprint


def test_a_file_is_no_folder_for_a_bundle(tiny_codec, tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(NotADirectoryError, match="file is a file, a bundle is a folder"):
        save(tiny_codec, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_bundle_can_be_trained_on(tiny_codec, tmp_path):
    codec = load(save(tiny_codec, tmp_path), trainable=True)
    assert codec.training
    assert set(codec.state_dict()) == set(tiny_codec.state_dict())
    wave = torch.randn(1, 1, 300)
    assert torch.equal(codec.encode(wave).ids, tiny_codec.encode(wave).ids)
    codec(torch.randn(2, 1, 300)).values.sum().backward()
    assert codec.encoder.stem.conv.parametrizations.weight.original0.grad.abs().sum() > 0


@pytest.mark.parametrize("position", [0, 9, 1000, -1])
def test_a_flipped_bit_in_the_weights_is_found(tiny_codec, tmp_path, position):
    save(tiny_codec, tmp_path)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path)


def change_config(folder, change):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))


def _changed(field, value, config):
    config["recipe"]["init_args"][field] = value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(format_version=2), "upgrade"),
        (lambda c: c.pop("sha256"), "sha256"),
        (lambda c: c.pop("format_version"), "not the configuration"),
        (lambda c: c["recipe"].update(class_path="os.system"), "refused"),
        (
            lambda c: c["recipe"]["init_args"]["encoder"].update(class_path="torch.nn.Conv1d"),
            "refused",
        ),
        (lambda c: c["recipe"]["init_args"].update(sample_rate=2000), "fingerprint"),
        *[
            (partial(_changed, field, value), f"{field} must be an integer in .*, got {value}")
            for field, value in [
                ("sample_rate", 2**31 - 1),
                ("sample_rate", 1),
                ("sample_rate", 1000.5),
                ("channels", 2**20),
                ("channels", 0),
                ("segment", 2**31 - 8),
                ("segment", 0),
            ]
        ],
        (lambda c: _changed("segment", 1000, c) or _changed("overlap", 999, c), "overlap must"),
        (lambda c: c["recipe"]["init_args"]["encoder"]["init_args"].update(width=8), "do not fit"),
    ],
)
def test_each_wrong_configuration_is_reported(tiny_codec, tmp_path, change, reason):
    save(tiny_codec, tmp_path)
    change_config(tmp_path, change)
    with pytest.raises(ValueError, match=reason):
        load(tmp_path)


def test_a_bundle_of_something_else_is_no_codec(tmp_path):
    save(FSQ(4), tmp_path)
    with pytest.raises(ValueError, match="FSQ, not a codec"):
        load(tmp_path)


def test_missing_and_empty_places_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no codec"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load(tmp_path)
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"config\.json is a folder, a device or a pipe"):
        load(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_bundle(tiny_codec, tmp_path, monkeypatch):
    save(tiny_codec, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias.add_(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(tiny_codec, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_bundle_that_is_replaced_meanwhile_is_read_whole(tiny_codec, tmp_path, monkeypatch):
    folder = save(tiny_codec, tmp_path / "bundle")
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias.add_(1)
    replacements = [tiny_codec]

    def read_bytes(path, read=Path.read_bytes):
        if replacements:
            save(replacements.pop(), folder)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert load(folder).fingerprint == tiny_codec.fingerprint


def checkpoint_of(codec, **extra):
    state = {f"codec.{name}": value for name, value in codec.state_dict().items()}
    recipe = describe(codec)
    return {"hyper_parameters": {"codec": recipe}, "state_dict": state, **extra}


def test_a_checkpoint_restores_without_lightning(tiny_codec, tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(checkpoint_of(tiny_codec), path)
    code = (
        "import sys; from intaglio.codecs import load; "
        f"print(load({str(path)!r}).fingerprint); "
        "assert not any(m.startswith('lightning') for m in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == tiny_codec.fingerprint, done.stderr


def test_averaged_weights_are_preferred(tiny_codec, tmp_path):
    average = {name: value + 1 for name, value in tiny_codec.named_parameters()}
    content = checkpoint_of(tiny_codec, averaged_weights={"codec": average})
    torch.save(content, tmp_path / "c.ckpt")
    restored = restore(tmp_path / "c.ckpt")
    torch.testing.assert_close(restored.decoder.head.out.bias, tiny_codec.decoder.head.out.bias + 1)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [Evil(), {"state_dict": {}}, {"hyper_parameters": {}}, 3])
def test_foreign_checkpoints_are_refused_and_run_nothing(content, tmp_path, capsys):
    torch.save(content, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match=r"c\.ckpt"):
        load(tmp_path / "c.ckpt")
    assert "code ran" not in capsys.readouterr().out


def test_foreign_class_paths_in_a_checkpoint_are_refused(tiny_codec, tmp_path):
    content = checkpoint_of(tiny_codec)
    content["hyper_parameters"]["codec"]["init_args"]["decoder"]["class_path"] = "os.system"
    torch.save(content, tmp_path / "c.ckpt")
    with pytest.raises(ValueError, match="refused"):
        load(tmp_path / "c.ckpt")


def test_a_file_that_is_no_checkpoint_is_reported(tmp_path):
    (tmp_path / "c.ckpt").write_bytes(b"RIFF0000")
    with pytest.raises(ValueError, match="no readable training checkpoint"):
        load(tmp_path / "c.ckpt")


def test_what_is_refused_names_the_file_and_gives_no_advice_to_run_its_code(tiny_codec, tmp_path):
    folder = save(tiny_codec, tmp_path / "bundle")
    config = json.loads((folder / "config.json").read_text())
    for part in ("encoder", "quantizer"):
        changed = copy.deepcopy(config)
        changed["recipe"]["init_args"][part] = {"class_path": "os.system"}
        (folder / "config.json").write_text(json.dumps(changed))
        with pytest.raises(
            ValueError, match=f"^{re.escape(str(folder))}: refused to build .os.system"
        ):
            load(folder)
    torch.save(Evil(), tmp_path / "c.ckpt")
    (tmp_path / "d.ckpt").write_bytes(b"RIFF0000")
    for name, reason in (("c", "which is not read, because it could run code"), ("d", "cut short")):
        with pytest.raises(
            ValueError, match=f"{name}.ckpt is no readable .*: it .*{reason}"
        ) as caught:
            load(tmp_path / f"{name}.ckpt")
        assert "torch" not in str(caught.value) and "weights_only" not in str(caught.value)


def test_weights_that_are_no_numbers_are_refused(tiny_codec, tmp_path):
    with torch.no_grad():
        tiny_codec.decoder.head.out.bias[0] = torch.nan
    with pytest.raises(ValueError, match="head.out.bias holds NaN"):
        load(save(tiny_codec, tmp_path))


@pytest.mark.parametrize("failing", [1, 2])
def test_a_disk_that_fails_leaves_the_old_bundle(tiny_codec, tmp_path, monkeypatch, failing):
    save(tiny_codec, tmp_path)
    old = tiny_codec.fingerprint
    tiny_codec.quantizer.codebook.mul_(2)
    calls = []

    def flush(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", flush)
    with pytest.raises(OSError, match="No space"):
        save(tiny_codec, tmp_path)
    assert load(tmp_path).fingerprint == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
