"""Fixtures of the command line's tests: a way to call it, a tiny codec, a recording."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import soundfile
import torch

from intaglio.codecs import AudioCodec, ImageCodec, load
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.image.tokenbridge import tokenbridge
from intaglio.codecs.image.var_tokenizer import var_tokenizer
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.data.formats.image import write_image
from intaglio.data.image_transforms import to_pixels
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.base import Order
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.recipes.cli import main


class Outcome(NamedTuple):
    """Exit status of a command line, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def intaglio(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Call the command line in this process; paths may be given as words."""
    monkeypatch.delenv("INTAGLIO_CODEC", raising=False)
    monkeypatch.delenv("INTAGLIO_TRACEBACK", raising=False)

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["intaglio", *map(str, words)])
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
        return Outcome(status, *capfd.readouterr())

    return call


@pytest.fixture
def refusal(intaglio: Callable[..., Outcome]) -> Callable[..., str]:
    """Call the command line, expect one line and status 1, or another; gives the line."""

    def call(*words: object, status: int = 1) -> str:
        found, out, err = intaglio(*words)
        assert found == status, err
        assert out == ""
        assert err.startswith("intaglio: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("intaglio: error: ").rstrip()

    return call


def tiny_codec(seed: int, name: str) -> AudioCodec:
    torch.manual_seed(seed)
    codec = AudioCodec(
        encoder=SEANetEncoder(16, (4, 5), width=4, lstm_layers=0),
        quantizer=FSQ(16, (9, 7)),
        decoder=VocosDecoder(
            16, 16, intermediate=32, num_layers=1, hop_length=20, n_fft=80, attention=False
        ),
        sample_rate=8000,
        name=name,
    )
    project = codec.quantizer.project_in
    with torch.no_grad():  # as after training: noise meets many codes
        latents = codec.encoder(0.1 * torch.randn(1, 1, 8000))
        project.weight /= project(latents).std((0, 1)).unsqueeze(1)
        project.bias -= project(latents).mean((0, 1))
    return codec


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny codec, 8 kHz, 400 tokens a second; not to be changed."""
    return save(tiny_codec(1, "tiny"), tmp_path_factory.mktemp("codec") / "tiny")


def tiny_image_codec(seed: int, name: str) -> ImageCodec:
    torch.manual_seed(seed)
    codec = ImageCodec(
        ConvEncoder(3, width=8, multipliers=(1, 1, 1), blocks=1, style="magvit2", groups=4),
        FSQ(3, (8, 8, 8)),
        ConvDecoder(3, width=8, multipliers=(1, 1, 1), blocks=1, style="magvit2", groups=4),
        image_size=16,
        name=name,
    )
    with torch.no_grad():  # as after training: pictures meet many codes
        latents = codec.encoder(2 * torch.rand(4, 3, 16, 16) - 1)
        last = codec.encoder.conv_out
        last.weight /= latents.std()
    return codec.eval()


@pytest.fixture(scope="session")
def image_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny codec of images of any size, 4 pixels a position; not to be changed."""
    return save(tiny_image_codec(1, "tiny picture"), tmp_path_factory.mktemp("codec") / "image")


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write a smooth random picture: ``draw(path, height, width)``; another one each time."""

    def write(path: Path, height: int = 17, width: int = 22) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = torch.randn(1, 3, 3, 3)
        values = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        write_image(path, to_pixels(values[0]))
        return path

    return write


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a codec of the same kind with other weights."""
    return save(tiny_codec(2, "other"), tmp_path_factory.mktemp("codec") / "other")


@pytest.fixture
def record() -> Callable[..., Path]:
    """Write noise as an audio file: ``record(path, samples, rate, channels)``."""

    def write(path: Path, samples: int = 4001, rate: int = 8000, channels: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(os.fsencode(path), 0.1 * torch.randn(samples, channels).numpy(), rate)
        return path

    return write


SERVER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import intaglio.codecs.audio.speech_small, intaglio.recipes.lightning_cli
import intaglio.recipes.callbacks.ema
import intaglio.codecs.task, intaglio.data.synthetic.modules, intaglio.recipes.callbacks.samples
import intaglio.codecs.discriminators.period, einops, omegaconf
from intaglio.recipes.cli import main
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(order["wait"], signal.SIGKILL))
        signal.alarm(120)
        status = os.waitpid(order["wait"], 0)[1]
        signal.alarm(0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where nohup started the tests
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        out = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["intaglio", *order["words"]]
        sys.stdout = os.fdopen(1, "w", 1)
        status = 1
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
        except BaseException:
            import traceback
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(status or 0)
    print(pid, flush=True)
"""


class Launcher:
    """Runs the command line in processes of their own that need not import anything again."""

    def __init__(self, modules: Path) -> None:
        self.modules = modules
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def start(self, folder: Path, *words: object, environment: dict[str, str] | None = None) -> int:
        """Start the command line in a folder; gives the number of the process."""
        rank = (environment or {}).get("LOCAL_RANK", "")
        self.output = folder / f"output{rank}.txt"
        order = {"folder": str(folder), "words": [str(word) for word in words]}
        return int(
            self._ask(order | {"output": str(self.output), "environment": environment or {}})
        )

    def wait(self, process: int) -> int:
        """Wait for a process; gives its status, negative if a signal killed it."""
        return int(self._ask({"wait": process}))

    def run(self, folder: Path, *words: object) -> int:
        """Start the command line and wait for it."""
        return self.wait(self.start(folder, *words))

    def _ask(self, order: dict[str, Any]) -> str:
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return self._line()

    def _line(self) -> str:
        return self.server.stdout.readline().strip()


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A `Launcher`; Python files in its folder ``modules`` can be imported by what it runs."""
    launcher = Launcher(tmp_path_factory.mktemp("modules"))
    yield launcher
    launcher.server.stdin.close()
    launcher.server.stdout.close()
    launcher.server.wait()


TINY_RECIPE = """
seed_everything: 7
model:
  class_path: intaglio.codecs.task.CodecTask
  init_args:
    codec:
      class_path: intaglio.codecs.audio_codec.AudioCodec
      init_args:
        encoder:
          class_path: intaglio.codecs.encoders.seanet.SEANetEncoder
          init_args: {dim: 8, strides: [4, 5], width: 4, lstm_layers: 0}
        quantizer:
          class_path: intaglio.codecs.quantizers.vq.VectorQuantizer
          init_args: {dim: 8, codebook_size: 24, decay: 0.9, kmeans_iterations: 3, dead_below: 1.0}
        decoder:
          class_path: intaglio.codecs.decoders.vocos.VocosDecoder
          init_args:
            {dim: 8, width: 32, intermediate: 16, num_layers: 1, hop_length: 20, n_fft: 80,
             dropout: 0.2}
        sample_rate: 1000
        name: tiny
    losses:
      wave: {class_path: intaglio.codecs.losses.waveform.WaveformLoss}
    adversaries:
      periods:
        class_path: intaglio.codecs.losses.adversary.Adversary
        init_args:
          discriminator:
            class_path: intaglio.codecs.discriminators.period.MultiPeriodDiscriminator
            init_args: {periods: [2], channels: [4]}
          loss: {class_path: intaglio.codecs.losses.adversarial.HingeLoss}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-2}}
    warmup_steps: 4
data:
  class_path: intaglio.data.synthetic.modules.SyntheticAudio
  init_args:
    {sample_rate: 1000, seconds: 0.4, batch_size: 2, samples_per_epoch: 11, validation_samples: 3}
trainer:
  default_root_dir: run
  accelerator: cpu
  max_steps: 24
  check_val_every_n_epoch: 2
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: "${...default_root_dir}", name: ""}
  callbacks:
    - {class_path: intaglio.recipes.callbacks.ema.ParameterEMA, init_args: {decay: 0.9}}
    - {class_path: intaglio.recipes.callbacks.usage.CodeUsage, init_args: {window: 7}}
    - {class_path: intaglio.recipes.callbacks.samples.SampleLogger, init_args: {num_clips: 1}}
    - class_path: intaglio.recipes.callbacks.checkpoint.LastCheckpoint
      init_args: {every_n_steps: 3}
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains 24 steps in epochs of five, with everything that has a state."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE)
    return path


def final(folder: Path) -> dict[str, Any]:
    """The last checkpoint of the start that reached the end."""
    paths = sorted(folder.glob("run/*/checkpoints/last.ckpt"), key=lambda p: p.stat().st_mtime_ns)
    return torch.load(paths[-1], weights_only=True)


def assert_equal(ours: Any, theirs: Any, where: str = "") -> None:
    """Bit-equal at any depth."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(*pair, f"{where}/{number}")
    else:
        assert ours == theirs, where


class Unbroken(NamedTuple):
    """The folder of an uninterrupted training."""

    folder: Path

    def compare(self, folder: Path) -> None:
        """Another training ends equal: weights, codebook, optimizers, average, counters."""
        broken, unbroken = final(folder), final(self.folder)
        for key in set(unbroken) - {"recipe", "callbacks", "hyper_parameters"}:
            assert_equal(broken[key], unbroken[key], key)
        for name in ("CodeUsage", "SampleLogger", "LastCheckpoint"):
            assert_equal(broken["callbacks"][name], unbroken["callbacks"][name], name)


@pytest.fixture(scope="session")
def unbroken(
    launcher: Launcher, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Unbroken:
    """The uninterrupted training of the tiny recipe."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert launcher.run(folder, "fit", "-c", tiny_recipe) == 0, (folder / "output.txt").read_text()
    return Unbroken(folder)


@pytest.fixture(scope="session")
def codec_of(image_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A bundle of a codec whose tokens a generator, by its recipe's name, can draw."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in ("image/var", "image/tokenbridge_ar"):
            return image_bundle
        if name not in made:
            torch.manual_seed(1)
            scales = name == "image/var"
            codec = var_tokenizer(size="small") if scales else tokenbridge(8, size="small")
            made[name] = save(codec, tmp_path_factory.mktemp("codec") / "small")
        return made[name]

    return make


@pytest.fixture(scope="session")
def tokens(
    codec_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Folder of shards, one view of each of 18 pictures of three classes, for a generator."""
    made: dict[Path, Path] = {}

    def make(name: str) -> Path:
        codec = codec_of(name)
        if codec not in made:
            pictures, made[codec] = (tmp_path_factory.mktemp(kind) for kind in ("in", "tokens"))
            lines = []
            for number in range(18):
                label = ("red", "green", "blue")[number % 3]
                write_image(pictures / f"{number}.png", torch.randint(0, 256, (3, 16, 16)).byte())
                record = {"path": f"{number}.png", "text": f"{label} {number}", "label": label}
                lines.append(json.dumps(record))
            (pictures / "manifest.jsonl").write_text("\n".join(lines))
            words = ["tokenize", pictures, "-o", made[codec], "--codec", codec]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["intaglio", *map(str, words)])
                assert main() == 0
        return made[codec]

    return make


def tiny_generator(codec: ImageCodec, order: Order, condition: Condition) -> Generator:
    torch.manual_seed(3)
    generator = Generator(
        Backbone((4, 4), IdEmbedding((512,), 16), condition, Transformer(16, 1, 2)),
        CategoricalHead(16, (512,)),
        order,
        name="tiny pipeline",
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    generator.provenance = Provenance(codec.name, codec.fingerprint, ("cat", "dog", "tree"))
    return generator.eval()


@pytest.fixture(scope="session")
def tiny_generator_of() -> Callable[[ImageCodec, Order, Condition], Generator]:
    """Build a generator of the tiny image codec's tokens, with random weights."""
    return tiny_generator


@pytest.fixture(scope="session")
def generator_bundle(image_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a class-conditional generator; not to be changed."""
    generator = tiny_generator(load(image_bundle), RasterOrder(), ClassCondition(3))
    return save(generator, tmp_path_factory.mktemp("generator") / "pipeline")


@pytest.fixture
def tiny_image_codec_of() -> Callable[[int, str], ImageCodec]:
    """Build a tiny codec of images with random weights of a seed."""
    return tiny_image_codec
