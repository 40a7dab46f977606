"""Columns of a table of image codecs: bytes, bits per pixel, tokens, and the shuffled control."""

from collections.abc import Sequence

from intaglio.codecs import Tokens
from intaglio.recipes.evaluation.rows import SystemResult
from intaglio.recipes.evaluation.tables import NOTHING
from intaglio.recipes.evaluation.usage import reached, usage_of


def image_columns(results: Sequence[SystemResult]) -> dict[str, list[str]]:
    """A text for each result by heading."""
    columns: dict[str, list[str]] = {
        "bytes\nan image": [],
        "bits\na pixel": [],
        "tokens\nan image": [],
        "codes\nused": [],
        "PSNR\nshuffled": [],
    }
    for row, output in results:
        cells = [NOTHING] * len(columns)
        if row.bits is not None:
            cells[:2] = [f"{row.bits / 8:,.0f}", f"{row.facts['bits_per_pixel']:.3f}"]
        if output and output.tokens:
            cells[2:4] = [_shape(output.tokens[0]), f"{reached(usage_of(output.tokens)):.0%}"]
        if "shuffled_psnr" in row.facts:
            cells[4] = f"{row.facts['shuffled_psnr']:.2f}"
        for column, text in zip(columns.values(), cells, strict=True):
            column.append(text)
    return columns


def _shape(tokens: Tokens) -> str:
    """Positions, and groups of each if there are several."""
    positions, groups = int(tokens.mask[0].sum()), tokens.ids.shape[2]
    return f"{positions}×{groups}" if groups > 1 else str(positions)
