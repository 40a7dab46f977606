"""VAR (Tian et al., 2024): ten grids of tokens, from the coarsest to the finest, one grid a step.

The published blocks, sizes and initialisation, with three deviations: keys have a learned bias,
which the release fixes at zero; the head has no bias and is initialised to zero, so that the
initial loss is the log of the codebook size; the gates' initial standard deviation is 1e-5 times
the usual one at any depth.
"""

from typing import Literal

import torch
from torch import nn

from intaglio.codecs.image.var_tokenizer import var_quantizer
from intaglio.codecs.layers.attention import Attention
from intaglio.codecs.layers.transformer import MLP, Modulation, Transformer
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.scales import ScaleEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.scales import ScaleOrder

Size = Literal["d16", "d20", "d24", "d30", "small"]
# depth, dim, heads
SIZES = {
    "d16": (16, 1024, 16),
    "d20": (20, 1280, 20),
    "d24": (24, 1536, 24),
    "d30": (30, 1920, 30),
    "small": (6, 192, 4),
}


def var(
    size: Size = "d16",
    *,
    quantizer: MultiScaleQuantizer | None = None,
    condition: Condition | None = None,
    num_classes: int = 1000,
) -> Generator:
    """Build the generator with fresh weights.

    Args:
        size: as published, from 310 million to 2 billion parameters; ``small``, of 4 million, for a
            CPU.
        quantizer: of the codec, for its sizes; training loads the codec's weights. If None, that of
            ``var_tokenizer``, in its small size for ``small``.
        condition: what the generator is conditioned on; `ClassCondition` if None.
        num_classes: of the default condition.

    Raises:
        ValueError: an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"VAR's size is one of {', '.join(SIZES)}, not {size!r}")
    depth, dim, heads = SIZES[size]
    if quantizer is None:
        quantizer = var_quantizer(size="small" if size == "small" else "base")
    embedding = ScaleEmbedding(quantizer, dim)
    order = ScaleOrder(dim, quantizer.scales, modulated=True)
    backbone = Backbone(
        (quantizer.positions[-1],),
        embedding,
        condition or ClassCondition(num_classes),
        Transformer(
            dim,
            depth,
            heads,
            affine=False,
            eps=1e-6,
            qk_norm="length",
            activation="tanh",
            drop_path=0.1 * depth / 24,
            streams=1,
        ),
        rotary=None,
        learned_positions=True,
    )
    _initialise(backbone.transformer)
    tables = [m.weight for m in backbone.condition.modules() if isinstance(m, nn.Embedding)]
    for table in (order.start, order.levels, *tables, embedding.linear.weight):
        nn.init.normal_(table, std=(1 / dim / 3) ** 0.5)
    if order.last is not None:
        nn.init.normal_(order.last.linear.weight, std=(1 / dim / 3) ** 0.5 / 2)
    return Generator(backbone, CategoricalHead(dim, quantizer.vocab), order, name="var")


@torch.no_grad()
def _initialise(backbone: Transformer) -> None:
    """Normal weights of the published deviation, smaller in residual outputs and modulations."""
    dim, added = backbone.dim, (2 * backbone.depth) ** -0.5
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=(1 / dim / 3) ** 0.5)
            nn.init.zeros_(module.bias)
    for module in backbone.modules():
        if isinstance(module, Attention):
            module.out.weight.mul_(added)
        elif isinstance(module, MLP):
            last = module[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(added)
        elif isinstance(module, Modulation):
            gates, others = module.linear.weight.split([2 * dim, 4 * dim])
            gates.mul_(1e-5)
            others.mul_(0.5)
