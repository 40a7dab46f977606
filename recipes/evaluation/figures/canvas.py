"""What all figures share: style, size, and the way from matplotlib to the bytes of a PNG.

Drawn for a page 900 pixels wide, at twice that resolution, in the colours of Okabe and Ito and in
cividis, which can be distinguished with any colour vision. Needs matplotlib (extra ``demo``).
"""

import io
from typing import Any

from intaglio.recipes.evaluation.scores import missing_packages

DPI = 200
WIDTH = 9.0  # inches
INK = "#222222"
FAINT = "#555555"
GRID = "#DDDDDD"
OURS = "#D55E00"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


def check_installed(*wanted: str | None) -> None:
    """Ask for what figures need before any work, if any of the files is wanted.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    if any(wanted):
        pyplot()


def pyplot() -> Any:
    """matplotlib's ``pyplot``, set to draw into memory.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    if missing_packages(("matplotlib",)):
        raise ModuleNotFoundError("figures need matplotlib: pip install 'intaglio[demo]'")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    return matplotlib.pyplot


def png(figure: Any, dpi: int = DPI) -> bytes:
    """PNG of a figure, which is closed."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    pyplot().close(figure)
    return file.getvalue()
