"""The report of a codec: what it is, how it sounds, how it scores, and what a training adds."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.tokens import Tokens
from intaglio.data.formats.printable import counted
from intaglio.recipes.evaluation.audio.comparison import ORIGINAL
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
from intaglio.recipes.evaluation.rows import Row, SystemResult
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import NO_BREAK, bits_text, notes
from intaglio.recipes.evaluation.usage import usage_of

PLAYERS = 4  # utterances to listen to
SHIPPED = "speech"  # the codec of the package that the commands name


class TrainingRun(NamedTuple):
    """A training that went on from the codec of a report.

    Attributes:
        codec: what came of it.
        log: its ``metrics.csv``.
        seconds: that it took.
        steps: that were done.
        planned: steps that it was to take.
    """

    codec: AudioCodec
    log: Path
    seconds: float
    steps: int
    planned: int

    def warning(self) -> str:
        """What has to be known of an unfinished training; "" of a finished one."""
        if self.steps >= self.planned:
            return ""
        return (
            f"The training is unfinished: it ended by time after {self.steps} of {self.planned} "
            "steps. What it made of the codec may be worse than the codec it began with."
        )


def codec_report(
    name: str,
    codec: AudioCodec,
    training: TrainingRun | None,
    items: Sequence[Item],
    results: Sequence[SystemResult],
    metrics: Sequence[Metric],
    recogniser: Recogniser,
) -> Report:
    """Report of a codec and, if there was one, of a training that went on from it.

    Args:
        name: of the data set.
        codec: the first of the results that is ours.
        training: what came of it is among the results, too.
        items: what it was scored on, by no training seen.
        results: the scores, its own and those of classic codecs.
        metrics: the columns of the table.
        recogniser: that transcribed the utterances.
    """
    rows = [row for row, _ in results]
    ours, output = next((row, output) for row, output in results if row.is_ours and output)
    return Report(
        title=f"{ours.system}: a codec at {codec.bits_per_second / 1000:.2f} kbit/s",
        summary=(
            f"What the codec {ours.system} of the package makes of "
            f"{counted(len(items), 'utterance')} that it was not trained on: "
            f"{_scores(ours, metrics)}.{_of_training(training, rows, metrics)}"
        ),
        warnings=[warning for warning in [training.warning() if training else ""] if warning],
        facts=_facts(name, codec, training, items),
        sample_rate=codec.sample_rate,
        utterances=_utterances(codec, items, results, recogniser),
        rows=rows,
        metrics=metrics,
        results=[
            Figure(
                rate_distortion(rows),
                "STOI and word error rate of each codec over its bit rate",
                "Better is up and to the left for STOI, down and to the left for errors.",
            )
        ],
        tokens=_token_figures(codec, items, output.tokens),
        training=_training_figures(training.log) if training else [],
        commands=_next_commands(name),
        footnote=" ".join(
            [
                f"torch {torch.__version__}, {time.strftime('%Y-%m-%d')}.",
                f"{ours.system} was trained with STOI, PESQ and features of the recogniser that "
                "counts word errors among its losses; its card has figures of another recogniser.",
                *notes(rows, metrics),
            ]
        ),
    )


def _scores(row: Row, metrics: Sequence[Metric]) -> str:
    """Means with their units."""
    means = [(metric, row.mean(metric.name)) for metric in metrics]
    return ", ".join(
        f"{metric.label} {mean:.{metric.decimals}f}{metric.unit and NO_BREAK + metric.unit}"
        for metric, mean in means
        if mean is not None
    )


def _of_training(
    training: TrainingRun | None, rows: Sequence[Row], metrics: Sequence[Metric]
) -> str:
    if training is None:
        return ""
    tuned = [row for row in rows if row.is_ours][1]
    return (
        f" After {training.steps} of {training.planned} more steps on other recordings of the set, "
        f"{training.seconds / 60:.1f} minutes: {_scores(tuned, metrics)}."
    )


def _next_commands(name: str) -> list[Command]:
    fit = "intaglio fit -c audio/speech_small"
    return [
        Command("Encode a recording", f"intaglio encode a.wav -o a.intaglio --codec {SHIPPED}"),
        Command("Look into the token file", "intaglio info a.intaglio"),
        Command("Decode it", f"intaglio decode a.intaglio -o b.wav --codec {SHIPPED}"),
        Command("Go on training on yours", f"{fit} -c overlays/speech --data.root FOLDER"),
        Command("Train from scratch", f"{fit} --data.root {name}"),
        Command("Draw pictures", 'intaglio sample emoji --text "angry face" -o faces'),
    ]


def _training_figures(log: Path) -> list[Figure]:
    """Curves of the training; none if it was too short for any."""
    if not any(len(points) > 1 for points in read_curves(log).values()):
        return []
    return [Figure(loss_curves(log), "Losses over the steps of the training")]


def _facts(
    name: str, codec: AudioCodec, training: TrainingRun | None, items: Sequence[Item]
) -> list[tuple[str, str]]:
    seconds = sum(len(item.content) for item in items) / codec.sample_rate
    trained = "as it comes with the package"
    if training is not None:
        trained += f", and {training.steps} of {training.planned} steps more"
    return [
        ("Data", name),
        (
            "Codec",
            f"{codec.name}, {sum(p.numel() for p in codec.parameters()) / 1e6:.1f} M parameters",
        ),
        ("Rate", f"{codec.bits_per_second:.0f} bit/s: {codec.frame_rate:g} tokens a second"),
        ("Codebook", f"{codec.vocab[0]:,} codes"),
        ("Training", trained),
        ("Scored", f"{counted(len(items), 'utterance')} not seen in training, {seconds:.0f} s"),
    ]


def _utterances(
    codec: AudioCodec,
    items: Sequence[Item],
    results: Sequence[SystemResult],
    recogniser: Recogniser,
) -> list[Utterance]:
    utterances = []
    ours = next(row.system for row, _ in results if row.is_ours)
    for index in evenly_spaced(len(items), PLAYERS):
        item = items[index]
        versions = {row.system: made.decoded[index] for row, made in results if made}
        players = [
            Player(
                row.system,
                versions[row.system],
                "" if row.system == ORIGINAL else bits_text(row) + " bit/s",
                _heard(recogniser, versions[row.system], codec.sample_rate),
                row.is_ours,
            )
            for row, _ in results
            if row.system in versions
        ]
        sounds = [Sound(ORIGINAL, item.content), Sound(ours, versions[ours])]
        figure = Figure(
            spectrograms(sounds, codec.sample_rate),
            f"Spectrograms of {item.name}: original above, decoded below",
        )
        utterances.append(Utterance(item.name, item.text, players, figure))
    return utterances


def _heard(recogniser: Recogniser, wave: Tensor, rate: int) -> str | None:
    return recogniser.hear(wave, rate) if recogniser.is_available() else None


def _token_figures(
    codec: AudioCodec, items: Sequence[Item], tokens: Sequence[Tokens]
) -> list[Figure]:
    return [
        Figure(
            token_raster(tokens[0], items[0].content, codec.sample_rate),
            f"The ids of the tokens of {items[0].name} over time, below its waveform",
            f"{codec.frame_rate:g} tokens a second, each one of {codec.vocab[0]} codes.",
        ),
        Figure(
            code_usage(usage_of(tokens)),
            "Share of all tokens that each code has, most frequent first",
            "A healthy codebook falls off slowly; a collapsed one is a spike.",
        ),
    ]
