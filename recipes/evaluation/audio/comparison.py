"""Audio codecs at their bit rates, next to the originals and classic codecs."""

import time
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.tokens import Tokens
from intaglio.data.formats.wave import resample
from intaglio.recipes.evaluation.audio.baselines import Baseline
from intaglio.recipes.evaluation.audio.recordings import duration
from intaglio.recipes.evaluation.comparison import System, evaluate
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.rows import Output, Row, SystemResult
from intaglio.recipes.evaluation.scores import Metric

ORIGINAL = "original"
PCM_BITS = 16
SCALE_BITS = 32  # of each scale next to the ids, as in a token file


class Original(System):
    """The recordings themselves, as 16-bit samples."""

    name = ORIGINAL
    is_original = True

    def code(self, items: Sequence[Item]) -> Output:
        """The waveforms as they are."""
        bits = PCM_BITS * sum(len(item.content) for item in items)
        return Output([item.content for item in items], float(bits / duration(items)))


class OperatingPoint(System):
    """A codec at one of its bit rates.

    Args:
        name: of its row.
        codec: audio codec of any rate and number of channels.
        levels: of its quantizer that are used; all of them if None.
    """

    is_ours = True

    def __init__(self, name: str, codec: AudioCodec, levels: int | None = None) -> None:
        self.name, self.codec, self.levels = name, codec, levels

    def code(self, items: Sequence[Item]) -> Output:
        """Encode and decode each item at the codec's own rate and channels."""
        # The first call of a codec pays for what later ones find ready; it must not be timed.
        rate = self.codec.sample_rate
        self._code(Item("silence", torch.zeros(rate // 4), rate))
        tokens, decoded, seconds = zip(*(self._code(item) for item in items), strict=True)
        bits = float(Fraction(token_bits(tokens)) / duration(items))
        return Output(decoded, bits, tokens, seconds)

    def _code(self, item: Item) -> tuple[Tokens, Tensor, float]:
        """Tokens, waveform of the item's rate and length, and seconds without resampling."""
        codec = self.codec
        device = next((weight.device for weight in codec.parameters()), torch.device("cpu"))
        wave = resample(item.content.float().unsqueeze(0), item.sample_rate, codec.sample_rate)
        wave = wave.to(device).expand(codec.channels, -1).unsqueeze(0)
        start = time.perf_counter()
        tokens = codec.encode(wave, levels=self.levels)
        decoded = codec.decode(tokens)[0].float().cpu()
        seconds = time.perf_counter() - start
        decoded = resample(decoded.mean(0), codec.sample_rate, item.sample_rate)
        return _on_cpu(tokens), decoded[: len(item.content)], seconds


class Comparison(NamedTuple):
    """What `evaluate_codec` gives.

    Attributes:
        rows: original first, the codec second, then the baselines.
        decoded: waveforms [samples] of every item by system; systems that did not run are left out.
        tokens: of every item, by the codec, on the CPU.
    """

    rows: list[Row]
    decoded: dict[str, Sequence[Tensor]]
    tokens: Sequence[Tokens]


def evaluate_codec(
    codec: AudioCodec,
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    baselines: Sequence[Baseline] = (),
    seed: int = 0,
    progress: bool = False,
) -> Comparison:
    """Measure one codec with all its levels, next to the originals and baselines.

    Raises:
        ValueError: there are no items, or two systems of one name.
    """
    systems = audio_systems([OperatingPoint(codec.name, codec)], baselines)
    results = list(evaluate(systems, items, metrics=metrics, seed=seed, progress=progress))
    return comparison_of(results)


def comparison_of(results: Sequence[SystemResult]) -> Comparison:
    """The results of one codec and what it is compared with."""
    ran = {row.system: output for row, output in results if output}
    (ours,) = (output for row, output in results if row.is_ours and output)
    decoded = {system: output.decoded for system, output in ran.items()}
    return Comparison([result.row for result in results], decoded, ours.tokens)


def audio_systems(
    points: Sequence[OperatingPoint], baselines: Sequence[Baseline] = ()
) -> list[System]:
    """The originals, codecs under test and baselines.

    Raises:
        ValueError: two have the same name.
    """
    systems = [Original(), *points, *baselines]
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise ValueError(f"two systems have the same name: {', '.join(names)}")
    return systems


def token_bits(tokens: Sequence[Tokens]) -> float:
    """Bits that the receiver needs: whole positions, and the scales of normalising codecs."""
    scales = sum(0 if one.scale is None else one.scale.numel() for one in tokens)
    ids = sum(one.bits_per_position * int(one.mask.sum()) for one in tokens)
    return ids + SCALE_BITS * scales


def _on_cpu(tokens: Tokens) -> Tokens:
    return tokens._replace(
        ids=tokens.ids.cpu(),
        mask=tokens.mask.cpu(),
        lengths=None if tokens.lengths is None else tokens.lengths.cpu(),
        scale=None if tokens.scale is None else tokens.scale.cpu(),
    )
