"""A missing extra is one line with its pip command, before anything is read, trained or scored."""

import sys

import pytest

import intaglio.recipes.commands.demo  # other packages look for the modules when they are imported
import intaglio.recipes.commands.eval  # noqa: F401
from intaglio.codecs.shipped import shipped

CODEC = ("--codec", "never looked at", "--data", "never read")


@pytest.mark.parametrize(
    ("module", "extra", "words"),
    [
        ("matplotlib", "demo", ["eval", "audio", *CODEC, "--plot", "a.png"]),
        ("matplotlib", "demo", ["eval", "image", *CODEC, "--plot", "a.png"]),
        ("matplotlib", "demo", ["eval", "image", *CODEC, "--figures", "figures"]),
        ("matplotlib", "demo", ["eval", "generator", "none", *CODEC, "--plot", "figures"]),
        ("matplotlib", "demo", ["demo", "--data", "never read"]),
        ("constriction", "entropy", ["encode", "a.wav", "-o", "out", *CODEC[:2], "--entropy"]),
        ("constriction", "entropy", ["tokenize", "a", "-o", "out", *CODEC[:2], "--entropy"]),
        ("onnx", "export", ["export", str(shipped("emoji", "codec")), "-o", "out"]),
        ("onnxscript", "export", ["export", str(shipped("emoji", "codec")), "-o", "out"]),
        ("onnxruntime", "export", ["export", str(shipped("emoji", "codec")), "-o", "out"]),
    ],
)
def test_it_is_asked_for_first(module, extra, words, refusal, monkeypatch, in_tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    line = refusal(*words)
    assert module in line and f"pip install 'intaglio[{extra}]'" in line
    assert list(in_tmp_path.iterdir()) == []  # no empty folder is left
