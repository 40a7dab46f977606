"""A generator as a plain Llama: a folder that transformers, vLLM and SGLang load as their own.

The first ids are the classes, then comes the one for no class, then the tokens: `Layout` has the
offsets, ``export.json`` tells them. Weights keep their values. Rows of queries and keys change
their places, because a Llama turns channel i of a head with channel i + size / 2, ours with its
neighbour. Classes are never drawn: their logits are 0 and no logits of ours, and
``generation_config.json`` names them as suppressed; a server that does not read it must be told
which ids are allowed.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from intaglio.codecs.bundle import fingerprint
from intaglio.codecs.layers.positions import LADDER
from intaglio.codecs.layers.transformer import Block, SwiGLU
from intaglio.export.llama_reader import LogitComparison, verify
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder


class Layout(NamedTuple):
    """What the ids of the exported model stand for.

    Attributes:
        classes: ids 0 up to this are classes.
        null: id for no class.
        first: id of token 0; token i has this and i.
        tokens: number of tokens.
    """

    classes: int
    null: int
    first: int
    tokens: int

    @property
    def total(self) -> int:
        """All ids."""
        return self.first + self.tokens


def export(generator: Generator, folder: str | Path) -> dict[str, Any]:
    """Write a ``LlamaForCausalLM`` and ``export.json``, which tells what its ids are.

    Args:
        generator: on the CPU; it is put in evaluation mode.
        folder: where the files go; made if absent. Files of the same name are replaced.

    Returns:
        A record of the files with their sizes, and of what the verification compared.

    Raises:
        ValueError: a generator that no Llama expresses, or files that compute other logits; no file
            is written or replaced then.
    """
    layout = check(generator)
    generator.eval()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # beside the files' final place, so that moving them there is a rename
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
        new = Path(name)
        save_file(weights(generator), new / "model.safetensors", metadata={"format": "pt"})
        _write(new / "config.json", config(generator, layout))
        _write(new / "generation_config.json", _drawing(generator, layout))
        result = verify(generator, new, layout.first)
        sizes = {path.name: path.stat().st_size for path in sorted(new.iterdir())}
        record = {"format": "llama", "files": sizes, "verified": result._asdict()}
        _write(new / "export.json", _card(generator, layout, result))
        for path in list(new.iterdir()):
            path.replace(folder / path.name)
    return record


def check(generator: Generator) -> Layout:
    """The layout of a generator that a Llama expresses.

    Raises:
        ValueError: no Llama expresses it; says why, and what to do.
    """
    for fits, what, remedy in (*_parts(generator), *_blocks(generator)):
        if not fits:
            raise ValueError(f"{generator.name} has {what}, which no Llama has; {remedy}")
    condition, head = generator.condition, generator.head
    assert isinstance(condition, ClassCondition) and isinstance(head, CategoricalHead)
    classes = condition.num_classes
    return Layout(classes, classes, classes + 1, head.vocab[0])


def _parts(generator: Generator) -> list[tuple[bool, str, str]]:
    """What must hold of the parts: whether it does, what there is else, and what to do."""
    condition, embedding, head = generator.condition, generator.embedding, generator.head
    kinds = " and ".join(type(part).__name__ for part in (embedding, head))
    return [
        (type(generator.order) is RasterOrder, "another order", "export one of RasterOrder"),
        (
            (type(embedding), type(head)) == (IdEmbedding, CategoricalHead)
            and not generator.digits,
            f"tokens by {kinds}" + " of digits" * bool(generator.digits),
            "export one of IdEmbedding and CategoricalHead",
        ),
        (
            generator.width == 1,
            f"tokens of {generator.width} groups",
            "train it on the tokens of a codec with one codebook",
        ),
        (
            type(condition) is ClassCondition,
            f"a {type(condition).__name__}",
            "export one of classes",
        ),
        (
            condition.prefix == 1,
            f"{condition.prefix} tokens of a condition that share an id",
            "build its condition with prefix=1",
        ),
        (generator.places is None, "learned places", 'build it with learned=False, rotary="line"'),
        (
            generator.rotary == "line",
            f"rotations by the place in the shape {generator.shape}"
            if generator.rotary
            else "no rotations",
            'build it with rotary="line" and train it so',
        ),
    ]


def _blocks(generator: Generator) -> list[tuple[bool, str, str]]:
    """As `_parts`, of the blocks of the backbone."""
    modules = list(generator.backbone.modules())
    blocks = [module for module in modules if isinstance(module, Block)]
    norms = [generator.norm, *(norm for block in blocks for norm in (block.norm1, block.norm2))]
    gates = [block.network for block in blocks if isinstance(block.network, SwiGLU)]
    scaled = all(isinstance(norm, nn.RMSNorm) and norm.elementwise_affine for norm in norms)
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    silu = all(isinstance(gate.activation, nn.SiLU) for gate in gates)
    build = "build its backbone with"
    return [
        (scaled, "other normalisations than RMS norms with scales", f'{build} norm="rms"'),
        (len(gates) == len(blocks) and silu, "networks that are no SwiGLU", f"{build} gated=True"),
        (all(layer.bias is None for layer in linear), "constants", f"{build} bias=False"),
        (
            not any(block.attention.qk_norm for block in blocks),
            "normalised queries and keys",
            f"{build} qk_norm=False",
        ),
        (
            all(block.modulation is None for block in blocks),
            "modulated blocks",
            f"{build} streams=0",
        ),
    ]


def weights(generator: Generator) -> dict[str, Tensor]:
    """The weights by their names in a ``LlamaForCausalLM``; arguments as `check` lets through."""
    embedding, condition, head = generator.embedding, generator.condition, generator.head
    assert isinstance(embedding, IdEmbedding) and isinstance(condition, ClassCondition)
    assert isinstance(head, CategoricalHead) and isinstance(generator.norm, nn.RMSNorm)
    table, rows = condition.table.weight, head.linear.weight
    found: dict[str, Tensor] = {
        "model.embed_tokens.weight": torch.cat([table, *embedding.tables.parameters()]),
        "model.norm.weight": generator.norm.weight,
        "lm_head.weight": torch.cat([torch.zeros_like(table), rows]),
    }
    for number, block in enumerate(generator.backbone.blocks):
        assert isinstance(block, Block)
        for name, weight in _of_block(block).items():
            found[f"model.layers.{number}.{name}.weight"] = weight
    # what is exported is all there is: a part that came in later would be missed otherwise
    count = sum(weight.numel() for weight in found.values()) - table.numel()
    assert count == sum(parameter.numel() for parameter in generator.parameters())
    return {name: weight.detach().contiguous().clone() for name, weight in found.items()}


def _of_block(block: Block) -> dict[str, Tensor]:
    attention, network = block.attention, block.network
    assert isinstance(network, SwiGLU)
    size = attention.size
    sizes = [attention.heads * size, *[attention.kv_heads * size] * 2]
    q, k, v = attention.qkv.weight.split(sizes)
    return {
        "input_layernorm": block.norm1.weight,
        "self_attn.q_proj": _halves(q, size),
        "self_attn.k_proj": _halves(k, size),
        "self_attn.v_proj": v,
        "self_attn.o_proj": attention.out.weight,
        "post_attention_layernorm": block.norm2.weight,
        "mlp.gate_proj": network.gate.weight,
        "mlp.up_proj": network.up.weight,
        "mlp.down_proj": network.down.weight,
    }


def _halves(weight: Tensor, size: int) -> Tensor:
    """Rows of heads of neighbours that turn together → first the firsts, then the seconds."""
    return weight.unflatten(0, (-1, size // 2, 2)).transpose(1, 2).flatten(0, 2)


def config(generator: Generator, layout: Layout) -> dict[str, Any]:
    """Content of ``config.json``."""
    backbone = generator.backbone
    block = backbone.blocks[0]
    assert isinstance(block, Block) and isinstance(block.network, SwiGLU)
    assert isinstance(generator.norm, nn.RMSNorm)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": str(block.attention.out.weight.dtype).removeprefix("torch."),
        "vocab_size": layout.total,
        "hidden_size": backbone.dim,
        "intermediate_size": block.network.gate.out_features,
        "num_hidden_layers": backbone.depth,
        "num_attention_heads": block.attention.heads,
        "num_key_value_heads": block.attention.kv_heads,
        "head_dim": backbone.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": 1 + generator.positions,
        "rms_norm_eps": generator.norm.eps,
        "rope_theta": LADDER,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _drawing(generator: Generator, layout: Layout) -> dict[str, Any]:
    """Content of ``generation_config.json``: whole items of the law itself, no class among them."""
    return {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": generator.positions,
        "suppress_tokens": list(range(layout.first)),
    }


def _card(generator: Generator, layout: Layout, result: LogitComparison) -> dict[str, Any]:
    """What a caller of the model needs to know."""
    origin = generator.provenance
    return {
        "generator": generator.name,
        "fingerprint": fingerprint(generator),
        "codec": None if origin is None else origin.codec,
        "codec_fingerprint": None if origin is None else origin.fingerprint,
        "shape": list(generator.shape),
        "prompt": "the id of a class, or that for none, then tokens that are given",
        "classes": {"first": 0, "count": layout.classes},
        "class_names": [] if origin is None else list(origin.classes),
        "no_class": layout.null,
        "tokens": {"first": layout.first, "count": layout.tokens},
        "guidance": "logits without class + scale * (logits with it - logits without), 1 for none",
        "verified": result._asdict(),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
