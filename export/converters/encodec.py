"""EnCodec's released weights, in the spelling of their authors or of transformers."""

import re
from collections.abc import Mapping

from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.encodec import encodec
from intaglio.export.converters.names import filled, plain, renamed

# The authors' names to those of transformers.
RELEASE = [
    (r"(encoder|decoder)\.model\.(.*?)(?:conv\.conv|convtr\.convtr)\.", r"\1.layers.\2conv."),
    (r"(encoder|decoder)\.model\.(.*?)(?:conv|convtr)\.norm\.", r"\1.layers.\2norm."),
    (r"(encoder|decoder)\.model\.", r"\1.layers."),
    (r"quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
]
BLOCK = (("block.1", "squeeze"), ("block.3", "expand"), ("shortcut", "skip"))
LSTM = {"encoder": 13, "decoder": 1}
STATISTICS = ("inited", "cluster_size", "embed_avg")  # of the training


def convert(state: Mapping[str, Tensor], sample_rate: int = 24_000) -> AudioCodec:
    """The codec with released weights.

    Args:
        state: tensors by name, of the release or of transformers' ``EncodecModel``.
        sample_rate: 24,000 or 48,000.

    Raises:
        ValueError: these are not the weights of that model.
    """
    theirs = renamed(plain(state), RELEASE)
    kept = {k: v for k, v in theirs.items() if not k.endswith(STATISTICS)}
    codes = {k: kept.pop(k) for k in list(kept) if k.startswith("quantizer.")}
    codec = encodec(sample_rate)
    ours = renamed(kept, _rules("encoder", ("residuals", "downs"), 1))
    ours = renamed(ours, _rules("decoder", ("ups", "residuals"), 3))
    ours |= {k: v for k, v in codec.state_dict().items() if k.startswith("quantizer.")}
    codec = filled(codec, ours)
    for number, level in enumerate(codec.quantizer.levels):  # type: ignore[arg-type]
        level.codebook.copy_(codes[f"quantizer.layers.{number}.codebook.embed"])
    return codec


def _rules(part: str, stages: tuple[str, str], first: int) -> list[tuple[str, str]]:
    """Rules for the encoder or the decoder, whose first stage is layer ``first``."""
    rules = [
        (rf"{part}\.layers\.0\.", f"{part}.stem."),
        (rf"{part}\.layers\.15\.", f"{part}.head."),
        (rf"{part}\.layers\.{LSTM[part]}\.", f"{part}.lstm."),
    ]
    for stage in range(4):
        layers = {"residuals": first + 3 * stage, "downs": first + 3 * stage + 2}
        if part == "decoder":
            layers = {"ups": first + 3 * stage, "residuals": first + 3 * stage + 1}
        for kind in stages:
            start = rf"{part}\.layers\.{layers[kind]}\."
            for theirs, ours in BLOCK:
                rules.append((start + re.escape(theirs), f"{part}.{kind}.{stage}.{ours}"))
            rules.append((start, f"{part}.{kind}.{stage}."))
    return rules
