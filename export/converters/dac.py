"""DAC's released weights, in the spelling of their authors or of transformers."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.dac import dac
from intaglio.export.converters.names import filled, plain, renamed

STAGES = 4
UNITS = 3  # residual blocks of a stage


def convert(state: Mapping[str, Tensor], sample_rate: int = 44_100) -> AudioCodec:
    """The codec with released weights.

    Args:
        state: tensors by name, of the release or of transformers' ``DacModel``.
        sample_rate: 44,100, 24,000 or 16,000.

    Raises:
        ValueError: these are not the weights of that model.
    """
    ours = renamed(plain(state), _transformers() + _release() + QUANTIZER)
    return filled(dac(sample_rate), ours)


QUANTIZER = [
    (r"quantizer\.quantizers\.(\d+)\.in_proj\.", r"quantizer.levels.\1.project_in."),
    (r"quantizer\.quantizers\.(\d+)\.out_proj\.", r"quantizer.levels.\1.project_out."),
    (r"quantizer\.quantizers\.(\d+)\.codebook\.weight", r"quantizer.levels.\1.codebook"),
]


def stage_rules(
    theirs: str, ours: str, *, change: str, first_unit: int, stages: int = STAGES
) -> list[tuple[str, str]]:
    """Rules for the stages of an encoder or a decoder as the authors of DAC and SNAC spell them.

    Args:
        theirs: start of their names; the stage's number, counted from 1, follows.
        ours: ``encoder`` or ``decoder``, or where such a one is.
        change: our name of the layer that changes the rate, ``downs`` or ``ups``.
        first_unit: their number of the first residual block.
        stages: how many there are.
    """
    snake, conv = (UNITS, UNITS + 1) if change == "downs" else (0, 1)
    rules: list[tuple[str, str]] = []
    for stage in range(stages):
        start = rf"{theirs}\.{stage + 1}\.block\."
        rules += [
            (rf"{start}{snake}\.alpha", f"{ours}.snakes.{stage}.alpha"),
            (rf"{start}{conv}\.", f"{ours}.{change}.{stage}.conv."),
        ]
        for unit in range(UNITS):
            inner = rf"{start}{first_unit + unit}\.block\."
            rules += _unit(inner, "0123", f"{ours}.blocks.{UNITS * stage + unit}")
    return rules


def _unit(start: str, theirs: Sequence[str], ours: str) -> list[tuple[str, str]]:
    """Rules for the four layers of a residual block, in order."""
    layers = ("snakes.0", "wide.conv", "snakes.1", "narrow.conv")
    pairs = zip(theirs, layers, strict=True)
    return [(rf"{start}{name}\.", f"{ours}.{layer}.") for name, layer in pairs]


def _release() -> list[tuple[str, str]]:
    return [
        *encoder_rules("encoder", "encoder", STAGES),
        *decoder_rules(STAGES),
    ]


def encoder_rules(theirs: str, ours: str, stages: int) -> list[tuple[str, str]]:
    """Rules for a whole encoder as the authors of DAC spell it."""
    block = rf"{theirs}\.block"
    stem, snake, head = (rf"{block}\.{number}" for number in (0, stages + 1, stages + 2))
    return [
        *stage_rules(block, ours, change="downs", first_unit=0, stages=stages),
        *_ends(stem, snake, head, ours),
    ]


def decoder_rules(stages: int) -> list[tuple[str, str]]:
    """Rules for a whole decoder as the authors of DAC spell it."""
    model = r"decoder\.model"
    stem, snake, head = (rf"{model}\.{number}" for number in (0, stages + 1, stages + 2))
    return [
        *stage_rules(model, "decoder", change="ups", first_unit=2, stages=stages),
        *_ends(stem, snake, head, "decoder"),
    ]


def _transformers() -> list[tuple[str, str]]:
    rules: list[tuple[str, str]] = []
    for part, change, theirs in (("encoder", "downs", "conv1"), ("decoder", "ups", "conv_t1")):
        for stage in range(STAGES):
            start = rf"{part}\.block\.{stage}\."
            rules += [
                (rf"{start}snake1\.", f"{part}.snakes.{stage}."),
                (rf"{start}{theirs}\.", f"{part}.{change}.{stage}.conv."),
            ]
            for unit in range(UNITS):
                inner = rf"{start}res_unit{unit + 1}\."
                names = ("snake1", "conv1", "snake2", "conv2")
                rules += _unit(inner, names, f"{part}.blocks.{UNITS * stage + unit}")
        rules += _ends(rf"{part}\.conv1", rf"{part}\.snake1", rf"{part}\.conv2", part)
    return rules


def _ends(stem: str, snake: str, head: str, part: str) -> list[tuple[str, str]]:
    return [
        (rf"{stem}\.", f"{part}.stem.conv."),
        (rf"{snake}\.", f"{part}.last_snake."),
        (rf"{head}\.", f"{part}.head.conv."),
    ]
