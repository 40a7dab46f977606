"""``intaglio demo``: train, evaluate and export a codec on real speech, and write a report."""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from intaglio.codecs import AudioCodec, load
from intaglio.codecs.bundle import save
from intaglio.data import sets
from intaglio.data.clips import find
from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.sets.tools import codec2_programs, get_codec2
from intaglio.generators import load as load_generator
from intaglio.recipes.commands.options.codec import load_codec, load_image_codec
from intaglio.recipes.commands.options.sampler import DEFAULTS, sampler_of
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.audio.baselines import baseline
from intaglio.recipes.evaluation.audio.comparison import Comparison, evaluate_codec
from intaglio.recipes.evaluation.audio.metrics import select
from intaglio.recipes.evaluation.audio.recognition import Recogniser
from intaglio.recipes.evaluation.audio.recordings import read_recordings
from intaglio.recipes.evaluation.figures.canvas import pyplot
from intaglio.recipes.evaluation.items import Item, choose
from intaglio.recipes.evaluation.report.codec import TrainingRun, codec_report
from intaglio.recipes.evaluation.report.page import ExportedFile, Figure, write_report
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import notes, terminal_table, write_records
from intaglio.recipes.evaluation.tables import records as json_records
from intaglio.recipes.modalities.files import decode_files, encode_files
from intaglio.recipes.sampling.folder import provenance_record, write_samples
from intaglio.recipes.sampling.images import image_pipeline, write_grid
from intaglio.recipes.sampling.requests import requests_of

if TYPE_CHECKING:
    from intaglio.export.verify import Difference

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Fetches recordings of speech, trains speech_small on them, encodes, decodes and scores\n"
        "utterances that were held out from training, exports to ONNX, draws images of captions\n"
        "with a generator that is part of the package, and writes OUT/report.html.\n\n"
        "example:\n  intaglio demo --out demo --minutes 3"
    )
    parser.add_argument(
        "--out", default="demo", metavar="FOLDER", help="folder for all results (demo)"
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="duration of the training (3)")
    parser.add_argument(
        "--data",
        default="speech-prompts",
        help="folder, manifest or named set (speech-prompts, or speech-pip without its client)",
    )
    parser.add_argument("--clips", type=int, default=20, help="utterances to score (20)")


def run(args: argparse.Namespace) -> None:
    """Train, evaluate, export, draw and report.

    Raises:
        OSError: no data can be fetched, or the folder cannot be written.
        ValueError: an argument is out of range, or the training failed.
    """
    if args.minutes <= 0 or args.clips < 1:
        raise ValueError(f"--minutes and --clips must be positive: {args.minutes}, {args.clips}")
    pyplot()  # what the report needs is asked for now, not after the training
    torch.set_num_threads(min(2, torch.get_num_threads()))
    out = Path(args.out)
    _clear(out)
    name = _fetch(args.data)
    training = _train(name, out, args.minutes)
    save(training.codec, out / "codec")
    codec = load(out / "codec")
    assert isinstance(codec, AudioCodec)
    items = _heldout(name, codec, out, args.clips)
    _round_trip(out, items)
    exported = _export(codec, out, items)
    recogniser = Recogniser()
    metrics = select(METRICS, recogniser)
    _say("scoring")
    comparison = evaluate_codec(
        codec, items, metrics=metrics, baselines=[baseline(b) for b in BASELINES], progress=True
    )
    write_records(out / "eval.json", json_records(comparison.rows, name))
    report = codec_report(name, training, items, comparison, metrics, recogniser)
    path = write_report(out, report._replace(files=exported, pictures=[_images(out)]))
    _print_table(comparison, metrics)
    print(f"\nlisten and look: {path}")


def _clear(out: Path) -> None:
    """Make the folder and remove what an earlier demo left; refuse one with other content."""
    if out.exists() and any(out.iterdir()) and not (out / "run").is_dir():
        raise FileExistsError(f"{out} holds something other than a demo; choose another --out")
    for name in ("run", "heldout", "tokens", "decoded", "exported", "pictures"):
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


def _train(name: str, out: Path, minutes: float) -> TrainingRun:
    """Train from the recipe, in a process of its own, as a user would."""
    _say(f"training speech_small on {name} for {minutes:g} minutes")
    logger = "lightning.pytorch.loggers.CSVLogger"
    words = ["fit", "-c", "audio/speech_small", "-c", "overlays/demo", "--data.root", name]
    words += [f"--trainer.max_time={_clock(minutes)}", f"--trainer.logger={logger}"]
    words += [f"--trainer.logger.save_dir={out}", "--trainer.logger.name=run"]
    words += ["--trainer.logger.version="]
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "intaglio.recipes", *words], check=False)
    if done.returncode:
        raise ValueError(f"the training ended with status {done.returncode}; see above")
    checkpoint = out / "run" / "checkpoints" / "last.ckpt"
    codec = load(checkpoint)
    assert isinstance(codec, AudioCodec)
    return TrainingRun(codec, out / "run" / "metrics.csv", time.monotonic() - start)


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


def _round_trip(out: Path, items: list[Item]) -> None:
    """Encode and decode the held-out files as the commands do, and check their lengths."""
    codec = load_codec(str(out / "codec"), "auto")
    encode_files(codec, [str(out / "heldout")], str(out / "tokens"), overwrite=True)
    decode_files(codec, [str(out / "tokens")], str(out / "decoded"), overwrite=True)
    for item in items:
        decoded, _ = read_wave(out / "decoded" / f"{item.name}.wav")
        assert decoded.shape[-1] == len(item.content), f"{item.name} changed its length"


def _export(codec: AudioCodec, out: Path, items: list[Item]) -> list[ExportedFile]:
    """Export to ONNX, and compare the exported pair with the codec on a held-out utterance."""
    try:
        from intaglio.export import onnx
        from intaglio.export.export import export
        from intaglio.export.graphs import Graphs
        from intaglio.export.verify import compare

        [record] = export(codec, out / "exported", ["onnx"])
        encoder, decoder = onnx.run(out / "exported")
    except ModuleNotFoundError as error:
        _say(f"continuing without ONNX: {explain(error)}")
        return []
    wave, generator = items[0].content[None, None], torch.Generator().manual_seed(0)
    found = compare(Graphs(codec), wave, encoder, decoder, generator)
    return _checked(record, found, items[0].name)


def _checked(record: dict[str, Any], found: "Difference", name: str) -> list[ExportedFile]:
    """The encoder and the decoder, each with its own check on an utterance."""
    from intaglio.export.verify import MAX_ERROR

    verified = record["verified"]
    equal = f"equal{_but_for(found.ties)}" if not found.wrong else f"{found.wrong} DIFFER"
    checks = {
        "encoder.onnx": (
            f"{verified['tokens']} tokens of made-up sounds equal{_but_for(verified['ties'])}; "
            f"{found.tokens} of {name}: {equal}",
            found.wrong == 0,
        ),
        "decoder.onnx": (
            f"samples within {verified['error']:.1g} for made-up sounds, within {found.error:.1g} "
            f"for {name}",
            found.error <= MAX_ERROR,
        ),
    }
    for file, (check, passed) in checks.items():
        if not passed:
            _say(f"the exported {file} FAILED: {check}")
    sizes = record["files"]
    return [ExportedFile(f"exported/{file}", sizes[file], *checks[file]) for file in sizes]


def _but_for(ties: int) -> str:
    return f" but for {ties} rounding tie{'s' if ties > 1 else ''}" if ties else ""


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


def _print_table(comparison: Comparison, metrics: list[Metric]) -> None:
    from rich.console import Console

    console = Console()
    console.width = console.width if console.is_terminal else max(120, console.width)
    console.print(terminal_table(comparison.rows, metrics))
    for line in notes(comparison.rows, metrics):
        print(line)
