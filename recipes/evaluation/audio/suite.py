"""The suite ``audio-tokens``: codecs at several bit rates, with the use that they make of tokens.

The reconstruction part of "Discrete Audio Tokens: More Than a Survey!" (Mousavi et al., TMLR 2025),
as far as its metrics run without fetching models; `intaglio.recipes.evaluation.probing` has its
probing and language-model parts.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

from rich.table import Table

from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.audio.comparison import OperatingPoint, token_bits
from intaglio.recipes.evaluation.audio.operating_points import nominal_rate
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.rows import Row, SystemResult
from intaglio.recipes.evaluation.scores import Metric
from intaglio.recipes.evaluation.tables import NOTHING, notes, records, terminal_table
from intaglio.recipes.evaluation.usage import Usage, entropy_rate, usage_of, usage_record

NAME = "audio-tokens"
METRICS = ("stoi", "estoi", "pesq", "wer", "dnsmos", "mel", "si_sdr")
RATE = 16_000  # Hz; where codecs of different rates compare


class CodecStatistics(NamedTuple):
    """What a codec at one bit rate costs, and what its tokens carry.

    Attributes:
        point: the codec and its levels.
        positions_per_second: of the token sequence, nominal.
        ids_per_position: groups of ids.
        bits_per_second: nominal, of the ids without entropy coding.
        entropy_bits_per_second: of the receiver, if an ideal coder knew the histogram of each
            group; scales included.
        usage: of each group of ids.
        parameters: weights of the whole codec; codebooks that no gradient trains are not counted.
        real_time_factor: seconds of encoding and decoding per second of audio, on this machine, one
            recording at a time; the median over the recordings.
    """

    point: OperatingPoint
    positions_per_second: float
    ids_per_position: int
    bits_per_second: float
    entropy_bits_per_second: float
    usage: list[Usage]
    parameters: int
    real_time_factor: float


class Entry(NamedTuple):
    """A row of the suite: one system on one data set.

    Attributes:
        data: name of the data set.
        row: measures of the system.
        statistics: of a codec under test; None for the originals and the baselines.
    """

    data: str
    row: Row
    statistics: CodecStatistics | None


def statistics_of(
    point: OperatingPoint,
    tokens: Sequence[Tokens],
    seconds: Sequence[float],
    items: Sequence[Item],
) -> CodecStatistics:
    """Statistics of a codec, by the tokens of each item and the time that each took."""
    codec = point.codec
    groups = usage_of(tokens)
    durations = [len(item.content) / item.sample_rate for item in items]
    positions = sum(int(one.mask.sum()) for one in tokens)
    scales = token_bits(tokens) - positions * tokens[0].bits_per_position
    return CodecStatistics(
        point,
        positions_per_second=codec.frame_rate,
        ids_per_position=len(groups),
        bits_per_second=nominal_rate(codec, point.levels or codec.depth),
        entropy_bits_per_second=(entropy_rate(groups, positions) + scales) / math.fsum(durations),
        usage=groups,
        parameters=sum(weight.numel() for weight in codec.parameters()),
        real_time_factor=median(
            one / duration for one, duration in zip(seconds, durations, strict=True)
        ),
    )


def entry(
    data: str, result: SystemResult, points: Sequence[OperatingPoint], items: Sequence[Item]
) -> Entry:
    """Row of a result.

    Args:
        data: name of the data set.
        result: of one system.
        points: codecs under test.
        items: of the data set.
    """
    point = next((point for point in points if point.name == result.row.system), None)
    if point is None or result.output is None:
        return Entry(data, result.row, None)
    return Entry(
        data, result.row, statistics_of(point, result.output.tokens, result.output.seconds, items)
    )


def table(entries: Sequence[Entry], metrics: Sequence[Metric]) -> tuple[Table, list[str]]:
    """Table for a terminal, and lines about what it leaves out and what its times mean."""
    sets = list(dict.fromkeys(entry.data for entry in entries))
    rows = [entry.row for entry in entries]
    shown = [one for one in metrics if any(row.mean(one.name) is not None for row in rows)]
    columns = {"data": _short([entry.data for entry in entries])} if len(sets) > 1 else {}
    columns |= _columns(entries)
    lines = _left_out(rows, [metric for metric in metrics if metric not in shown])
    for name in sets:
        found = notes([entry.row for entry in entries if entry.data == name], shown)
        lines += [f"{name}: {line}" for line in found] if len(sets) > 1 else found
    first = _first(entries, sets[0])
    lines.append(
        f"time: of encoding and decoding, over that of {first.point.name}, which on this machine "
        f"took {first.real_time_factor:.3g} s for a second of {sets[0]}"
    )
    return terminal_table(rows, shown, columns), lines


def entry_records(entries: Sequence[Entry], rate: int | None) -> list[dict[str, Any]]:
    """JSON records of the rows: those of `records`, and ``tokens`` and ``codec`` of codecs.

    Args:
        entries: rows.
        rate: in Hz, at which mel distance and SI-SDR were measured; None: the recordings' own.
    """
    return [
        records([entry.row], entry.data)[0]
        | {"compared_at": rate}
        | (
            {}
            if entry.statistics is None
            else _fields(entry.statistics, _first(entries, entry.data))
        )
        for entry in entries
    ]


def _left_out(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """A line about metrics without any value."""
    reasons = [
        f"{metric.label} ({row.scores[metric.name].reason.removeprefix('absent: ')})"
        for metric in metrics
        for row in [row for row in rows if metric.name in row.scores][:1]
    ]
    return [f"left out: {'; '.join(reasons)}"] if reasons else []


def _first(entries: Sequence[Entry], data: str) -> CodecStatistics:
    """Statistics of the first codec on a data set, whose time is the unit."""
    return next(entry.statistics for entry in entries if entry.data == data and entry.statistics)


def _short(names: Sequence[str]) -> list[str]:
    """Last parts of paths, if they distinguish the paths."""
    ends = [Path(name).name for name in names]
    return ends if len(set(ends)) == len(set(names)) else list(names)


def _columns(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Columns of two lines, to keep the table narrow."""
    columns: dict[str, list[str]] = {
        "by entropy\nids/s": [],
        "codes %\nperplexity": [],
        "10⁶ weights\ntime ratio": [],
    }
    for entry in entries:
        statistics = entry.statistics
        cells = [NOTHING] * len(columns)
        if statistics:
            cells = _cells(statistics, _first(entries, entry.data))
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return columns


def _cells(statistics: CodecStatistics, first: CodecStatistics) -> list[str]:
    entropy, ids = statistics.entropy_bits_per_second, statistics.ids_per_position
    share = 100 * fmean(group.share for group in statistics.usage)
    perplexity = fmean(group.perplexity for group in statistics.usage)
    time = statistics.real_time_factor / first.real_time_factor
    return [
        f"{entropy:,.0f}\n{statistics.positions_per_second:.4g}×{ids}",
        f"{share:.1f}\n{perplexity:,.0f}",
        f"{statistics.parameters / 1e6:.1f}\n{time:.2f}",
    ]


def _fields(statistics: CodecStatistics, first: CodecStatistics) -> dict[str, Any]:
    point, codec = statistics.point, statistics.point.codec
    return {
        "tokens": usage_record(statistics.usage)
        | {
            "positions_per_second": statistics.positions_per_second,
            "ids_per_position": statistics.ids_per_position,
            "entropy_bits_per_second": statistics.entropy_bits_per_second,
            "nominal_bits_per_second": statistics.bits_per_second,
        },
        "codec": {
            "name": codec.name,
            "fingerprint": codec.fingerprint,
            "sample_rate": codec.sample_rate,
            "channels": codec.channels,
            "levels": point.levels or codec.depth,
            "depth": codec.depth,
            "level_groups": list(codec.quantizer.level_groups),
            "parameters": statistics.parameters,
            "real_time_factor_here": statistics.real_time_factor,
            "relative_time": statistics.real_time_factor / first.real_time_factor,
        },
    }
