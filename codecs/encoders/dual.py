"""Two encoders side by side (LM-SPT; Jo et al., 2026): one for what is said, one for the rest."""

import torch
from torch import Tensor

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.streaming.streams import SideBySide, Stream


class DualEncoder(AudioEncoder):
    """Latents of two encoders of the same waveform, one behind the other in each position.

    A `DualQuantizer` takes them apart again.

    Args:
        semantic: gives the first channels of a latent.
        acoustic: gives the others.

    Raises:
        ValueError: the encoders have different hop lengths, or latents in different multiples.
    """

    def __init__(self, semantic: AudioEncoder, acoustic: AudioEncoder) -> None:
        super().__init__()
        rates = [(half.hop_length, half.multiple) for half in (semantic, acoustic)]
        if rates[0] != rates[1]:
            raise ValueError(
                "two encoders side by side need one hop length and one multiple of latents, got "
                f"{rates[0]} and {rates[1]}"
            )
        self.dim = semantic.dim + acoustic.dim
        self.hop_length, self.multiple = rates[0]
        self.causal = semantic.causal and acoustic.causal
        self.first_latents = max(semantic.first_latents, acoustic.first_latents)
        self.semantic, self.acoustic = semantic, acoustic

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, positions, dim]; see `AudioEncoder`."""
        return torch.cat([half(x, lengths) for half in (self.semantic, self.acoustic)], dim=-1)

    def stream(self) -> Stream | None:
        """Both encoders, block by block, if both can be."""
        first, second = self.semantic.stream(), self.acoustic.stream()
        return None if first is None or second is None else SideBySide(first, second)
