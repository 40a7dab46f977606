"""Figures of an evaluation and of the training before it, each as the bytes of a PNG."""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from intaglio.recipes.evaluation.audio.comparison import ORIGINAL
from intaglio.recipes.evaluation.figures.canvas import FAINT, OURS, STYLE, WIDTH, png, pyplot
from intaglio.recipes.evaluation.figures.labels import Labelled, place_labels
from intaglio.recipes.evaluation.rows import Row
from intaglio.recipes.evaluation.usage import Usage

PANELS = (("stoi", "STOI", "higher is better ↑"), ("wer", "WER, %", "lower is better ↓"))
FAMILIES = {"codec2": ("#0072B2", "o"), "opus": ("#009E73", "s")}
OTHER = ("#CC79A7", "D")
MAX_CURVES = 6
LONG_CURVE = 20  # points


def rate_distortion(rows: Sequence[Row]) -> bytes:
    """STOI over bit rate and, if it was measured, word error rate over bit rate, with intervals.

    Raises:
        ValueError: neither was measured.
    """
    panels = [panel for panel in PANELS if any(row.mean(panel[0]) is not None for row in rows)]
    if not panels:
        raise ValueError("a rate-distortion plot needs the metrics stoi or wer")
    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, axes = draw.subplots(
            1, len(panels), figsize=(WIDTH, 3.8), layout="constrained", squeeze=False
        )
        panels_drawn: list[tuple[Any, list[Labelled], list[Any]]] = []
        for axis, (name, label, direction) in zip(axes[0], panels, strict=True):
            coded = [row for row in rows if row.bits and row.system != ORIGINAL]
            coded = [row for row in coded if row.mean(name) is not None]
            for family, (colour, _) in FAMILIES.items():
                line = [row for row in coded if row.system.startswith(family)]
                line.sort(key=lambda row: row.bits or 0.0)
                rates = [row.bits for row in line]
                axis.plot(rates, [row.mean(name) for row in line], color=colour, alpha=0.4)
            points = [_point(axis, row, name) for row in coded]
            levels = [
                _level(axis, level, f"original {level:.1f}", below=True)
                for row in rows
                if row.system == ORIGINAL and (level := row.mean(name)) is not None
            ]
            _rate_axis(axis, [row.bits or 0.0 for row in coded])
            axis.margins(y=0.14)
            axis.autoscale_view(scalex=False)
            axis.set_title(label, pad=8)
            axis.set_title(direction, loc="right", fontsize=9, fontweight="normal", color=FAINT)
            panels_drawn.append((axis, points, levels))
        for axis, points, levels in panels_drawn:
            place_labels(axis, points, levels)
        return png(figure)


def code_usage(groups: Sequence[Usage]) -> bytes:
    """How often each code is used, from the most to the least frequent, for every codebook."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, axis = draw.subplots(figsize=(WIDTH, 3.2), layout="constrained")
        colours = draw.get_cmap("cividis")(torch.linspace(0, 0.9, len(groups)).numpy())
        for number, (group, colour) in enumerate(zip(groups, colours, strict=True), start=1):
            used = int((group.counts > 0).sum())
            shares = group.counts.double().sort(descending=True).values[:used] / group.counts.sum()
            which = f"codebook {number}: " if len(groups) > 1 else ""
            axis.plot(
                torch.arange(1, used + 1).numpy(),
                shares.numpy(),
                color=colour if len(groups) > 1 else OURS,
                linewidth=2,
                label=f"{which}{used} of {len(group.counts)} codes, "
                f"perplexity {group.perplexity:.0f}, {group.entropy:.2f} bits",
            )
        size = max(len(group.counts) for group in groups)
        axis.set_yscale("log")
        _level(axis, 1 / size, "all codes equally often")
        axis.set_xlim(0, size * 1.01)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.2g} %"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("codes, most frequent first")
        axis.set_ylabel("share of all tokens")
        axis.legend(frameon=False, fontsize=9, ncols=2 if len(groups) > 4 else 1, loc="upper right")
        return png(figure)


def loss_curves(log: str | Path, names: Sequence[str] | None = None) -> bytes:
    """Training curves out of the ``metrics.csv`` of Lightning's CSVLogger, one panel each.

    Args:
        log: the file.
        names: columns to draw; the first `MAX_CURVES` with at least two values if None.

    Raises:
        ValueError: the file has no such column, or none to draw.
    """
    curves = read_curves(log)
    if names is None:
        names = [name for name, points in curves.items() if len(points) > 1][:MAX_CURVES]
    if missing := [name for name in names if name not in curves]:
        raise ValueError(f"{log} has no {', '.join(missing)}; it has {', '.join(curves)}")
    if not names:
        raise ValueError(f"{log} holds no curve of two points or more")
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, axes = draw.subplots(
            lines, columns, figsize=(WIDTH, 2.4 * lines), layout="constrained", squeeze=False
        )
        for axis in axes.flat[len(names) :]:
            axis.set_visible(False)
        for axis, name in zip(axes.flat, names, strict=False):
            steps, values = zip(*curves[name], strict=True)
            _curve(axis, steps, values)
            axis.set_title(name, fontsize=10)
            axis.locator_params(axis="both", nbins=5)
        for axis in axes[-1]:
            axis.set_xlabel("step")
        return png(figure)


def read_curves(log: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Finite (step, value) points of every column of a ``metrics.csv`` but the epoch."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with open(log, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name not in ("epoch", "step") and value and math.isfinite(float(value)):
                    curves[name].append((int(row["step"]), float(value)))
    return dict(curves)


def _point(axis: Any, row: Row, name: str) -> Labelled:
    """One system with its interval; gives what its name needs."""
    score = row.scores[name]
    assert score.mean is not None and row.bits is not None
    colour, marker = next((v for k, v in FAMILIES.items() if row.system.startswith(k)), OTHER)
    if row.is_ours:
        colour, marker = OURS, "*"
    low = score.mean if score.low is None else min(score.low, score.mean)
    high = score.mean if score.high is None else max(score.high, score.mean)
    size = 17 if row.is_ours else 8
    axis.errorbar(
        row.bits,
        score.mean,
        yerr=[[score.mean - low], [high - score.mean]] if high > low else None,
        color=colour,
        ecolor=colour,
        elinewidth=1.2,
        capsize=3,
        marker=marker,
        markersize=size,
        markeredgecolor="white",
        zorder=4 if row.is_ours else 3,
    )
    return Labelled(row.system, row.bits, score.mean, low, high, size / 2, colour, row.is_ours)


def _level(axis: Any, level: float, label: str, below: bool = False) -> Any:
    """A dashed line across the whole panel, named at its right end, above or below it."""
    axis.axhline(level, color="#777777", linewidth=1, linestyle="--", zorder=1)
    return axis.annotate(
        label,
        (1, level),
        xytext=(-2, -5 if below else 4),
        va="top" if below else "bottom",
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        ha="right",
        color=FAINT,
        fontsize=9,
    )


def _rate_axis(axis: Any, rates: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_xscale("log", base=2)
    if rates:
        axis.set_xlim(min(rates) / 1.6, max(rates) * 2.2)  # names are next to the points
    low, high = axis.get_xlim()
    axis.set_xticks([250 * 2**power for power in range(12) if low <= 250 * 2**power <= high])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate / 1000:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("kbit/s")


def _curve(axis: Any, steps: Sequence[int], values: Sequence[float]) -> None:
    """A curve; a long one faint, with its running mean over it."""
    if len(values) <= LONG_CURVE:
        axis.plot(steps, values, color=OURS, linewidth=2)
        return
    axis.plot(steps, values, color=OURS, linewidth=1, alpha=0.35)
    axis.plot(steps, _smoothed(values), color=OURS, linewidth=2)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over about a twentieth of the curve, centred."""
    half = max(1, len(values) // 40)
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [math.fsum(window) / len(window) for window in windows]
