"""What the files of a Llama compute, by its published definition (Touvron et al., 2023).

Written apart from our transformer, so that an export is compared with what its readers will do.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from intaglio.generators.conditioning.classes import NO_CLASS
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead

MAX_ERROR = 1e-4  # of a logit, or of the largest one's share where that is above 1
ITEMS = 4


class LogitComparison(NamedTuple):
    """Result of a comparison.

    Attributes:
        logits: how many were compared.
        error: largest difference.
        greedy: share of the positions where both find the same token likeliest.
    """

    logits: int
    error: float
    greedy: float


def verify(generator: Generator, folder: Path, first: int, *, seed: int = 0) -> LogitComparison:
    """Compare logits of random items, of random classes and of none.

    Args:
        generator: the generator itself, on the CPU.
        folder: of the files.
        first: id of token 0.
        seed: of the items.

    Raises:
        ValueError: logits differ by more than 1e-4.
    """
    assert isinstance(generator.head, CategoricalHead)
    random = torch.Generator().manual_seed(seed)
    shape = (ITEMS, generator.positions, 1)
    tokens = torch.randint(0, generator.vocab[0], shape, generator=random)
    labels = torch.randint(NO_CLASS, first - 1, (ITEMS,), generator=random)
    labels[0], labels[-1] = NO_CLASS, first - 2
    with torch.no_grad():
        ours = generator.head.logits(generator.predictions(tokens, labels).hidden)[0]
        ids = torch.cat([labels.unsqueeze(1) % first, tokens[:, :-1, 0] + first], dim=1)
        theirs = run(folder, ids)[..., first:].flatten(0, 1).float()
    error = (ours - theirs).abs().max().item()
    if not error <= MAX_ERROR * max(1.0, ours.abs().max().item()):
        raise ValueError(
            f"the exported Llama's logits differ by {error:.2g} (at most {MAX_ERROR:g} is "
            "allowed): nothing was written"
        )
    same = (ours.argmax(-1) == theirs.argmax(-1)).double().mean().item()
    return LogitComparison(ours.numel(), error, same)


def run(folder: Path, ids: Tensor) -> Tensor:
    """Logits, [batch, tokens, ids], that follow ids, int64 [batch, tokens]."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    state = load_file(folder / "model.safetensors")
    x = state["model.embed_tokens.weight"][ids]
    table = _rotation(ids.shape[1], config)
    for number in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{number}."
        block = {key.removeprefix(prefix): w for key, w in state.items() if key.startswith(prefix)}
        normed = _norm(x, block["input_layernorm.weight"], config)
        x = x + _attention(normed, block, table, config)
        normed = _norm(x, block["post_attention_layernorm.weight"], config)
        gate = F.silu(F.linear(normed, block["mlp.gate_proj.weight"]))
        up = F.linear(normed, block["mlp.up_proj.weight"])
        x = x + F.linear(gate * up, block["mlp.down_proj.weight"])
    return F.linear(_norm(x, state["model.norm.weight"], config), state["lm_head.weight"])


def _norm(x: Tensor, weight: Tensor, config: Mapping[str, Any]) -> Tensor:
    return weight * x * (x.square().mean(-1, keepdim=True) + config["rms_norm_eps"]).rsqrt()


def _rotation(count: int, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    size = config["head_dim"]
    rate = config["rope_theta"] ** -(torch.arange(0, size, 2) / size)
    angles = torch.outer(torch.arange(count), rate).repeat(1, 2)
    return angles.cos(), angles.sin()


def _rotated(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = table
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def _attention(
    x: Tensor,
    block: Mapping[str, Tensor],
    table: tuple[Tensor, Tensor],
    config: Mapping[str, Any],
) -> Tensor:
    size = config["head_dim"]
    q, k, v = (
        F.linear(x, block[f"self_attn.{name}_proj.weight"])
        .unflatten(-1, (-1, size))
        .transpose(1, 2)
        for name in "qkv"
    )
    q, k = _rotated(q, table), _rotated(k, table)
    shared = config["num_attention_heads"] // config["num_key_value_heads"]
    k, v = (y.repeat_interleave(shared, dim=1) for y in (k, v))
    scores = q @ k.transpose(2, 3) * size**-0.5
    later = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
    y = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
    return F.linear(y.transpose(1, 2).flatten(2), block["self_attn.o_proj.weight"])
