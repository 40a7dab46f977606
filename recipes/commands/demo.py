"""``intaglio demo``: a codec of the package on real speech, then a short training, and a report."""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from intaglio.codecs import AudioCodec, load
from intaglio.codecs.bundle import save
from intaglio.data import sets
from intaglio.data.clips import find
from intaglio.data.formats.printable import counted
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.sets.tools import codec2_programs, get_codec2
from intaglio.generators import load as load_generator
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.commands.options import speculation
from intaglio.recipes.commands.options.codec import load_codec, load_image_codec
from intaglio.recipes.commands.options.sampler import DEFAULTS, sampler_of
from intaglio.recipes.commands.options.words import POSITIVE, whole
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.audio.baselines import baseline
from intaglio.recipes.evaluation.audio.comparison import OperatingPoint, audio_systems
from intaglio.recipes.evaluation.audio.metrics import select
from intaglio.recipes.evaluation.audio.recognition import Recogniser
from intaglio.recipes.evaluation.audio.recordings import read_recordings
from intaglio.recipes.evaluation.comparison import evaluate
from intaglio.recipes.evaluation.figures.canvas import pyplot
from intaglio.recipes.evaluation.items import Item, choose
from intaglio.recipes.evaluation.report.codec import SHIPPED, TrainingRun, codec_report
from intaglio.recipes.evaluation.report.exported import exported_files
from intaglio.recipes.evaluation.report.page import Figure, write_report
from intaglio.recipes.evaluation.rows import SystemResult
from intaglio.recipes.evaluation.tables import (
    notes,
    print_table,
    terminal_table,
    write_records,
)
from intaglio.recipes.evaluation.tables import records as json_records
from intaglio.recipes.file_jobs import JobOptions
from intaglio.recipes.modalities.files import decode_files, encode_files
from intaglio.recipes.sampling.folder import provenance_record, write_samples
from intaglio.recipes.sampling.images import image_pipeline, write_grid
from intaglio.recipes.sampling.requests import requests_of
from intaglio.recipes.sampling.side_by_side import side_by_side

BASELINES = ("codec2-1200", "codec2-2400", "codec2-3200", "opus-6k")
METRICS = ("stoi", "estoi", "pesq", "wer", "mel", "si_sdr")
SHARES = (0.05, 0.05)  # of validation and test, as in the recipe
CAPTIONS = (
    "grinning face with smiling eyes",
    "woman police officer, dark skin tone",
    "man mechanic, medium skin tone",
    "thumbs up sign, light skin tone",
    "poland flag",
)
IMAGES = 6  # of each caption
MIN_SECONDS = 1.5  # of an utterance that is scored
STEPS = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Fetches recordings of speech; encodes, decodes and scores utterances that were never\n"
        "trained on, with the codec speech of the package; exports it to ONNX; draws images of\n"
        "captions; writes OUT/report.html. Then it fine-tunes the codec on the recordings for a\n"
        "number of steps, and adds what came of that. The status is 1 if a check has failed.\n\n"
        "example:\n  intaglio demo --out demo --steps 300"
    )
    parser.add_argument(
        "--out", default="demo", metavar="FOLDER", help="folder for all results (demo)"
    )
    parser.add_argument(
        "--steps", type=whole(0), default=STEPS, help=f"steps of the training, 0 for none ({STEPS})"
    )
    parser.add_argument(
        "--minutes", type=POSITIVE, help="end the training after this time, whatever its steps"
    )
    parser.add_argument(
        "--data",
        default="speech-prompts",
        help="folder, manifest or named set (speech-prompts, or speech-pip without its client)",
    )
    parser.add_argument("--clips", type=whole(1), default=20, help="utterances to score (20)")


def run(args: argparse.Namespace) -> None:
    """Encode, score, export, draw and report; then train, and report again.

    Raises:
        OSError: no data can be fetched, or the folder cannot be written.
        ValueError: the training failed, or a check of the export did.
        ModuleNotFoundError: the figures need matplotlib.
    """
    pyplot()  # what the report needs is asked for now, not after the training
    torch.set_num_threads(min(2, torch.get_num_threads()))
    out = Path(args.out)
    _clear(out)
    name = _fetch(args.data)
    codec = load_codec(SHIPPED, "cpu")
    items = _heldout(name, codec, out, args.clips)
    _round_trip(codec, out, items)
    files = exported_files(codec, out / "exported", items[0], say=_say)
    recogniser = Recogniser()
    metrics = select(METRICS, recogniser)
    _say("scoring")
    systems = audio_systems([OperatingPoint(SHIPPED, codec)], [baseline(b) for b in BASELINES])
    results = list(evaluate(systems, items, metrics=metrics, progress=True))
    pictures = [_images(out), _several_tokens(out)]

    def report(results: list[SystemResult], training: TrainingRun | None) -> Path:
        write_records(out / "eval.json", json_records([row for row, _ in results], name))
        page = codec_report(name, codec, training, items, results, metrics, recogniser)
        return write_report(out, page._replace(files=files, pictures=pictures))

    path = report(results, None)
    print_table(terminal_table([row for row, _ in results], metrics))
    print(f"listen and look: {path}", flush=True)
    if args.steps:
        training = _train(name, out, args.steps, args.minutes)
        tuned = OperatingPoint(f"{SHIPPED}, fine-tuned", training.codec)
        results[2:2] = evaluate([tuned], items, metrics=metrics, progress=True)
        report(results, training)
        print_table(terminal_table([row for row, _ in results], metrics))
    for line in notes([row for row, _ in results], metrics):
        print(line)
    print(f"\nlisten and look: {path}")
    if any(not file.passed for file in files):
        raise ValueError("a check of the exported files failed: see above, or the page")


def _clear(out: Path) -> None:
    """Make the folder and remove what an earlier demo left; refuse one with other content."""
    if out.exists() and any(out.iterdir()) and not (out / "run").is_dir():
        raise FileExistsError(f"{out} holds something other than a demo; choose another --out")
    for name in ("run", "codec", "heldout", "tokens", "decoded", "exported", "pictures"):
        shutil.rmtree(out / name, ignore_errors=True)
    (out / "run").mkdir(parents=True)


def _say(text: str) -> None:
    print(f"intaglio demo: {text}", file=sys.stderr, flush=True)


def _fetch(name: str) -> str:
    """Name of a set that could be fetched; the Codec2 programs are fetched if possible."""
    if codec2_programs() is None:
        try:
            get_codec2()
        except (OSError, ModuleNotFoundError) as error:
            _say(f"continuing without Codec2: {explain(error)}")
    if name not in {known.name for known in sets.SETS}:
        return name
    try:
        _say(f"data set {name}")
        sets.get(name)
    except (OSError, ModuleNotFoundError) as error:
        if name != "speech-prompts":
            raise
        _say(f"{explain(error)}; using speech-pip instead")
        sets.get(name := "speech-pip")
    return name


def _train(name: str, out: Path, steps: int, minutes: float | None) -> TrainingRun:
    """Fine-tune as a user would, in a process of its own; the codec is left in ``OUT/codec``."""
    limit = f", {minutes:g} minutes at most" if minutes is not None else ""
    _say(f"training on {name}: {counted(steps, 'step')}{limit}")
    words = ["fit", "-c", "audio/speech_small", "-c", "overlays/speech", "-c", "overlays/demo"]
    words += ["--data.root", name, f"--trainer.max_steps={steps}"]
    words += [f"--trainer.max_time={_clock(minutes)}"] if minutes is not None else []
    words += [f"--trainer.default_root_dir={out / 'run'}"]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "intaglio.recipes", *words], check=False)
    if done.returncode:
        raise ValueError(
            f"the training ended with status {done.returncode}; see above. The page shows what "
            "comes before it"
        )
    [checkpoint] = (out / "run").rglob("last.ckpt")
    [log] = (out / "run").rglob("metrics.csv")
    save(load(checkpoint), out / "codec")
    codec = load_codec(str(out / "codec"), "cpu")
    taken = int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])
    training = TrainingRun(codec, log, time.monotonic() - start, taken, steps)
    if warning := training.warning():
        _say(warning)
    return training


def _clock(minutes: float) -> str:
    """A duration as Lightning reads it: days:hours:minutes:seconds."""
    seconds = round(60 * minutes)
    return (
        f"{seconds // 86400:02}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    )


def _heldout(name: str, codec: AudioCodec, out: Path, count: int) -> list[Item]:
    """Utterances of the test split, written to ``heldout/`` as they are scored."""
    folder, records = find(name)
    long = [r for r in records if r.seconds == 0 or r.seconds >= MIN_SECONDS]
    chosen = choose(long, "test", shares=SHARES, limit=count)
    items = read_recordings(folder, chosen, codec.sample_rate)
    items = [
        item._replace(name=Path(item.name).with_suffix("").as_posix().replace("/", "-"))
        for item in items
    ]
    (out / "heldout").mkdir(exist_ok=True)
    for item in items:
        write_wave(out / "heldout" / f"{item.name}.wav", item.content[None], codec.sample_rate)
    return items


def _round_trip(codec: AudioCodec, out: Path, items: list[Item]) -> None:
    """Encode and decode the held-out files as the commands do, and check their lengths."""
    files = JobOptions(overwrite=True)
    encode_files(codec, [str(out / "heldout")], str(out / "tokens"), files=files)
    decode_files(codec, [str(out / "tokens")], str(out / "decoded"), files=files)
    for item in items:
        decoded, _ = read_wave(out / "decoded" / f"{item.name}.wav")
        assert decoded.shape[-1] == len(item.content), f"{item.name} changed its length"


def _images(out: Path) -> Figure:
    """Draw images of captions with the generator that is part of the package."""
    _say("drawing images")
    codec = load_image_codec("emoji", "auto")
    generator = load_generator("emoji").to(next(codec.parameters()).device)
    options = {**DEFAULTS, "guidance": 3.0, "temperature": 0.9}
    requests = requests_of(generator, texts=CAPTIONS, count=IMAGES)
    files, _ = write_samples(
        image_pipeline(generator, codec, sampler_of(options)),
        requests,
        out / "pictures",
        about=provenance_record(generator, codec) | options,
        overwrite=True,
    )
    grid = out / "pictures" / "grid.png"
    write_grid(grid, [file.path for file in files], CAPTIONS, columns=IMAGES)
    return Figure(
        grid.read_bytes(),
        f"{IMAGES} images each of: {'; '.join(CAPTIONS)}",
        "Drawn from the words before each row, by the emoji generator of the package: "
        "64 tokens per image, one after the other.",
    )


def _several_tokens(out: Path) -> Figure:
    """Draw images with one token in a pass of the generator, and with several."""
    codec = load_image_codec("emoji", "auto")
    generator = load_generator("emoji").to(next(codec.parameters()).device)
    options = {**DEFAULTS, "guidance": 3.0, "drafter": speculation.NONE}
    plain = sampler_of(options)
    several = sampler_of({**options, "drafter": "jacobi"})
    assert isinstance(several, SpeculativeSampler)
    requests = requests_of(generator, texts=CAPTIONS)
    grid = out / "pictures" / "side_by_side.png"
    found = side_by_side(generator, codec, requests, (plain, several), grid=grid)
    count, tokens = len(requests), generator.positions
    return Figure(
        grid.read_bytes(),
        f"An image each of: {'; '.join(CAPTIONS)}; in two rows, plain and speculative sampling",
        f"The same seeds drawn twice, one image at a time. Plain: 1 token in a pass, {tokens} "
        f"passes, {found.plain / count:.2f} s an image. Speculative (intaglio sample --drafter "
        f"jacobi): {found.tokens_per_pass:.2f} tokens in a pass, {found.passes:.0f} passes, "
        f"{found.speculative / count:.2f} s an image; {found.equal} of {count} images have the "
        "same tokens.",
    )
