"""Tiny generators with random weights everywhere, so that nothing is hidden by a zero."""

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embedding import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder


def tiny(order, shape=(2, 2), vocab=3, prefix=1, dtype=torch.float32, **options):
    torch.manual_seed(0)
    backbone = Transformer(16, 2, 2, gated=True, bias=False, norm="rms", qk_norm="rms", kv_heads=1)
    generator = Generator(
        shape,
        IdEmbedding((vocab,), 16),
        ClassCondition(3, 16, prefix=prefix),
        backbone,
        CategoricalHead(16, (vocab,)),
        order,
        **options,
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return generator.to(dtype).eval()


@pytest.fixture
def raster():
    """Build a generator that draws row by row; in evaluation mode."""
    return lambda **options: tiny(RasterOrder(), **options)


@pytest.fixture
def masked():
    """Build a generator that draws masked tokens; ``order`` are arguments of the order."""
    return lambda order=None, **options: tiny(MaskedOrder(16, **order or {}), **options)
