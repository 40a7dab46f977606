"""LlamaGen (Sun et al., 2024): a Llama over the tokens of an image, row by row.

The published blocks, sizes and initialisation. The release multiplies queries and keys of the
condition by zero; here they are not rotated. It conditions on classes, or on the states of a frozen
text encoder, which `EncodedText` gives; `TextCondition` needs no encoder.
"""

import math
from collections.abc import Sequence
from typing import Literal

from torch import nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.depth import DepthHead
from intaglio.generators.orders.raster import RasterOrder

Size = Literal["B", "L", "XL", "XXL", "3B", "small", "tiny"]
# depth, dim, heads
SIZES = {
    "B": (12, 768, 12),
    "L": (24, 1024, 16),
    "XL": (36, 1280, 20),
    "XXL": (48, 1536, 24),
    "3B": (24, 3200, 32),
    "small": (6, 256, 4),
    "tiny": (4, 160, 5),
}
MULTIPLE = 256  # the size of the hidden layer is a multiple of it
DIGIT_CHANNELS = 128  # of the transformer over the digits of a token


def llamagen(
    size: Size = "B",
    *,
    shape: Sequence[int] = (16, 16),
    vocab: Sequence[int] = (16_384,),
    condition: Condition | None = None,
    num_classes: int = 1000,
    dropout: float = 0.1,
    digits: bool = False,
    rotary: Literal["grid", "line"] = "grid",
    name: str = "llamagen",
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: as published, from 111 million to 3.1 billion parameters, or small or tiny.
        shape: rows and columns of tokens, or their number.
        vocab: sizes of the codebooks.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of embedded tokens and of the residual branches.
        digits: whether a token is one id and ``vocab`` the sizes of its digits, which are predicted
            one by one.
        rotary: rotary positions: rows and columns, as published, or a line, as in a Llama.
        name: of the generator.

    Raises:
        ValueError: an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"LlamaGen's size is one of {', '.join(SIZES)}, not {size!r}")
    depth, dim, heads = SIZES[size]
    backbone = Backbone(
        shape,
        IdEmbedding(vocab, dim),
        condition or ClassCondition(num_classes),
        _llama(dim, depth, heads, dropout),
        rotary=rotary,
        drop_tokens=dropout,
    )
    return Generator(
        backbone,
        DepthHead(dim, vocab, hidden_channels=DIGIT_CHANNELS, depth=2, heads=4)
        if digits
        else CategoricalHead(dim, vocab),
        RasterOrder(),
        digits=vocab if digits else (),
        name=name,
    )


def _llama(dim: int, depth: int, heads: int, dropout: float) -> Transformer:
    """The published blocks and initialisation."""
    hidden = MULTIPLE * math.ceil(8 * dim / 3 / MULTIPLE)
    backbone = Transformer(
        dim, depth, heads, hidden=hidden, gated=True, bias=False, norm="rms", dropout=dropout
    )
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
    return backbone
