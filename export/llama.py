"""A generator as a plain Llama: a folder that transformers, vLLM and SGLang load as their own.

The first ids are the classes, then comes the one for no class, then the tokens: `Layout` has the
offsets, and ``export.json`` holds them. Weights keep their values. Rows of queries and keys are
reordered, because a Llama rotates channel i of a head together with channel i + size / 2, ours with
its neighbour. Classes are never drawn: their logits are 0, since ours has none for them, and
``generation_config.json`` suppresses them; a server that does not read it has to be given the
allowed ids.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from intaglio.codecs.bundle import fingerprint
from intaglio.codecs.layers.positions import ROPE_THETA
from intaglio.codecs.layers.transformer import Block, SwiGLU
from intaglio.data.formats.atomic import replacing_set
from intaglio.data.formats.named import named
from intaglio.export.card import CARD, LLAMA, check_free, earlier, listed, write
from intaglio.export.llama_reader import verify
from intaglio.export.llama_requirements import requirements
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead


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


def export(
    generator: Generator,
    folder: str | Path,
    progress: Callable[[str], None] = lambda step: None,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a ``LlamaForCausalLM`` and ``export.json``, which explains its ids.

    Args:
        generator: on the CPU; it is put in evaluation mode.
        folder: where the files go; made if absent. They appear in one step, and replace those of
            an earlier export.
        progress: called with each step, in words, before it is done; some take a minute.
        overwrite: also replace an export of something else, a bundle and another model.

    Returns:
        A record of the files with their sizes, and of what the verification compared.

    Raises:
        ValueError: a generator that no Llama expresses, files that compute other logits, or a
            folder with a bundle, another model or an export of something else; no file is written
            or replaced then.
    """
    layout = check(generator)
    generator.eval()
    folder = named(folder, "folder for the export")
    old = listed(earlier(folder).get("exports", []))
    if not overwrite:
        check_free(folder, LLAMA, "a bundle or another model", fingerprint(generator))
    progress("llama: writing")
    with replacing_set(folder, drop=old) as new:
        content = save_safetensors(weights(generator), metadata={"format": "pt"})
        model, about, drawing = (new / name for name in LLAMA)
        model.write_bytes(content)
        write(about, config(generator, layout))
        write(drawing, _drawing(generator, layout))
        progress("llama: comparing it with the generator")
        result = verify(generator, new, layout.first)
        sizes = {path.name: path.stat().st_size for path in sorted(new.iterdir())}
        record = {"format": "llama", "files": sizes, "verified": result._asdict()}
        write(new / CARD, _card(generator, layout, record))
    return record


def check(generator: Generator) -> Layout:
    """The layout of a generator that a Llama expresses.

    Raises:
        ValueError: no Llama expresses it; says why, and what to do.
    """
    for requirement in requirements(generator):
        if not requirement.holds:
            raise ValueError(
                f"{generator.name} has {requirement.found}, which no Llama has; "
                f"{requirement.remedy}"
            )
    condition, head = generator.condition, generator.head
    assert isinstance(condition, ClassCondition) and isinstance(head, CategoricalHead)
    classes = condition.num_classes
    return Layout(classes, classes, classes + 1, head.vocab[0])


def weights(generator: Generator) -> dict[str, Tensor]:
    """The weights by their names in a ``LlamaForCausalLM``, of a generator that passes `check`."""
    backbone, condition, head = generator.backbone, generator.condition, generator.head
    assert isinstance(backbone.embedding, IdEmbedding) and isinstance(condition, ClassCondition)
    assert isinstance(head, CategoricalHead) and isinstance(backbone.norm, nn.RMSNorm)
    table, rows = condition.table.weight, head.linear.weight
    found: dict[str, Tensor] = {
        "model.embed_tokens.weight": torch.cat([table, *backbone.embedding.tables.parameters()]),
        "model.norm.weight": backbone.norm.weight,
        "lm_head.weight": torch.cat([torch.zeros_like(table), rows]),
    }
    for number, block in enumerate(backbone.transformer.blocks):
        assert isinstance(block, Block)
        for name, weight in _of_block(block).items():
            found[f"model.layers.{number}.{name}.weight"] = weight
    # a parameter that is added later must not be left out silently
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
    """Rows of heads in rotated pairs (0, 1), (2, 3), … → all first members, then all second."""
    return weight.unflatten(0, (-1, size // 2, 2)).transpose(1, 2).flatten(0, 2)


def config(generator: Generator, layout: Layout) -> dict[str, Any]:
    """Content of ``config.json``."""
    norm, transformer = generator.backbone.norm, generator.backbone.transformer
    block = transformer.blocks[0]
    assert isinstance(block, Block) and isinstance(block.network, SwiGLU)
    assert isinstance(norm, nn.RMSNorm)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": str(block.attention.out.weight.dtype).removeprefix("torch."),
        "vocab_size": layout.total,
        "hidden_size": transformer.dim,
        "intermediate_size": block.network.gate.out_features,
        "num_hidden_layers": transformer.depth,
        "num_attention_heads": block.attention.heads,
        "num_key_value_heads": block.attention.kv_heads,
        "head_dim": transformer.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": 1 + generator.positions,
        "rms_norm_eps": norm.eps,
        "rope_theta": ROPE_THETA,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _drawing(generator: Generator, layout: Layout) -> dict[str, Any]:
    """Content of ``generation_config.json``: complete items, drawn without warping."""
    return {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": generator.positions,
        "suppress_tokens": list(range(layout.first)),
    }


def _card(generator: Generator, layout: Layout, record: dict[str, Any]) -> dict[str, Any]:
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
        "verified": record["verified"],
        "exports": [record],
    }
