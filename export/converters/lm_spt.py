"""LM-SPT's released weights, a file of safetensors, under their authors' names."""

from collections.abc import Mapping

from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.lm_spt import lm_spt
from intaglio.export.converters.dac import decoder_rules, encoder_rules
from intaglio.export.converters.names import filled, plain, renamed

STAGES = 5
# Of the training alone: the light decoder, and counts of codes.
LEFT_OUT = ("aux_decoder.", "quantizer.semantic_vocab_usage", "quantizer.acoustic_vocab_usage")


def convert(state: Mapping[str, Tensor]) -> AudioCodec:
    """The codec with released weights, at 12.5 positions a second.

    Args:
        state: tensors by name. The decoder that resynthesises speech in training is left out.

    Raises:
        ValueError: these are not the weights of that model.
    """
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(LEFT_OUT)}
    return filled(lm_spt(), renamed(plain(kept), _rules()))


def _rules() -> list[tuple[str, str]]:
    rules = decoder_rules(STAGES)
    for half in ("semantic", "acoustic"):
        rules += encoder_rules(f"{half}_encoder", f"encoder.{half}", STAGES)
    halves = {
        r"quantizer\.rvq_first\.quantizers\.0\.": "quantizer.semantic.",
        r"quantizer\.rvq_rest\.quantizers\.(\d+)\.": r"quantizer.acoustic.levels.\1.",
    }
    layers = {
        r"in_proj\.": "project_in.",
        r"out_proj\.": "project_out.",
        r"codebook\.weight": "codebook",
    }
    return rules + [
        (start + layer, own + name)
        for start, own in halves.items()
        for layer, name in layers.items()
    ]
