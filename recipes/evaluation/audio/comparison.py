"""Codecs, the originals and classic codecs, measured in the same way on the same items."""

import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.tokens import Tokens
from intaglio.data.formats.wave import resample
from intaglio.recipes.evaluation.audio.baselines import Baseline
from intaglio.recipes.evaluation.scores import Metric, Pair, Scores
from intaglio.recipes.evaluation.scores import evaluate as scored

ORIGINAL = "original"
PCM_BITS = 16
SCALE_BITS = 32  # of each scale beside the ids, as in a token file


class Item(NamedTuple):
    """A recording to be coded.

    Attributes:
        name: such as its path in its data set.
        wave: float [samples], in [-1, 1].
        sample_rate: its rate in Hz.
        text: what is said in it; "" if unknown.
    """

    name: str
    wave: Tensor
    sample_rate: int
    text: str = ""


class Point(NamedTuple):
    """A codec at one of its bit rates.

    Attributes:
        name: of its row.
        codec: audio codec of any rate and number of channels.
        levels: of its quantizer that are used; all of them if None.
    """

    name: str
    codec: AudioCodec
    levels: int | None = None


class Row(NamedTuple):
    """One system in a comparison.

    Attributes:
        system: name of the codec, or `ORIGINAL`.
        bits_per_second: bits its receiver needs over the items' duration; None if it did not run.
        scores: by name of the metric; empty if it did not run.
        items: number of items coded.
        note: why the system did not run; "" if it did.
        is_ours: it is a codec under test.
    """

    system: str
    bits_per_second: float | None
    scores: Scores
    items: int
    note: str = ""
    is_ours: bool = False


class Coded(NamedTuple):
    """What a codec made of an item.

    Attributes:
        tokens: on the CPU.
        decoded: waveform, float32 [samples], of the item's rate and length.
        seconds: that encoding and decoding took, without resampling.
    """

    tokens: Tokens
    decoded: Tensor
    seconds: float

    @property
    def bits(self) -> float:
        """Bits that the receiver needs: whole positions, and the scales."""
        scales = 0 if self.tokens.scale is None else self.tokens.scale.numel()
        return self.tokens.bits_per_position * int(self.tokens.mask.sum()) + SCALE_BITS * scales


class Result(NamedTuple):
    """What `evaluate` gives for each system.

    Attributes:
        row: its measures.
        decoded: waveform [samples] of every item; empty if it did not run.
        coded: what a codec under test made of every item; empty for other systems.
    """

    row: Row
    decoded: list[Tensor]
    coded: list[Coded]


class Comparison(NamedTuple):
    """What `evaluate_codec` gives.

    Attributes:
        rows: original first, the codec second, then the baselines.
        decoded: waveforms [samples] of every item by system; systems that did not run are left out.
        tokens: of every item, by the codec, on the CPU.
    """

    rows: list[Row]
    decoded: dict[str, list[Tensor]]
    tokens: list[Tokens]


def evaluate_codec(
    codec: AudioCodec,
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline] = (),
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Measure one codec at its full depth as `evaluate` does.

    Raises:
        ValueError: as `evaluate`.
    """
    found = list(
        evaluate(
            [Point(codec.name, codec)],
            items,
            metrics=metrics,
            baselines=baselines,
            seed=seed,
            progress=progress,
        )
    )
    decoded = {result.row.system: result.decoded for result in found if result.decoded}
    return Comparison(
        [result.row for result in found], decoded, [one.tokens for one in found[1].coded]
    )


def evaluate(
    points: Sequence[Point],
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline] = (),
    seed: int = 0,
    progress: bool = False,
) -> Iterator[Result]:
    """Code every item with every codec and baseline and measure all of them.

    Every system is charged the bits of whole frames or packets over the duration of the items. The
    metrics that need no original are measured on the originals too. A codec hears an item at its
    own sample rate; one of several channels hears it on each of them, and their mean counts.

    Args:
        points: codecs under test.
        items: recordings, of any rates.
        metrics: what to measure.
        baselines: what to compare with; one whose program is absent gets a row that says so.
        seed: of the bootstrap intervals.
        progress: show a bar on standard error, if that is a terminal.

    Yields:
        The originals, the codecs in their order, the baselines in theirs.

    Raises:
        ValueError: no items, an item of a wrong shape, or two systems of one name.
    """
    if not items:
        raise ValueError("there are no items to evaluate a codec on")
    names = [ORIGINAL, *(one.name for one in points), *(one.name for one in baselines)]
    if len(set(names)) < len(names):
        raise ValueError(f"two systems have the same name: {', '.join(names)}")
    steps = len(names) * (len(metrics) + 1) - 1
    with tqdm(total=steps, unit="step", disable=None if progress else True) as bar:
        measure = _Measurement(items, metrics, seed, bar)
        yield measure.originals()
        for point in points:
            yield measure.codec(point)
        for baseline in baselines:
            yield measure.baseline(baseline)


def code(point: Point, item: Item) -> Coded:
    """Encode and decode an item."""
    codec = point.codec
    device = next((weight.device for weight in codec.parameters()), torch.device("cpu"))
    wave = resample(item.wave.float().unsqueeze(0), item.sample_rate, codec.sample_rate)
    wave = wave.to(device).expand(codec.channels, -1).unsqueeze(0)
    start = time.perf_counter()
    tokens = codec.encode(wave, levels=point.levels)
    decoded = codec.decode(tokens)[0].float().cpu()
    seconds = time.perf_counter() - start
    decoded = resample(decoded.mean(0), codec.sample_rate, item.sample_rate)
    return Coded(_on_cpu(tokens), decoded[: len(item.wave)], seconds)


def _on_cpu(tokens: Tokens) -> Tokens:
    return tokens._replace(
        ids=tokens.ids.cpu(),
        mask=tokens.mask.cpu(),
        lengths=None if tokens.lengths is None else tokens.lengths.cpu(),
        scale=None if tokens.scale is None else tokens.scale.cpu(),
    )


class _Measurement:
    """All metrics on what systems make of the items."""

    def __init__(
        self, items: Sequence[Item], metrics: Sequence[Metric], seed: int, bar: tqdm
    ) -> None:
        self.items, self.metrics = items, metrics
        self.seed, self.bar = seed, bar
        self.seconds = sum(Fraction(len(item.wave), item.sample_rate) for item in items)

    def originals(self) -> Result:
        waves = [item.wave for item in self.items]
        return Result(self._row(ORIGINAL, waves, PCM_BITS * sum(map(len, waves))), waves, [])

    def codec(self, point: Point) -> Result:
        self.bar.set_description(f"{point.name}: coding")
        # The first call of a codec pays for what later ones find ready; it must not be timed.
        rate = point.codec.sample_rate
        code(point, Item("silence", torch.zeros(rate // 4), rate))
        coded = [code(point, item) for item in self.items]
        self.bar.update()
        waves = [one.decoded for one in coded]
        row = self._row(point.name, waves, sum(one.bits for one in coded))
        return Result(row._replace(is_ours=True), waves, coded)

    def baseline(self, baseline: Baseline) -> Result:
        self.bar.set_description(f"{baseline.name}: coding")
        if reason := baseline.absence():
            self.bar.update(1 + len(self.metrics))
            return Result(Row(baseline.name, None, {}, 0, reason), [], [])
        trips = [baseline.roundtrip(item.wave, item.sample_rate) for item in self.items]
        self.bar.update()
        waves = [trip.decoded for trip in trips]
        return Result(self._row(baseline.name, waves, sum(trip.bits for trip in trips)), waves, [])

    def _row(self, system: str, waves: Sequence[Tensor], bits: float) -> Row:
        pairs = [
            Pair(item.wave, wave, item.sample_rate, item.text)
            for item, wave in zip(self.items, waves, strict=True)
        ]
        scores: Scores = {}
        for metric in self.metrics:
            if system != ORIGINAL or not metric.intrusive:
                self.bar.set_description(f"{system}: {metric.label}")
                scores |= scored(pairs, [metric], self.seed)
            self.bar.update()
        return Row(system, float(Fraction(bits) / self.seconds), scores, len(pairs))
