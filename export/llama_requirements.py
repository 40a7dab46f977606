"""What a generator needs to become a Llama, and what to do where it lacks something."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from intaglio.codecs.layers.transformer import Block, SwiGLU
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder


class Requirement(NamedTuple):
    """A property that a generator needs to become a Llama.

    Attributes:
        holds: whether the generator has it.
        found: what it has instead, for the message.
        remedy: what to do about it.
    """

    holds: bool
    found: str
    remedy: str


def requirements(generator: Generator) -> Iterator[Requirement]:
    """All that a generator needs; the message of the first one that fails tells the user why."""
    yield from _of_parts(generator)
    yield from _of_blocks(generator)


def _of_parts(generator: Generator) -> Iterator[Requirement]:
    """What the parts have to be."""
    condition, embedding, head = generator.condition, generator.backbone.embedding, generator.head
    yield Requirement(
        generator.end is None,
        "items of any length, whose end is an id that is no token",
        "export one without end_of_sequence",
    )
    yield Requirement(
        type(generator.order) is RasterOrder, "another order", "export one of RasterOrder"
    )
    kinds = f"tokens by {type(embedding).__name__} and {type(head).__name__}"
    yield Requirement(
        (type(embedding), type(head)) == (IdEmbedding, CategoricalHead) and not generator.digits,
        f"{kinds} of digits" if generator.digits else kinds,
        "export one of IdEmbedding and CategoricalHead",
    )
    yield Requirement(
        generator.width == 1,
        f"tokens of {generator.width} groups",
        "train it on the tokens of a codec with one codebook",
    )
    yield Requirement(
        type(condition) is ClassCondition,
        f"a {type(condition).__name__}",
        "export a class-conditional one",
    )
    yield Requirement(
        condition.prefix == 1,
        f"{condition.prefix} tokens of a condition that share an id",
        "build its condition with prefix=1",
    )
    yield Requirement(
        generator.backbone.position_embedding is None,
        "a learned position embedding",
        'build it with learned_positions=False, rotary="line"',
    )
    grid = f"rotations by the position in the shape {generator.shape}"
    yield Requirement(
        generator.backbone.rotary == "line",
        grid if generator.backbone.rotary else "no rotations",
        'build it with rotary="line" and train it so',
    )


def _of_blocks(generator: Generator) -> Iterator[Requirement]:
    """What the blocks of the backbone have to be."""
    modules = list(generator.backbone.transformer.modules())
    blocks = [module for module in modules if isinstance(module, Block)]
    norms = [norm for block in blocks for norm in (block.norm1, block.norm2)]
    norms.append(generator.backbone.norm)
    gates = [block.network for block in blocks if isinstance(block.network, SwiGLU)]
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    build = "build its backbone with"
    yield Requirement(
        all(isinstance(norm, nn.RMSNorm) and norm.elementwise_affine for norm in norms),
        "norms other than RMS norms with scales",
        f'{build} norm="rms"',
    )
    silu = all(isinstance(gate.activation, nn.SiLU) for gate in gates)
    yield Requirement(
        len(gates) == len(blocks) and silu, "MLPs other than SwiGLU", f"{build} gated=True"
    )
    yield Requirement(
        all(layer.bias is None for layer in linear),
        "linear layers with bias",
        f"{build} bias=False",
    )
    yield Requirement(
        not any(block.attention.qk_norm for block in blocks),
        "normalised queries and keys",
        f"{build} qk_norm=False",
    )
    yield Requirement(
        all(block.modulation is None for block in blocks),
        "modulated blocks",
        f"{build} streams=0",
    )
