"""xAR (Ren et al., 2025): cells of continuous tokens one after the other, each by a flow.

The published blocks and sizes. Deviation: the release's two stacks of blocks are one here, without
the normalisation, linear map and second position embedding between them.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from intaglio.codecs.layers.solver import Solver
from intaglio.codecs.layers.transformer import Modulation, Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.field import FieldHead
from intaglio.generators.orders.cells import CellOrder, Entity

Size = Literal["B", "L", "H", "small"]
# blocks of both stacks, dim, heads, steps per cell
SIZES = {
    "B": (16, 768, 12, 40),
    "L": (32, 1024, 16, 50),
    "H": (40, 1280, 16, 50),
    "small": (6, 192, 4, 25),
}


def xar(
    size: Size = "B",
    *,
    shape: Sequence[int] = (16, 16),
    channels: int = 16,
    entity: Entity = "cell",
    cell: int = 8,
    solver: Solver = "sde",
    condition: Condition | None = None,
    num_classes: int = 1000,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: of 172, 607 and 1,184 million parameters; ``small`` for a CPU.
        shape: rows and columns of tokens.
        channels: of a token.
        entity: what is drawn in one go: cells as published, or see
            `intaglio.generators.orders.cells.partition`.
        cell: size of the entity, see there; divides the shape.
        solver: of the flow.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.

    Raises:
        ValueError: an unknown size, or cells that do not divide the shape.
    """
    if size not in SIZES:
        raise ValueError(f"xAR's size is one of {', '.join(SIZES)}, not {size!r}")
    depth, dim, heads, steps = SIZES[size]
    backbone = Backbone(
        shape,
        LinearEmbedding(channels, dim),
        condition or ClassCondition(num_classes),
        Transformer(
            dim,
            depth,
            heads,
            gated=True,
            activation="gelu",
            affine=False,
            norm="rms",
            eps=1e-6,
            streams=1,
        ),
        learned_positions=True,
    )
    order = CellOrder(dim, shape, entity=entity, size=cell, solver=solver, steps=steps)
    for module in [backbone.embedding, backbone.transformer]:
        _initialise(module)
    return Generator(backbone, FieldHead(dim, channels), order, name="xar")


def _initialise(part: nn.Module) -> None:
    """Glorot and Bengio's initialisation (2010), except modulations, which stay zero."""
    zero = {m.linear for m in part.modules() if isinstance(m, Modulation)}
    for module in part.modules():
        if isinstance(module, nn.Linear) and module not in zero:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
