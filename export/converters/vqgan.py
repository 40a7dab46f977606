"""VQGAN's weights under the names of taming-transformers, LlamaGen or diffusers' ``VQModel``.

Sizes are read from the tensors. LlamaGen compares directions of codes; the others their distances.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.export.converters.names import count, filled, renamed

CONTAINERS = ("ema", "model", "state_dict")  # of files that hold more than the weights
IGNORED = ("quantize.codebook_used", "loss.")  # of the training
# diffusers' names to LlamaGen's: first what stands where, then what layers are called.
PLACES = [
    (r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.resnets\.", r"\1.conv_blocks.\2.res."),
    (r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.attentions\.", r"\1.conv_blocks.\2.attn."),
    (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.conv_blocks.\1.downsample."),
    (r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.", r"decoder.conv_blocks.\1.upsample."),
    (r"(encoder|decoder)\.mid_block\.resnets\.0\.", r"\1.mid.0."),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.mid.1."),
    (r"(encoder|decoder)\.mid_block\.resnets\.1\.", r"\1.mid.2."),
    (r"(encoder|decoder)\.conv_norm_out\.", r"\1.norm_out."),
]
LAYERS = [
    (r"(.*)\.conv_shortcut\.", r"\1.nin_shortcut."),
    (r"(.*)\.group_norm\.", r"\1.norm."),
    (r"(.*)\.to_([qkv])\.", r"\1.\2."),
    (r"(.*)\.to_out\.0\.", r"\1.proj_out."),
]
# LlamaGen's names of layers, and of the quantizer, to ours.
OURS = [
    (r"(.*)\.nin_shortcut\.", r"\1.shortcut."),
    (r"(.*)\.proj_out\.", r"\1.out."),
    (r"quant_conv\.", "quantizer.project_in."),
    (r"post_quant_conv\.", "quantizer.project_out."),
    (r"quantize\.embedding\.weight", "quantizer._codebook.codes"),
]


def convert(state: Mapping[str, Any], *, groups: int = 32, image_size: int = 256) -> ImageCodec:
    """The codec with released weights.

    Args:
        state: tensors by name, or a file of LlamaGen or taming-transformers that holds them.
        groups: of the normalisations, which no tensor shows.
        image_size: side of the training images, pixels.

    Raises:
        ValueError: these are not the weights of such a model.
    """
    state = next((state[name] for name in CONTAINERS if name in state), state)
    theirs = {name: value for name, value in state.items() if not name.startswith(IGNORED)}
    directions = any(name.startswith("encoder.conv_blocks.") for name in theirs)
    theirs = renamed(renamed(_in_order(theirs), PLACES), LAYERS)
    try:
        codec, ours = _codec(theirs, directions, groups, image_size), _fused(theirs)
    except KeyError as error:
        raise ValueError(f"these are not the weights of a VQGAN: {error} is missing") from error
    for part in ("encoder", "decoder"):
        ours = renamed(ours, _places(theirs, part))
    ours = renamed(ours, OURS)
    kept = {k: v for k, v in codec.state_dict().items() if k.startswith("quantizer._codebook.")}
    return filled(codec, kept | ours)


def _in_order(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of taming-transformers, whose decoder counts levels from the last, as LlamaGen's."""
    last = count(theirs, r"decoder\.up\.(\d+)\.") - 1
    rules = [
        (r"encoder\.down\.(\d+)\.block\.", r"encoder.conv_blocks.\1.res."),
        (r"encoder\.down\.(\d+)\.", r"encoder.conv_blocks.\1."),
        (r"(encoder|decoder)\.mid\.block_1\.", r"\1.mid.0."),
        (r"(encoder|decoder)\.mid\.attn_1\.", r"\1.mid.1."),
        (r"(encoder|decoder)\.mid\.block_2\.", r"\1.mid.2."),
    ]
    for level in range(last + 1):
        new = f"decoder.conv_blocks.{last - level}."
        rules += [
            (rf"decoder\.up\.{level}\.block\.", f"{new}res."),
            (rf"decoder\.up\.{level}\.", new),
        ]
    return renamed(theirs, rules)


def _codec(
    theirs: Mapping[str, Tensor], directions: bool, groups: int, image_size: int
) -> ImageCodec:
    """A codec of the sizes of the tensors, under LlamaGen's names.

    Raises:
        KeyError: a tensor that gives a size is missing.
        ValueError: a level's channels are no multiple of the first ones.
    """
    width = theirs["encoder.conv_in.weight"].shape[0]
    levels = count(theirs, r"encoder\.conv_blocks\.(\d+)\.")
    channels = [
        theirs[f"encoder.conv_blocks.{i}.res.0.conv1.weight"].shape[0] for i in range(levels)
    ]
    if any(size % width for size in channels):
        raise ValueError(f"channels of {channels} are no multiples of {width}")
    multipliers = [size // width for size in channels]
    dim = theirs["encoder.conv_out.weight"].shape[0]
    codes, size = theirs["quantize.embedding.weight"].shape
    return ImageCodec(
        ConvEncoder(
            dim,
            width=width,
            multipliers=multipliers,
            blocks=_blocks(theirs, "encoder"),
            attention=_lowest(theirs, "encoder") is not None,
            middle_attention="encoder.mid.1.q.weight" in theirs,
            groups=groups,
        ),
        VectorQuantizer(
            dim,
            codes,
            codebook_dim=size,
            update="gradient",
            cosine=directions,
            kmeans_iterations=0,
            dead_below=0,
        ),
        ConvDecoder(
            dim,
            width=width,
            multipliers=multipliers,
            blocks=_blocks(theirs, "decoder"),
            attention=_lowest(theirs, "decoder") is not None,
            middle_attention="decoder.mid.1.q.weight" in theirs,
            groups=groups,
        ),
        image_size=image_size,
        name="vqgan",
    )


def _places(theirs: Mapping[str, Tensor], part: str) -> list[tuple[str, str]]:
    """Rules from LlamaGen's names of layers in the encoder or the decoder to ours."""
    blocks, lowest = _blocks(theirs, part), _lowest(theirs, part)
    rules = []
    for level in range(count(theirs, rf"{part}\.conv_blocks\.(\d+)\.")):
        start, new = rf"{part}\.conv_blocks\.{level}\.", f"{part}.levels.{level}."
        step = 2 if level == lowest else 1
        for block in range(blocks):
            rules.append((rf"{start}res\.{block}\.", f"{new}{step * block}."))
            rules.append((rf"{start}attn\.{block}\.", f"{new}{step * block + 1}."))
        rules.append((rf"{start}(?:down|up)sample\.", f"{new}{step * blocks}."))
    if f"{part}.mid.1.q.weight" not in theirs:
        rules.append((rf"{part}\.mid\.2\.", f"{part}.middle.1."))
    return [*rules, (rf"{part}\.mid\.", f"{part}.middle.")]


def _fused(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values of an attention as one layer."""
    fused = dict(theirs)
    for name in theirs:
        found = re.fullmatch(r"(.*)\.q\.(weight|bias)", name)
        if found:
            stem, kind = found.groups()
            fused[f"{stem}.qkv.{kind}"] = torch.cat(
                [fused.pop(f"{stem}.{one}.{kind}") for one in "qkv"]
            )
    return fused


def _blocks(theirs: Mapping[str, Tensor], part: str) -> int:
    """Residual blocks of a level."""
    return count(theirs, rf"{part}\.conv_blocks\.0\.res\.(\d+)\.")


def _lowest(theirs: Mapping[str, Tensor], part: str) -> int | None:
    """Number of the level of the smallest grid, if its blocks alternate with attention."""
    level = count(theirs, rf"{part}\.conv_blocks\.(\d+)\.") - 1 if part == "encoder" else 0
    return level if f"{part}.conv_blocks.{level}.attn.0.q.weight" in theirs else None
