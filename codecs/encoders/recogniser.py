"""The first half of a speech recogniser (S3 of CosyVoice 1 and 2; Du et al., 2024).

Log-mels, two convolutions that reduce their rate of 100 Hz, and blocks of a transformer. What comes
next is a quantizer, and then the other half, `intaglio.codecs.decoders.recogniser`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.layers.log_mel import HOP, LogMelSpectrogram
from intaglio.codecs.layers.memory_transformer import MemoryTransformer
from intaglio.codecs.layers.positions import sine_positions


class RecogniserEncoder(AudioEncoder):
    """Waveforms at 16 kHz to latents that tell what is said.

    Args:
        dim: size of a latent vector, and of the tokens of all blocks.
        depth: number of blocks.
        heads: heads of the attention.
        strides: of the two convolutions: (2, 2) gives 25 latents a second, (1, 2) 50.
        num_mels: number of mel filters.
        rotary: rotary positions in every block (version 2); else sines are added before the first
            (version 1).
        memory: taps of the blocks' memories; 0 for none (version 1).
        unit_length: bring latents to length 1 (version 1).
        dropout: see `MemoryTransformer`.
        masks: stretches of time, and as many of mels, that are blanked in training (SpecAugment;
            Park et al., 2019).

    Raises:
        ValueError: other than two strides, or see `MemoryTransformer`.
    """

    def __init__(
        self,
        dim: int = 1280,
        depth: int = 6,
        heads: int = 20,
        *,
        strides: Sequence[int] = (2, 2),
        num_mels: int = 128,
        rotary: bool = True,
        memory: int = 31,
        unit_length: bool = False,
        dropout: float = 0.0,
        masks: int = 0,
    ) -> None:
        super().__init__()
        if len(strides) != 2:
            raise ValueError(f"the encoder has two convolutions, got strides {list(strides)}")
        self.dim = dim
        self.hop_length = HOP * math.prod(strides)
        self.strides, self.rotary, self.unit_length = tuple(strides), rotary, unit_length
        self.masks = masks
        self.log_mels = LogMelSpectrogram(num_mels)
        self.conv1, self.conv2 = (
            Conv1d(size, dim, 3, stride=stride, pad_mode="constant", norm="none")
            for size, stride in zip((num_mels, dim), strides, strict=True)
        )
        self.transformer = MemoryTransformer(
            dim, depth, heads, memory=memory, rotary=rotary, dropout=dropout
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, ceil(samples / hop_length), dim]; see `AudioEncoder`."""
        x = self.log_mels(x, lengths).to(x.dtype)
        if self.training:
            x = blanked(x, self.masks)
        lengths = None if lengths is None else -(-lengths // HOP)
        for conv, stride in zip((self.conv1, self.conv2), self.strides, strict=True):
            x = F.gelu(conv(x, lengths))
            lengths = None if lengths is None else -(-lengths // stride)
        x = x.transpose(1, 2)
        if not self.rotary:
            x = x + sine_positions(x.shape[1], self.dim).to(x)
        x = self.transformer(x, lengths)
        return F.normalize(x, dim=-1) if self.unit_length else x


def blanked(mels: Tensor, count: int) -> Tensor:
    """Log-mels [batch, mels, frames] of which some stretches are 0 (SpecAugment).

    Args:
        mels: of each item other stretches are drawn, by torch's global generator.
        count: stretches of up to a fifth of the mels, and of up to a twentieth of the frames.
    """
    for axis, share in ((1, 0.2), (2, 0.05)) * count:
        size = mels.shape[axis]
        start, width = torch.rand(2, len(mels), 1, device=mels.device) * size
        steps = torch.arange(size, device=mels.device)
        hidden = (steps >= start) & (steps < start + share * width)
        mels = mels.masked_fill(hidden.unsqueeze(3 - axis), 0)
    return mels
