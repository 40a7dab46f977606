"""Figure of drawn pictures under their captions, over real ones, as the bytes of a PNG."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from intaglio.recipes.evaluation.figures.canvas import FAINT, STYLE, WIDTH, png, pyplot

COLUMNS = 8
LETTERS = 18  # in a line of a caption
LINES = 3


class Shown(NamedTuple):
    """A drawn picture with what belongs to it, uint8 [3, height, width] each.

    Attributes:
        caption: its caption or class.
        drawn: the picture.
        real: the held-out item of this caption.
        nearest: the training item that is the most like it.
    """

    caption: str
    drawn: Tensor
    real: Tensor
    nearest: Tensor


def sample_figure(items: Sequence[Shown]) -> bytes:
    """Rows of drawn pictures; below each the held-out item and the nearest training item.

    Raises:
        ValueError: there are none.
    """
    if not items:
        raise ValueError("there are no pictures to show")
    draw = pyplot()
    blocks = -(-len(items) // COLUMNS)
    kinds = ("drawn", "real, held out", "nearest in training")
    with draw.rc_context(STYLE):
        side = WIDTH / COLUMNS
        figure, axes = draw.subplots(
            len(kinds) * blocks,
            COLUMNS,
            figsize=(WIDTH, blocks * (len(kinds) + 0.6) * side),
            layout="constrained",
            squeeze=False,
        )
        for axis in axes.flat:
            axis.set_axis_off()
        for number, item in enumerate(items):
            block, column = divmod(number, COLUMNS)
            for line, (kind, picture) in enumerate(zip(kinds, item[1:], strict=True)):
                axis = axes[len(kinds) * block + line, column]
                axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
                if column == 0:
                    axis.text(
                        -0.08, 0.5, kind, rotation=90, transform=axis.transAxes,
                        ha="right", va="center", fontsize=7, color=FAINT,
                    )  # fmt: skip
            lines = textwrap.wrap(item.caption, LETTERS, max_lines=LINES, placeholder="…")
            axes[len(kinds) * block, column].set_title(
                "\n".join(lines), fontsize=7, fontweight="normal", loc="center"
            )
        return png(figure)
