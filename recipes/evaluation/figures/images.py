"""Figures of an evaluation of image codecs, each as the bytes of a PNG."""

import textwrap
from collections.abc import Sequence
from itertools import cycle

import numpy
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from intaglio.data.formats.image import encode_image
from intaglio.recipes.evaluation.figures.canvas import FAINT, OURS, STYLE, WIDTH, png, pyplot
from intaglio.recipes.evaluation.rows import Row

PANELS = ("psnr", "ssim", "lpips-lite")
COLOURS = {"jpeg": "#0072B2", "webp": "#009E73", "avif": "#CC79A7"}
LABELS = {
    "psnr": ("PSNR, dB", "higher is better ↑"),
    "ssim": ("SSIM", "higher is better ↑"),
    "lpips-lite": ("lpips-lite", "lower is better ↓"),
}
MARKERS = "*PXDs^vh"  # of codecs under test, which share a colour
GAP = 2  # pixels between pictures
LABEL_WIDTH, LABEL_LETTERS = 130, 18  # in pixels, and of a line
MIN_SIDE = 64  # smaller pictures are enlarged, pixel by pixel


def rate_curves(rows: Sequence[Row]) -> bytes:
    """PSNR, SSIM and perceptual distance over bits per pixel, as far as they were measured.

    Raises:
        ValueError: none of them was measured.
    """
    panels = [name for name in PANELS if any(row.mean(name) is not None for row in rows)]
    if not panels:
        raise ValueError("a rate curve needs one of the metrics psnr, ssim, lpips-lite")
    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, axes = draw.subplots(
            1, len(panels), figsize=(WIDTH, 3.8), layout="constrained", squeeze=False
        )
        families: dict[str, list[Row]] = {}
        for row in rows:
            if _bits_per_pixel(row):
                family = row.system.partition("@" if row.is_ours else "-")[0]
                families.setdefault(family, []).append(row)
        ours = [family for family, members in families.items() if members[0].is_ours]
        markers = dict(zip(ours, cycle(MARKERS)))
        for axis, name in zip(axes[0], panels, strict=True):
            for family, members in families.items():
                points = [(_bits_per_pixel(row), row.mean(name)) for row in members]
                points = sorted(point for point in points if point[1] is not None)
                first = family == next(iter(markers), None)
                axis.plot(
                    [bits for bits, _ in points],
                    [value for _, value in points],
                    color=OURS if family in markers else COLOURS.get(family, FAINT),
                    marker=markers.get(family, "o"),
                    markersize=14 if first else 8 if family in markers else 5,
                    linewidth=1.5,
                    label=family,
                    zorder=3 if family in markers else 2,
                )
            axis.set_xscale("log", base=2)
            axis.set_xlabel("bits per pixel")
            label, direction = LABELS[name]
            axis.set_title(label)
            axis.set_title(direction, loc="right", fontsize=9, fontweight="normal", color=FAINT)
        axes[0, 0].legend(frameon=False, fontsize=9)
        return png(figure)


def picture_grid(rows: Sequence[Sequence[Tensor]], labels: Sequence[str] = ()) -> bytes:
    """Pictures of one size, uint8 [3, height, width] each, in rows, with a label before each row.

    Raises:
        ValueError: there are none, or rows of different lengths.
    """
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(f"rows of pictures of equal length are needed, got {list(map(len, rows))}")
    factor = -(-MIN_SIDE // min(rows[0][0].shape[1:]))
    lines = []
    for number, row in enumerate(rows):
        large = [one.repeat_interleave(factor, 1).repeat_interleave(factor, 2) for one in row]
        line = [torch.nn.functional.pad(one, (GAP,) * 4, value=255) for one in large]
        if any(labels):
            line.insert(0, _label(labels[number], line[0].shape[1]))
        lines.append(torch.cat(line, 2))
    return encode_image(torch.cat(lines, 1), "PNG")


def _label(text: str, height: int) -> Tensor:
    """Text in lines, set right, as a picture, uint8 [3, height, LABEL_WIDTH]."""
    image = Image.new("L", (LABEL_WIDTH, height), 255)
    lines = "\n".join(textwrap.wrap(text, LABEL_LETTERS))
    at = (LABEL_WIDTH - 6, height // 2)
    ImageDraw.Draw(image).multiline_text(at, lines, 0, anchor="rm", align="right", font_size=12)
    return torch.from_numpy(numpy.array(image)).expand(3, -1, -1)


def _bits_per_pixel(row: Row) -> float:
    return row.facts.get("bits_per_pixel", 0.0)
