"""Mimi's released weights, in the spelling of their authors or of transformers."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.mimi import mimi
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.export.converters.names import count, filled, plain, renamed

HEADS = 8
HALVES = {
    "semantic": r"quantizer\.(?:rvq_first|semantic_residual_vector_quantizer)\.(?:vq\.)?",
    "acoustic": r"quantizer\.(?:rvq_rest|acoustic_residual_vector_quantizer)\.(?:vq\.)?",
}
# Names within a block of a transformer: those of the authors and of transformers, and ours.
BLOCK = [
    (r"self_attn\.(?:qkv\.|in_proj_|in_projs\.0\.)", "attention.qkv."),
    (r"self_attn\.(?:o_proj|out_proj|out_projs\.0)\.", "attention.out.0."),
    (r"(?:self_attn_layer_scale|layer_scale_1)\.", "attention.out.1."),
    (r"(?:input_layernorm|norm1)\.", "norm1."),
    (r"(?:mlp\.fc1|linear1)\.", "network.0.0."),
    (r"(?:mlp\.fc2|linear2)\.", "network.0.2."),
    (r"(?:mlp_layer_scale|layer_scale_2)\.", "network.1."),
    (r"(?:post_attention_layernorm|norm2)\.", "norm2."),
]
SUMS = ("embedding_sum", "embed_sum", "embed_avg")  # of vectors, in files of different age
COUNTS = ("cluster_usage", "cluster_size")
SMALLEST = 1e-5  # count of a code


def convert(state: Mapping[str, Tensor]) -> AudioCodec:
    """The codec with released weights.

    Args:
        state: tensors by name, of the release (``tokenizer-….safetensors``) or of transformers'
            ``MimiModel``.

    Raises:
        ValueError: these are not the weights of that model.
    """
    theirs = _one_projection(plain(state))
    books = {name: theirs.pop(name) for name in list(theirs) if "codebook." in name}
    codec = mimi(max(2, 1 + count(books, rf"{HALVES['acoustic']}layers\.(\d+)\.")))
    ours = renamed(theirs, _rules())
    ours |= {name: v for name, v in codec.state_dict().items() if "._codebook." in name}
    codec = filled(codec, ours)
    for half, start in HALVES.items():
        levels = codec.quantizer.get_submodule(f"{half}.levels")
        for number, level in enumerate(levels.children()):
            assert isinstance(level, VectorQuantizer)
            level.codebook.copy_(_codes(books, rf"{start}layers\.{number}\."))
            level.get_buffer("_codebook.initialised").fill_(True)  # a training keeps them
    return codec


def _rules() -> list[tuple[str, str]]:
    """From all spellings to ours; in transformers 5 there is one more level of names."""
    conv = r"(?:(?:conv|convtr)\.)*"
    rules = []
    # of the first stage: number of its residual block, and of what changes the rate
    for part, residual, rate, kind in (("encoder", 1, 3, "downs"), ("decoder", 3, 2, "ups")):
        layers, own = rf"{part}\.(?:{part}_seanet\.)?(?:layers|model)\.", f"{part}.{part}"
        rules.append((rf"{layers}0\.{conv}", f"{own}.stem.conv."))
        rules.append((rf"{layers}14\.{conv}", f"{own}.head.conv."))
        for stage in range(4):
            block = rf"{layers}{residual + 3 * stage}\.block\."
            rules += [
                (rf"{block}1\.{conv}", f"{own}.residuals.{stage}.squeeze.conv."),
                (rf"{block}3\.{conv}", f"{own}.residuals.{stage}.expand.conv."),
                (rf"{layers}{rate + 3 * stage}\.{conv}", f"{own}.{kind}.{stage}.conv."),
            ]
        blocks = rf"(?:{part}\.)?{part}_transformer\.(?:transformer\.)?layers\.(\d+)\."
        rules += [
            (blocks + theirs, rf"{part}.transformer.transformer.blocks.\1.{ours}")
            for theirs, ours in BLOCK
        ]
    rules += [
        (rf"(?:encoder\.)?downsample\.{conv}", "encoder.down.conv."),
        (rf"(?:decoder\.)?upsample\.{conv}", "decoder.up.conv."),
    ]
    rules += [
        (rf"{start}{side}put_proj\.", f"quantizer.project_{side}.{half}.")
        for half, start in HALVES.items()
        for side in ("in", "out")
    ]
    return rules


def _one_projection(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values of transformers in one matrix, as their authors keep them.

    transformers rotates channel i with channel i + half a head, the authors neighbours.
    """
    joined = dict(state)
    for name in [name for name in state if name.endswith("q_proj.weight")]:
        stem = name.removesuffix("q_proj.weight")
        names = [f"{stem}{kind}_proj.weight" for kind in "qkv"]
        if not all(one in joined for one in names):
            continue
        query, key, value = (joined.pop(one) for one in names)
        paired = [
            weight.view(HEADS, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
            for weight in (query, key)
        ]
        joined[f"{stem}qkv.weight"] = torch.cat([*paired, value])
    return joined


def _codes(books: Mapping[str, Tensor], start: str) -> Tensor:
    """Codes of a level, which is kept as the sum and the count of its vectors."""

    def found(names: tuple[str, ...]) -> Tensor:
        pattern = rf"{start}_?codebook\.(?:{'|'.join(names)})$"
        matches = [tensor for name, tensor in books.items() if re.match(pattern, name)]
        if len(matches) != 1:
            raise ValueError(f"these are not the weights of mimi: no {names[0]} of a level")
        return matches[0]

    return found(SUMS) / found(COUNTS).clamp(min=SMALLEST).unsqueeze(1)
