"""The report of a trained codec: what it is, how it sounds, how it scores, how it was trained."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.recipes.evaluation.audio.comparison import ORIGINAL, Comparison
from intaglio.recipes.evaluation.audio.recognition import Recogniser
from intaglio.recipes.evaluation.figures.signals import Sound, spectrograms, token_raster
from intaglio.recipes.evaluation.figures.training import (
    code_usage,
    loss_curves,
    rate_distortion,
    read_curves,
)
from intaglio.recipes.evaluation.items import Item, evenly_spaced
from intaglio.recipes.evaluation.report.page import Command, Figure, Player, Report, Utterance
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import bits_text, notes
from intaglio.recipes.evaluation.usage import usage_of

PLAYERS = 4  # utterances to listen to


class TrainingRun(NamedTuple):
    """What was trained, where its log is, and how long it took."""

    codec: AudioCodec
    log: Path
    seconds: float


def codec_report(
    name: str,
    training: TrainingRun,
    items: Sequence[Item],
    comparison: Comparison,
    metrics: Sequence[Metric],
    recogniser: Recogniser,
) -> Report:
    """Report of a codec after its training.

    Args:
        name: of the data set.
        training: the codec, the log of its training, and how long it took.
        items: what it was scored on.
        comparison: the scores, its own and those of classic codecs.
        metrics: the columns of the table.
        recogniser: that transcribed the utterances.
    """
    codec = training.codec
    ours = next(row for row in comparison.rows if row.is_ours)
    means = {metric.label: ours.mean(metric.name) for metric in metrics}
    scores = [f"{label} {mean:.2f}" for label, mean in means.items() if mean is not None]
    return Report(
        title=f"{codec.name}: speech at {codec.bits_per_second:.0f} bit/s",
        summary=(
            f"A speech codec trained from scratch in {training.seconds / 60:.1f} minutes, and what "
            f"it makes of utterances that it was not trained on: {', '.join(scores)}."
        ),
        facts=_facts(name, training, items),
        sample_rate=codec.sample_rate,
        utterances=_utterances(codec, items, comparison, recogniser),
        rows=comparison.rows,
        metrics=metrics,
        results=[
            Figure(
                rate_distortion(comparison.rows),
                "STOI and word error rate of each codec over its bit rate",
                "Better is up and to the left for STOI, down and to the left for errors.",
            )
        ],
        tokens=_token_figures(codec, items, comparison),
        training=_training_figures(training.log),
        commands=[
            Command("Encode a recording", "intaglio encode a.wav -o a.intaglio"),
            Command("Look into the token file", "intaglio info a.intaglio"),
            Command("Decode it", "intaglio decode a.intaglio -o b.wav"),
            Command("Train longer", f"intaglio fit -c audio/speech_small --data.root {name}"),
            Command(
                "Train on your recordings", "intaglio fit -c audio/speech_small --data.root FOLDER"
            ),
            Command("Draw pictures", 'intaglio sample emoji --text "angry face" -o faces'),
        ],
        footnote=f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}. "
        + " ".join(notes(comparison.rows, metrics)),
    )


def _training_figures(log: Path) -> list[Figure]:
    """Curves of the training; none if it was too short for any."""
    if not any(len(points) > 1 for points in read_curves(log).values()):
        return []
    return [Figure(loss_curves(log), "Losses over the steps of the training")]


def _facts(name: str, training: TrainingRun, items: Sequence[Item]) -> list[tuple[str, str]]:
    codec = training.codec
    seconds = sum(len(item.content) for item in items) / codec.sample_rate
    return [
        ("Data", name),
        (
            "Codec",
            f"{codec.name}, {sum(p.numel() for p in codec.parameters()) / 1e6:.1f} M parameters",
        ),
        ("Rate", f"{codec.bits_per_second:.0f} bit/s: {codec.frame_rate:g} tokens a second"),
        ("Codebook", f"{codec.vocab[0]} codes"),
        ("Training", f"{training.seconds / 60:.1f} minutes, {_steps(training.log)} steps"),
        ("Scored", f"{len(items)} utterances not seen in training, {seconds:.0f} s"),
    ]


def _steps(log: Path) -> int:
    return max((points[-1][0] for points in read_curves(log).values()), default=-1) + 1


def _utterances(
    codec: AudioCodec, items: Sequence[Item], comparison: Comparison, recogniser: Recogniser
) -> list[Utterance]:
    utterances = []
    for index in evenly_spaced(len(items), PLAYERS):
        item = items[index]
        versions: dict[str, Tensor] = {s: w[index] for s, w in comparison.decoded.items()}
        players = [
            Player(
                row.system,
                versions[row.system],
                "" if row.system == ORIGINAL else bits_text(row) + " bit/s",
                _heard(recogniser, versions[row.system], codec.sample_rate),
                row.is_ours,
            )
            for row in comparison.rows
            if row.system in versions
        ]
        sounds = [Sound(ORIGINAL, item.content), Sound(codec.name, versions[codec.name])]
        figure = Figure(
            spectrograms(sounds, codec.sample_rate),
            f"Spectrograms of {item.name}: original above, decoded below",
        )
        utterances.append(Utterance(item.name, item.text, players, figure))
    return utterances


def _heard(recogniser: Recogniser, wave: Tensor, rate: int) -> str | None:
    return recogniser.hear(wave, rate) if recogniser.is_available() else None


def _token_figures(
    codec: AudioCodec, items: Sequence[Item], comparison: Comparison
) -> list[Figure]:
    return [
        Figure(
            token_raster(comparison.tokens[0], items[0].content, codec.sample_rate),
            f"The ids of the tokens of {items[0].name} over time, below its waveform",
            f"{codec.frame_rate:g} tokens a second, each one of {codec.vocab[0]} codes.",
        ),
        Figure(
            code_usage(usage_of(comparison.tokens)),
            "Share of all tokens that each code has, most frequent first",
            "A healthy codebook falls off slowly; a collapsed one is a spike.",
        ),
    ]
