"""TokenBridge's generator (Wang et al., 2025): MAR over ids, one for each dimension of a latent.

MAR's encoder and decoder take the dequantised values; a small transformer predicts the dimensions
of a token one after the other, in the published order if there are 16. Guidance applies to the
decoder's outputs. Queries and keys of the small transformer are normalised without learned scales.
The release samples the first dimension from an input that it is not trained with; here the input is
that of training.
"""

from collections.abc import Sequence
from typing import Literal

from intaglio.codecs.quantizers.dimensionwise import DimensionwiseQuantizer
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.embeddings.dequantised import DequantisedEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.depth import DepthHead
from intaglio.generators.image.mar import TRUNKS, masked_autoencoder

HEADS = {
    "L": (4, 1024, 8),
    "H": (6, 1024, 8),
    "small": (2, 192, 4),
}  # depth, hidden channels, heads
ORDER = (8, 1, 10, 9, 6, 12, 4, 0, 3, 11, 7, 14, 2, 15, 13, 5)  # of MAR's 16 dimensions
STEPS = 256


def tokenbridge_ar(
    size: Literal["L", "H", "small"] = "L",
    *,
    shape: Sequence[int] = (16, 16),
    vocab: Sequence[int] = (64,) * 16,
    condition: Condition | None = None,
    num_classes: int = 1000,
    dropout: float = 0.1,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: as published, of 486 and 910 million parameters; ``small`` for a CPU.
        shape: rows and columns of tokens, or their number.
        vocab: number of ids of each dimension, the same power of 2 for all.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of the residual branches.

    Raises:
        ValueError: an unknown size, or numbers of ids that differ or are no power of 2.
    """
    if size not in HEADS:
        raise ValueError(f"TokenBridge's size is one of {', '.join(HEADS)}, not {size!r}")
    bits = vocab[0].bit_length() - 1
    if set(vocab) != {2**bits}:
        raise ValueError(f"every dimension has the same power of 2 of ids, got {tuple(vocab)}")
    dim = TRUNKS[size][1]
    depth, hidden_channels, heads = HEADS[size]
    head = DepthHead(
        dim,
        vocab,
        hidden_channels=hidden_channels,
        depth=depth,
        heads=heads,
        order=ORDER if len(vocab) == len(ORDER) else None,
        modulated=True,
        qk_norm=True,
        guide="features",
    )
    return masked_autoencoder(
        size,
        DequantisedEmbedding(DimensionwiseQuantizer(len(vocab), bits), dim),
        head,
        shape=shape,
        condition=condition,
        num_classes=num_classes,
        dropout=dropout,
        steps=STEPS,
        name="tokenbridge_ar",
    )
