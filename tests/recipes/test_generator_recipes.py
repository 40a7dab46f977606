"""Every recipe of a generator parses, builds and trains two steps on tokens; it loads and draws."""

import sys
from pathlib import Path

import pytest
import torch

from intaglio.codecs import load as load_codec
from intaglio.data.tokens import TokenShards
from intaglio.generators import load
from intaglio.generators.detokenize import images_of
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes import cli
from intaglio.recipes.lightning_cli import build

FOLDER = Path(cli.__file__).parent
GRID = ["--model.generator.shape=[4,4]", "--model.generator.vocab=[512]"]
# what fits a generator to the tokens of the tests' codec
OPTIONS = {
    "image/llamagen": [*GRID, "--model.generator.num_classes=3"],
    "image/maskgit": [*GRID, "-c", "overlays/text"],
    "image/flextok_ar": ["--model.generator.positions=16", "--model.generator.levels=[8,8,8]"],
    "image/var": ["--model.generator.num_classes=3"],
    "image/xar": [
        *("--model.generator.shape=[4,4]", "--model.generator.channels=3"),
        *("--model.generator.cell=2", "--model.generator.num_classes=3"),
    ],
    "image/mar": ["--model.generator.shape=[4,4]", "--model.generator.channels=3"],
    "image/tokenbridge_ar": [
        *("--model.generator.shape=[8,8]", f"--model.generator.vocab={[64] * 8}"),
        "--model.generator.condition=intaglio.generators.conditioning.text.TextCondition",
        "--model.generator.condition.rows=100",
    ],
}
SYSTEMS = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for path in FOLDER.glob("*/*.yaml")
    if "GeneratorTask" in path.read_text()
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*treespec.*:DeprecationWarning",
    r"ignore:Attribute .* is an instance of `nn\.Module`",
    "ignore::DeprecationWarning:jsonargparse",
)


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_steps_leave_a_generator_that_draws(name, tokens, codec_of, in_tmp_path, intaglio):
    words = ["fit", "-c", name, "-c", "overlays/debug_generator", "--data.root", tokens(name)]
    size = "tiny" if name.split("/")[1] in ("llamagen", "maskgit", "flextok_ar", "mar") else "small"
    words += [f"--model.generator.size={size}", *OPTIONS[name], "--data.validation_share=0.4"]
    words += [f"--model.codec={codec_of(name)}"]
    words += ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]
    words += ["--trainer.logger.name=run", "--trainer.logger.version="]
    status, _, err = intaglio(*words, "--trainer.enable_progress_bar=false")
    assert status == 0, err
    generator = load("run/checkpoints/last.ckpt")
    codec = load_codec(codec_of(name))
    assert generator.provenance.fingerprint == codec.fingerprint
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    condition = generator.condition.of_batch({"label": torch.tensor([0, 2]), "caption": ["a", ""]})
    steps = 2 if isinstance(generator.order, MaskedOrder) else None
    drawn = Sampler(steps=steps).generate(generator, condition, seed=1)
    images = images_of(generator, codec, drawn)
    assert images.shape == (2, 3, codec.image_size, codec.image_size)
    assert not torch.equal(images[0], images[1])


def test_an_overlay_conditions_on_a_text_encoder(monkeypatch, in_tmp_path):
    monkeypatch.setattr(sys, "argv", ["intaglio"])
    recipe, overlay = (
        FOLDER / f"{name}.yaml" for name in ("image/maskgit", "overlays/encoded_text")
    )
    words = [f"--config={recipe}", f"--config={overlay}", "--model.generator.size=tiny"]
    words += ["--model.generator.condition.channels=32", "--data.root=tokens"]
    condition = build(words, run=False).model.generator.condition
    assert (condition.encoder, condition.channels) == ("google/flan-t5-xl", 32)
    assert condition.dim == 160


def test_other_tokens_are_one_line(tokens, in_tmp_path, refusal):
    words = ["fit", "-c", "image/llamagen", "-c", "overlays/debug_generator"]
    words += ["--data.root", tokens("image/llamagen"), "--model.generator.size=small"]
    assert "gives tokens of shape (4, 4) and vocabulary (512,)" in refusal(*words)


def test_a_generator_that_needs_a_codec_is_given_one(tokens, codec_of, in_tmp_path, refusal):
    words = ["fit", "-c", "image/var", "-c", "overlays/debug_generator", *OPTIONS["image/var"]]
    words += ["--data.root", tokens("image/var"), "--model.generator.size=small"]
    assert "var needs the codec of the tokens: give model.codec" in refusal(*words)
    other = codec_of("image/llamagen")
    assert "not of tiny picture" in refusal(*words, f"--model.codec={other}")


def test_classes_and_captions_reach_the_batches(tokens):
    data = TokenShards(str(tokens("image/llamagen")), batch_size=2)
    data.setup()
    assert data.classes == ["blue", "green", "red"]
    for batch in data.train_dataloader():
        names = [data.classes[label] for label in batch["label"].tolist()]
        assert all(
            text.startswith(name) for name, text in zip(names, batch["caption"], strict=True)
        )
