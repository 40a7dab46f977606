"""The generator over FlexTok's ordered tokens (Bachmann et al., 2025): any first tokens decode.

A token is one of 64,000 ids of a finite scalar quantizer. Its six digits are predicted one after
the other by a small transformer, which replaces a table of 64,000 rows and gives every id a
probability. The first tokens carry most of an image, so fewer of them give a coarser image sooner:
``Sampler(positions=…)``. The authors have not released their generator; this one has LlamaGen's
blocks, with positions on a line.
"""

from collections.abc import Sequence

from intaglio.generators.conditioning.base import Condition
from intaglio.generators.generator import Generator
from intaglio.generators.image.llamagen import Size, llamagen


def flextok_ar(
    size: Size = "XL",
    *,
    positions: int = 256,
    levels: Sequence[int] = (8, 8, 8, 5, 5, 5),
    condition: Condition | None = None,
    num_classes: int = 1000,
    dropout: float = 0.1,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: one of LlamaGen's.
        positions: number of tokens of an image.
        levels: of the codec's finite scalar quantizer.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of embedded tokens and of the residual branches.

    Raises:
        ValueError: an unknown size.
    """
    return llamagen(
        size,
        shape=(positions,),
        vocab=levels,
        condition=condition,
        num_classes=num_classes,
        dropout=dropout,
        digits=True,
        name="flextok_ar",
    )
