"""Weights of Open-MAGVIT2 and WeTok, under their authors' names, with or without noise.

The running means of a training are preferred to its last weights. Sizes are read from the tensors.
Files have no tensors of the quantizer, so its groups are an argument.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.export.converters.names import count, filled, renamed

LAYERS = [(r"(.*)\.nin_shortcut\.", r"\1.shortcut.")]


def convert(
    state: Mapping[str, Any], *, groups: int = 1, norm_groups: int = 32, image_size: int = 256
) -> ImageCodec:
    """The codec with released weights.

    Args:
        state: tensors by name, or a file of a training that holds them as ``state_dict``.
        groups: of the bits of a position: 1 for Open-MAGVIT2, 4 or 8 for WeTok.
        norm_groups: of the normalisations.
        image_size: side of the training images, pixels.

    Raises:
        ValueError: these are not the weights of such a model.
    """
    try:
        theirs = _averaged(state.get("state_dict", state))
        codec, noisy = _codec(theirs, groups, norm_groups, image_size)
    except KeyError as error:
        raise ValueError(f"these are not the weights of MAGVIT2: {error} is missing") from error
    if noisy:  # latents and noise behind one another
        both, dim = theirs.pop("decoder.conv_in.weight"), codec.quantizer.dim
        theirs["decoder.conv_in.weight"] = both[:, :dim]
        theirs["decoder.conv_noise.weight"] = both[:, dim:]
    return filled(codec, renamed(renamed(theirs, _places(theirs)), LAYERS))


def _averaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of encoder and decoder, all of them from the running means if there are any."""
    names = [name for name in state if name.startswith(("encoder.", "decoder."))]
    if not any(name.startswith("model_ema.") for name in state):
        return {name: state[name] for name in names}
    return {name: state[f"model_ema.{name.replace('.', '')}"] for name in names}


def _codec(
    theirs: Mapping[str, Tensor], groups: int, norm_groups: int, image_size: int
) -> tuple[ImageCodec, bool]:
    """A codec of the sizes of the tensors, and whether its decoder takes noise."""
    width = theirs["encoder.conv_in.weight"].shape[0]
    dim = theirs["encoder.conv_out.weight"].shape[0]
    levels = count(theirs, r"encoder\.down\.(\d+)\.")
    sizes = [theirs[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)]
    if dim % groups or any(size % width for size in sizes):
        raise ValueError(f"{dim} bits are not {groups} groups, or {sizes} no multiples of {width}")
    noisy = theirs["decoder.conv_in.weight"].shape[1] == 2 * dim
    multipliers = [size // width for size in sizes]
    blocks = count(theirs, r"encoder\.down\.0\.block\.(\d+)\.")
    codec = ImageCodec(
        ConvEncoder(
            dim,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            style="magvit2",
            groups=norm_groups,
        ),
        BinaryQuantizer(dim, dim // groups, groups),
        ConvDecoder(
            dim,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            style="magvit2",
            groups=norm_groups,
            noise=noisy,
        ),
        image_size=image_size,
        name="magvit2" if groups == 1 else "wetok",
    )
    return codec, noisy


def _places(theirs: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Rules; their decoder counts levels from the largest grid, ours from the smallest."""
    last = count(theirs, r"encoder\.down\.(\d+)\.") - 1
    blocks = count(theirs, r"encoder\.down\.0\.block\.(\d+)\.")
    rules = [(r"(encoder|decoder)\.mid_block\.", r"\1.middle.")]
    for level in range(last + 1):
        down, up = f"encoder.levels.{level}.", f"decoder.levels.{last - level}."
        rules += [
            (rf"encoder\.down\.{level}\.block\.", down),
            (rf"encoder\.down\.{level}\.downsample\.", f"{down}{blocks}.conv."),
            (rf"decoder\.up\.{level}\.block\.", up),
            (rf"decoder\.up\.{level}\.upsample\.conv1\.", f"{up}{blocks}.conv."),
            (rf"decoder\.adaptive\.{level}\.", f"decoder.adaptive.{last - level}."),
        ]
    return rules
