"""MAR (Li et al., 2024): continuous tokens by masked autoregression.

An encoder sees the known tokens, a decoder all positions, and a small diffusion network draws each
token given the decoder's output there. Published blocks, sizes, initialisation and head; dropout is
applied to the residual branches only, not also to attention weights and inside MLPs. New models do
better with ``v`` or ``flow``, whose errors do not grow with the noise: the small sizes use a flow.
"""

from collections.abc import Sequence
from math import prod
from typing import Literal

from torch import nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import Embedding, LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.base import Head
from intaglio.generators.heads.diffusion import DiffusionHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.mae_encoder import MAEEncoder
from intaglio.generators.orders.masked import MaskedOrder

Size = Literal["B", "L", "H", "small", "tiny"]

# depth, dim and heads of encoder and decoder each; number of class tokens
TRUNKS = {
    "B": (12, 768, 12, 64),
    "L": (16, 1024, 16, 64),
    "H": (20, 1280, 16, 64),
    "small": (4, 256, 4, 8),
    "tiny": (2, 160, 5, 8),
}
# depth, hidden channels
HEADS = {
    "B": (6, 1024),
    "L": (8, 1280),
    "H": (12, 1536),
    "small": (3, 256),
    "tiny": (3, 160),
}


def mar(
    size: Size = "B",
    *,
    shape: Sequence[int] = (16, 16),
    channels: int = 16,
    condition: Condition | None = None,
    num_classes: int = 1000,
    dropout: float = 0.1,
    prediction: Literal["eps", "v", "flow"] | None = None,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: as published, of 208, 479 and 943 million parameters; ``small``, ``tiny`` for a CPU.
        shape: rows and columns of tokens, or their number.
        channels: of a token.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of the residual branches.
        prediction: of the head; if None, ``eps`` as published, ``flow`` for the small sizes.

    Raises:
        ValueError: an unknown size or prediction.
    """
    if size not in TRUNKS:
        raise ValueError(f"MAR's size is one of {', '.join(TRUNKS)}, not {size!r}")
    dim, (depth, hidden_channels) = TRUNKS[size][1], HEADS[size]
    prediction = prediction or ("flow" if size in ("small", "tiny") else "eps")
    head: Head
    if prediction == "flow":
        head = FlowHead(
            dim,
            channels,
            hidden_channels=hidden_channels,
            depth=depth,
            time="logit-normal",
            steps=25,
        )
    else:
        head = DiffusionHead(
            dim, channels, hidden_channels=hidden_channels, depth=depth, prediction=prediction
        )
    return masked_autoencoder(
        size,
        LinearEmbedding(channels, dim),
        head,
        shape=shape,
        condition=condition,
        num_classes=num_classes,
        dropout=dropout,
        steps=64,
        name="mar",
    )


def masked_autoencoder(
    size: Size,
    embedding: Embedding,
    head: Head,
    *,
    shape: Sequence[int],
    condition: Condition | None,
    num_classes: int,
    dropout: float,
    steps: int,
    name: str,
) -> Generator:
    """MAR's encoder, decoder and order, for any embedding and head.

    Args:
        size: see `mar`, also for ``shape``, ``condition``, ``num_classes`` and ``dropout``.
        embedding: of the tokens.
        head: distribution of a token.
        shape: rows and columns of tokens, or their number.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.
        dropout: rate, of the residual branches.
        steps: default number of sampling steps, at most one per token.
        name: of the generator.
    """
    depth, dim, heads, prefix = TRUNKS[size]
    encoder, decoder = (Transformer(dim, depth, heads, eps=1e-6, dropout=dropout) for _ in range(2))
    condition = condition or ClassCondition(num_classes, prefix=prefix)
    order = MaskedOrder(
        dim,
        schedule="cosine",
        least=0.7,
        standard_deviation=0.25,
        together=True,
        encoder=MAEEncoder(encoder, prod(shape), prefix=condition.prefix),
        reveal="random",
        steps=steps,
    )
    for part in (embedding, order, decoder):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
    backbone = Backbone(shape, embedding, condition, decoder, rotary=None, learned_positions=True)
    return Generator(backbone, head, order, name=name)
