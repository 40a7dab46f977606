"""MaskGIT (Chang et al., 2022) as the generator of TiTok (Yu et al., 2024): predicts all tokens at
once, keeps the most confident ones and draws the others again.

The published size for TiTok-L and TiTok-B. Deviations: the release has post-norm blocks (BERT),
here they are pre-norm. Its sampling differs in three ways, so that equal logits give other tokens:
the temperature of the tokens is annealed over the steps (here it is constant); the confidence of a
token is its raw logit (here its log-probability); and the guidance scale follows step / steps
(here step / (steps - 1), so that the last step has the full scale).
"""

from collections.abc import Sequence
from typing import Literal

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.masked import MaskedOrder

Size = Literal["L", "small", "tiny"]
# depth, dim, heads
SIZES = {"L": (24, 768, 16), "small": (6, 256, 4), "tiny": (4, 160, 5)}


def maskgit(
    size: Size = "L",
    *,
    shape: Sequence[int] = (32,),
    vocab: Sequence[int] = (4096,),
    condition: Condition | None = None,
    num_classes: int = 1000,
    dropout: float = 0.1,
    steps: int = 8,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: ``L`` as published, of 177 million parameters; ``small`` and ``tiny`` for a CPU.
        shape: number of tokens, or rows and columns of them.
        vocab: sizes of the codebooks.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of embedded tokens and of the residual branches.
        steps: default number of sampling steps.

    Raises:
        ValueError: an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"MaskGIT's size is one of {', '.join(SIZES)}, not {size!r}")
    depth, dim, heads = SIZES[size]
    backbone = Backbone(
        shape,
        IdEmbedding(vocab, dim),
        condition or ClassCondition(num_classes),
        Transformer(dim, depth, heads, eps=1e-12, dropout=dropout),
        rotary=None,
        learned_positions=True,
        drop_tokens=dropout,
    )
    order = MaskedOrder(dim, schedule="arccos", steps=steps)
    return Generator(backbone, CategoricalHead(dim, vocab), order, name="maskgit")
