"""Every shipped recipe parses, builds, and trains two steps; what it leaves behind loads."""

import csv
import inspect
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from intaglio.codecs import load
from intaglio.codecs.audio import (
    dac,
    encodec,
    lm_spt,
    mimi,
    s3,
    s3_small,
    simcodec,
    snac,
    wavtokenizer,
)
from intaglio.codecs.bundle import save
from intaglio.codecs.discriminators import stft
from intaglio.codecs.discriminators.complex_stft import ComplexSTFTDiscriminator
from intaglio.codecs.discriminators.period import MultiPeriodDiscriminator
from intaglio.codecs.discriminators.stft import MultiResolutionDiscriminator
from intaglio.codecs.image.magvit2 import magvit2
from intaglio.codecs.image.titok import titok
from intaglio.codecs.image.wetok import wetok
from intaglio.codecs.training.stages import Stage, enter
from intaglio.data.formats.tokens import read_tokens
from intaglio.recipes import cli

FOLDER = Path(cli.__file__).parent
SYSTEMS = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for path in FOLDER.glob("*/*.yaml")
    if path.parent.name not in ("overlays", "parts") and "CodecTask" in path.read_text()
)

EVERY = sorted(
    str(path.relative_to(FOLDER).with_suffix(""))
    for folder in ("audio", "image")
    for path in (FOLDER / folder).glob("*.yaml")
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*treespec.*:DeprecationWarning",
    "ignore:.*tensorboardX.*",
    r"ignore:Attribute .* is an instance of `nn\.Module`",
    r"ignore:Found \d+ module\(s\) in eval mode",
    "ignore::DeprecationWarning:jsonargparse",
)


def test_dacs_players_are_clipped_at_the_released_norms():
    init = yaml.safe_load((FOLDER / "audio" / "dac.yaml").read_text())["model"]["init_args"]
    assert (init["clip_norm"], init["discriminator_clip_norm"]) == (1000, 10)


def test_the_entropy_of_magvit2_is_that_of_the_release():
    """1e-5 inside the logarithm (Open-MAGVIT2); training only, so that no token shows it."""
    recipe = yaml.safe_load((FOLDER / "image" / "magvit2.yaml").read_text())
    options = recipe["model"]["init_args"]["codec"]["init_args"]
    for size in ("base", "small"):
        with torch.device("meta"):
            assert magvit2(**options, size=size).quantizer.log_floor == 1e-5


def _with(build, sizes):
    return lambda *args, **kwargs: build(*args, **kwargs | sizes)


@pytest.fixture
def narrow(monkeypatch):
    """Parts of the published audio systems and discriminators with few channels or steps."""
    sizes = {
        "DACEncoder": {"width": 8},
        "DACDecoder": {"width": 128},
        "SEANetEncoder": {"width": 4},
        "SEANetDecoder": {"width": 4},
        "VocosDecoder": {"width": 32, "intermediate": 64, "num_layers": 2},
        "VectorQuantizer": {"kmeans_iterations": 1},
        "bottleneck_codec": {"depth": 1, "code": 8},
        "HiFiGANEncoder": {"width": 4, "kernels": (3,)},
        "HiFiGANDecoder": {"width": 32, "kernels": (3,)},
        "RegroupedQuantizer": {"group_size": 64, "kept": (8, 8)},
    }
    for module in (dac, encodec, lm_spt, mimi, simcodec, wavtokenizer):
        for name, fewer in sizes.items():
            if full := getattr(module, name, None):
                monkeypatch.setattr(module, name, _with(full, fewer))
    monkeypatch.setattr(lm_spt, "DIM", 64)
    band = stft._BandSubDiscriminator
    monkeypatch.setattr(stft, "_BandSubDiscriminator", lambda x, _, edges: band(x, 4, edges))
    monkeypatch.setitem(snac.SIZES, 24_000, ((2, 4, 8, 8), (4, 2, 1), 8, 128, None))
    for discriminator, fewer in (
        (MultiPeriodDiscriminator, {"channels": (4, 8, 8, 8, 8)}),
        (MultiResolutionDiscriminator, {"channels": 4}),
        (ComplexSTFTDiscriminator, {"width": 4}),
    ):
        init = inspect.unwrap(discriminator.__init__)
        monkeypatch.setattr(init, "__kwdefaults__", init.__kwdefaults__ | fewer)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.usefixtures("narrow")
def test_two_steps_leave_a_checkpoint_that_loads(name, in_tmp_path, monkeypatch):
    small = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]
    small += ["--trainer.logger.name=run", "--trainer.logger.version="]
    is_image = name.startswith("image/")
    overlay = "overlays/debug_images" if is_image else "overlays/debug"
    if is_image and name != "image/image_small":
        small.append("--model.codec.size=small")
    if name in ("image/flextok", "image/titok"):  # the small sizes have other decoders
        small += ["-c", "overlays/small_images"]
    small += ["-c", overlay]
    words = ["fit", "-c", name, *small, "--trainer.enable_progress_bar=false"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    [checkpoint] = Path("run/checkpoints").glob("last.ckpt")
    codec = load(checkpoint)
    assert not codec.training
    signal = torch.rand(1, 3, 64, 64) if is_image else torch.randn(1, 1, codec.hop_length + 1)
    assert codec.decode(codec.encode(signal)).shape == signal.shape
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] == 2
    assert "class_path" in content["recipe"]


@pytest.mark.parametrize("name", EVERY)
def test_recipes_can_be_parsed_and_arguments_of_their_parts_changed(name, monkeypatch, capsys):
    """As they are: other tests replace the loggers, which refer to the folder of the run."""
    recipe = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    adversaries = recipe["model"]["init_args"].get("adversaries", {})
    options = [
        f"--model.adversaries.{one}.weight=0.{61 + number}"
        for number, one in enumerate(adversaries)
    ]
    monkeypatch.setattr("sys.argv", ["intaglio", "fit", "-c", name, *options, "--print_config"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(printed.count(f" weight: 0.{61 + number}\n") == 1 for number in range(len(options)))
    assert f"save_dir: {recipe['trainer']['default_root_dir']}\n" in printed


def test_small_images_with_a_perceptual_loss_take_a_step_with_the_adversary(
    in_tmp_path, monkeypatch
):
    pytest.importorskip("efficientnet_lite_pytorch")
    words = ["fit", "-c", "image/image_small", "-c", "overlays/perceptual", "-c", "overlays/bf16"]
    words += ["-c", "overlays/debug_images", "--model.adversarial_from=1"]
    words += ["--trainer.default_root_dir=.", "--trainer.enable_progress_bar=false"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    [log] = Path().glob("**/metrics.csv")
    with log.open() as file:
        rows = list(csv.DictReader(file))
    found = {name: value for row in rows for name, value in row.items() if value}
    assert float(found["train/perceptual"]) > 0
    assert float(found["train/patch/adversarial"]) != 0
    assert float(found["train/patch/discriminator"]) > 0
    assert float(found["train/discriminator_norm"]) > 0


@pytest.mark.parametrize(
    ("name", "quantizer"),
    [
        ("audio/s3", ""),
        ("audio/s3_small", ""),
        ("audio/s3_small", "intaglio.codecs.quantizers.continuous.IdentityBottleneck"),
    ],
)
def test_recognisers_take_two_steps_with_and_without_tokens(
    name, quantizer, in_tmp_path, monkeypatch
):
    monkeypatch.setattr(s3, "DIM", 64)
    monkeypatch.setattr(s3_small, "DIM", 64)
    full = s3.RecogniserEncoder
    for module in (s3, s3_small):
        monkeypatch.setattr(
            module, "RecogniserEncoder", lambda *_, strides, **__: full(64, 1, 2, strides=strides)
        )
    half = s3_small.RecogniserDecoder
    monkeypatch.setattr(
        s3_small, "RecogniserDecoder", lambda _, hop, *__, **___: half(64, hop, 1, 2, text_depth=1)
    )
    small = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]
    small += ["--trainer.logger.name=run", "--trainer.logger.version="]
    if name == "audio/s3":
        sizes = {"dim": 64, "depth": 1, "heads": 2, "text_depth": 1}
        small += [f"--model.codec.decoder.{key}={value}" for key, value in sizes.items()]
    if quantizer:
        small += [f"--model.codec.quantizer={quantizer}", "--model.codec.quantizer.dim=64"]
    words = ["fit", "-c", name, *small, "-c", "overlays/debug"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words, "--trainer.enable_progress_bar=false"])
    assert cli.main() == 0
    assert torch.load("run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert "train/ctc" in Path("run/metrics.csv").read_text()
    codec = load("run/checkpoints/last.ckpt")
    ids = codec.encode(torch.randn(1, 1, 641)).ids
    assert ids.shape == (1, 2, 0 if quantizer else 1)


def test_a_run_validates_tests_and_predicts_from_its_own_files(in_tmp_path, monkeypatch):
    """What the documentation says to do with RUN/config.yaml, with the averaged weights."""
    small = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=."]
    small += ["--trainer.logger.name=run", "--trainer.logger.version="]
    small += ["--trainer.enable_progress_bar=false"]
    words = ["fit", "-c", "audio/speech_small", "-c", "overlays/debug", *small]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    Path("run/config.yaml").rename("config.yaml")
    Path("run/checkpoints/last.ckpt").rename("last.ckpt")
    codec = load("last.ckpt")
    for command in ("validate", "test", "predict"):
        shutil.rmtree("run", ignore_errors=True)
        words = [command, "-c", "config.yaml", "--ckpt_path", "last.ckpt"]
        monkeypatch.setattr("sys.argv", ["intaglio", *words])
        assert cli.main() == 0
        if command != "predict":
            log = Path("run/metrics.csv").read_text()
            assert {"validate": "val/mel", "test": "test/mel"}[command] in log
    files = sorted(Path("run/predictions").iterdir())
    assert [path.name for path in files] == [f"{n:06}_{n}.intaglio" for n in range(4)]
    with files[0].open("rb") as file:
        header, ids = read_tokens(file)
    assert header.fingerprint == codec.fingerprint
    assert header.length == 3200
    assert ids.shape == (13, 1)


def test_another_quantizer_is_one_line(in_tmp_path, monkeypatch):
    """The overlay of docs/images.md."""
    document = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
    [block] = re.findall(r"```yaml\n(.*?)```", document, re.DOTALL)
    overlay = {"model": {"init_args": yaml.safe_load(block)}}
    Path("mine.yaml").write_text(yaml.safe_dump(overlay))
    words = ["fit", "-c", "image/image_small", "-c", "overlays/debug_images", "-c", "mine.yaml"]
    words += ["--trainer.default_root_dir=run", "--trainer.enable_progress_bar=false"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    [checkpoint] = Path("run").rglob("last.ckpt")
    assert load(checkpoint).vocab == (256, 256)


@pytest.mark.parametrize(
    ("build", "learning"),
    [
        (titok, ["decoder.body.mask_token", "decoder.teacher.decoder.conv_out.weight"]),
        (wetok, ["decoder.conv_in.weight", "decoder.conv_noise.weight"]),
    ],
    ids=["titok", "wetok"],
)
def test_the_stages_of_a_recipe_name_parts_of_its_codec(build, learning):
    recipe = yaml.safe_load((FOLDER / "image" / f"{build.__name__}.yaml").read_text())
    first, second = (Stage(**stage) for stage in recipe["model"]["init_args"]["stages"])
    with torch.device("meta"):
        codec = build()
    frozen = {name for name, p in codec.named_parameters() if not p.requires_grad}
    learns = {}
    for number, stage in enumerate((first, second)):
        enter(stage, codec.train(), frozen)
        learns[number] = {n for n, p in codec.named_parameters() if p.requires_grad}
        assert not learns[number] & frozen
    assert learning[0] in learns[0] and learning[0] in learns[1]
    assert learning[1] not in learns[0] and learning[1] in learns[1]
    assert any(name.startswith("encoder") for name in learns[0])
    assert not any(name.startswith(("encoder", "quantizer")) for name in learns[1])


@pytest.mark.parametrize("plain", [False, True], ids=["own judge, 25 Hz", "plain distillation"])
def test_what_the_recipe_of_lm_spt_small_offers(plain, in_tmp_path, monkeypatch):
    """Its options as the head of the recipe writes them, with the log where the recipe puts it."""
    head = (FOLDER / "audio" / "lm_spt_small.yaml").read_text()
    given = re.findall(r"--model\.\S+[= ]\S+", head)
    assert len(given) == 4
    save(s3_small.s3_small(), given[-1].partition("=")[2])
    options = [word for option in given for word in option.split()]
    words = ["-c", "overlays/plain_distillation"] if plain else options
    words = ["fit", "-c", "audio/lm_spt_small", *words, "-c", "overlays/debug"]
    words += ["--trainer.default_root_dir=run", "--trainer.enable_progress_bar=false"]
    monkeypatch.setattr("sys.argv", ["intaglio", *words])
    assert cli.main() == 0
    [log] = Path("run").rglob("metrics.csv")
    assert "train/meaning" in log.read_text()
    codec = load(next(Path("run").rglob("last.ckpt")))
    assert codec.frame_rate == (12.5 if plain else 25)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name.startswith("audio/")])
def test_the_logs_lie_in_the_folder_of_the_run(name):
    """The paths of a recipe as they stand, which tests that bring loggers of their own replace."""
    trainer = OmegaConf.load(FOLDER / f"{name}.yaml").trainer
    loggers = trainer.logger if OmegaConf.is_list(trainer.logger) else [trainer.logger]
    for logger in loggers:
        assert logger.init_args.save_dir == trainer.default_root_dir


def test_there_are_recipes():
    assert {"audio/speech_small", "audio/wavtokenizer"} <= set(SYSTEMS)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda p: p.stem)
def test_a_recipe_is_short_and_begins_with_what_it_is(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("# ")
