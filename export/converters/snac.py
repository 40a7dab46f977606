"""SNAC's released weights, in the spelling of their authors."""

from collections.abc import Mapping

from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.snac import SIZES, snac
from intaglio.export.converters.dac import QUANTIZER, STAGES, stage_rules
from intaglio.export.converters.names import filled, plain, renamed

ATTENTION = [("norm", "norm"), ("to_qkv", "project_in"), ("to_out", "project_out")]


def convert(state: Mapping[str, Tensor], sample_rate: int = 24_000) -> AudioCodec:
    """The codec with released weights.

    Args:
        state: tensors by name.
        sample_rate: 24,000, 32,000 or 44,100.

    Raises:
        ValueError: these are not the weights of that model.
    """
    codec = snac(sample_rate)
    local = SIZES[sample_rate][-1] is not None
    before = 3 if local else 2  # layers of their decoder before its first stage
    kept = {k: v for k, v in plain(state).items() if not k.endswith("rel_pos.inv_freq")}
    # their decoder's stages count from 1 here, as the encoder's do
    shifted = [
        (rf"decoder\.model\.{before + stage}\.block\.", f"decoder.stage.{stage + 1}.block.")
        for stage in range(STAGES)
    ]
    noises = [
        (rf"decoder\.stage\.{stage + 1}\.block\.2\.linear", f"decoder.noises.{stage}.linear.conv")
        for stage in range(STAGES)
    ]
    head = STAGES + (2 if local else 1)
    last = before + STAGES
    attention = [
        (rf"{layer}\.{theirs}\.", f"{part}.attention.{ours}.")
        for layer, part in ((r"encoder\.block\.5", "encoder"), (r"decoder\.model\.2", "decoder"))
        for theirs, ours in ATTENTION
        if local
    ]
    rules = [
        *attention,
        *noises,
        *stage_rules(r"encoder\.block", "encoder", change="downs", first_unit=0),
        *stage_rules(r"decoder\.stage", "decoder", change="ups", first_unit=3),
        (r"encoder\.block\.0\.", "encoder.stem.conv."),
        (rf"encoder\.block\.{head}\.", "encoder.head.conv."),
        (r"decoder\.model\.0\.", "decoder.mix.conv."),
        (r"decoder\.model\.1\.", "decoder.stem.conv."),
        (rf"decoder\.model\.{last}\.", "decoder.last_snake."),
        (rf"decoder\.model\.{last + 1}\.", "decoder.head.conv."),
        *QUANTIZER,
    ]
    return filled(codec, renamed(renamed(kept, shifted), rules))
