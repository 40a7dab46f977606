"""A quantizer of the user's own: trained from the current folder, resumed, loaded if trusted."""

import sys

import pytest

QUANTIZER = '''
"""Rounds each channel to one of seven numbers; `scales` lies next to it."""

import scales
from intaglio.codecs.quantizers.base import Quantized, Quantizer


class Rounding(Quantizer):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.vocab = dim, (7,) * dim

    def forward(self, latents, mask=None):
        ids = self.encode_ids(latents)
        rounded = self.decode_ids(ids)
        return Quantized(latents + (rounded - latents).detach(), ids, {}, {})

    def encode_ids(self, latents):
        return (latents.clamp(-1, 1) * scales.SCALE).round().long() + 3

    def decode_ids(self, ids):
        return (ids - 3) / scales.SCALE
'''

OWN = ("-c", "own.yaml", "--model.codec.quantizer.dim=8", "--model.codec.decoder.attention=false")


@pytest.fixture(scope="module")
def own_run(launcher, tiny_recipe, tmp_path_factory):
    """The folder of a training of three steps, in which the quantizer's module lies."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "roundings.py").write_text(QUANTIZER)
    (folder / "scales.py").write_text("SCALE = 3")
    (folder / "rich.py").write_text("raise SystemExit('imported in place of what is installed')")
    text = tiny_recipe.read_text()
    head, rest = text.split("quantizer:", 1)
    rest = rest[rest.index("        decoder:") :]
    (folder / "own.yaml").write_text(f"{head}quantizer: roundings.Rounding\n{rest}")
    assert launcher.run(folder, "fit", *OWN, "--trainer.max_steps=3") == 0, (
        folder / "output.txt"
    ).read_text()
    return folder


def test_it_trains_from_the_current_folder_and_resumes(launcher, own_run):
    words = ("--trainer.max_steps=5", "--ckpt_path", "last", "--trust", "roundings")
    status = launcher.run(own_run, "fit", *OWN, *words)
    output = (own_run / "output.txt").read_text()
    assert status == 0 and "Restored all states" in output, output


def test_commands_load_it_if_its_module_is_trusted(
    intaglio, refusal, record, own_run, tmp_path, monkeypatch
):
    (checkpoint,) = own_run.glob("run/version_0/checkpoints/last.ckpt")
    wave = record(tmp_path / "a.wav", rate=1000)
    tokens = tmp_path / "a.intaglio"
    monkeypatch.chdir(own_run)
    words = ("encode", wave, "-o", tokens, "--codec", checkpoint)
    assert "refused to build 'roundings.Rounding'" in refusal(*words)
    assert "pass --trust roundings" in refusal("info", checkpoint)
    assert "pass --trust roundings" in refusal("export", checkpoint, "-o", tmp_path / "x")
    assert "roundings" not in sys.modules and not tokens.exists()
    trust, before = ("--trust", "roundings"), list(sys.path)
    try:
        assert intaglio(*words, *trust).status == 0
        out = tmp_path / "out.wav"
        assert intaglio("decode", tokens, "-o", out, "--codec", checkpoint, *trust).status == 0
        assert intaglio("info", checkpoint, *trust).status == 0
        words = ("export", checkpoint, "-o", tmp_path / "x", "--format", "torchscript")
        assert intaglio(*words, *trust).status == 0
    finally:
        for name in ("roundings", "scales"):
            sys.modules.pop(name, None)
    assert sys.path == before
