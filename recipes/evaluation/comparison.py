"""A codec, the originals and classic codecs, measured in the same way on the same items."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from intaglio.codecs.codec import AudioCodec
from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.baselines import Baseline
from intaglio.recipes.evaluation.scores import Metric, Pair, Scores, evaluate

ORIGINAL = "original"
PCM_BITS = 16


class Item(NamedTuple):
    """A recording to be coded.

    Attributes:
        name: such as its path in its data set.
        wave: float [samples], in [-1, 1], at the sample rate of the codec.
        text: what is said in it; "" if unknown.
    """

    name: str
    wave: Tensor
    text: str = ""


class Row(NamedTuple):
    """One system in a comparison.

    Attributes:
        system: name of the codec, or `ORIGINAL`.
        bits_per_second: bits its receiver needs over the items' duration; None if it did not run.
        scores: by name of the metric; empty if it did not run.
        items: number of items coded.
        note: why the system did not run; "" if it did.
        is_ours: it is the codec under test.
    """

    system: str
    bits_per_second: float | None
    scores: Scores
    items: int
    note: str = ""
    is_ours: bool = False


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
    """Code every item with the codec and the baselines and measure all of them.

    Every system is charged the bits of whole frames or packets over the duration of the items. The
    metrics that need no original are measured on the originals too.

    Args:
        codec: mono audio codec.
        items: at the codec's sample rate.
        metrics: what to measure.
        baselines: what to compare with; one whose program is absent gets a row that says so.
        seed: of the bootstrap intervals.
        progress: show a bar on standard error, if that is a terminal.

    Raises:
        ValueError: no items, an item of a wrong shape, a codec of several channels, or two systems
            of one name.
    """
    if not items:
        raise ValueError("there are no items to evaluate the codec on")
    if codec.channels != 1:
        raise ValueError(f"{codec.name} has {codec.channels} channels; evaluation is for mono")
    names = [ORIGINAL, codec.name, *(baseline.name for baseline in baselines)]
    if len(set(names)) < len(names):
        raise ValueError(f"two systems have the same name: {', '.join(names)}")
    steps = (len(baselines) + 2) * len(metrics) + len(baselines) + 1
    rows, decoded = [], {ORIGINAL: [item.wave for item in items]}
    with tqdm(total=steps, unit="step", disable=None if progress else True) as bar:
        measure = _Measurement(items, codec.sample_rate, metrics, seed, bar)
        rows.append(measure.row(ORIGINAL, decoded[ORIGINAL], PCM_BITS * measure.samples))
        bar.set_description(f"{codec.name}: coding")
        coded = [_code(codec, item.wave) for item in items]
        bar.update()
        tokens = [one for one, _ in coded]
        decoded[codec.name] = [wave for _, wave in coded]
        bits = codec.bits_per_position * sum(int(one.mask.sum()) for one in tokens)
        row = measure.row(codec.name, decoded[codec.name], bits)
        rows.append(row._replace(is_ours=True))
        for baseline in baselines:
            bar.set_description(f"{baseline.name}: coding")
            if reason := baseline.absence():
                rows.append(Row(baseline.name, None, {}, 0, reason))
                bar.update(1 + len(metrics))
                continue
            trips = [baseline.roundtrip(item.wave, codec.sample_rate) for item in items]
            bar.update()
            decoded[baseline.name] = [trip.decoded for trip in trips]
            bits = sum(trip.bits for trip in trips)
            rows.append(measure.row(baseline.name, decoded[baseline.name], bits))
    return Comparison(rows, decoded, tokens)


class _Measurement:
    """All metrics on what one system made of the items."""

    def __init__(
        self, items: Sequence[Item], rate: int, metrics: Sequence[Metric], seed: int, bar: tqdm
    ) -> None:
        self.items, self.rate, self.metrics = items, rate, metrics
        self.seed, self.bar = seed, bar
        self.samples = sum(len(item.wave) for item in items)

    def row(self, system: str, waves: Sequence[Tensor], bits: float) -> Row:
        pairs = [
            Pair(item.wave, wave, self.rate, item.text)
            for item, wave in zip(self.items, waves, strict=True)
        ]
        scores: Scores = {}
        for metric in self.metrics:
            if system != ORIGINAL or not metric.intrusive:
                self.bar.set_description(f"{system}: {metric.label}")
                scores |= evaluate(pairs, [metric], self.seed)
            self.bar.update()
        return Row(system, bits * self.rate / self.samples, scores, len(pairs))


def _code(codec: AudioCodec, wave: Tensor) -> tuple[Tokens, Tensor]:
    device = next((weight.device for weight in codec.parameters()), torch.device("cpu"))
    tokens = codec.encode(wave.float().to(device)[None, None])
    decoded = codec.decode(tokens)[0, 0].float().cpu()
    lengths = None if tokens.lengths is None else tokens.lengths.cpu()
    return Tokens(tokens.ids.cpu(), tokens.mask.cpu(), tokens.vocab, lengths), decoded
