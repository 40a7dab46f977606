"""Multi-scale STFT discriminator (EnCodec; Défossez et al., 2022): complex spectra of five sizes.

Deviation: frames are centred, with reflected borders, as everywhere in this package; the release
leaves the borders out.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput, joined_outputs
from intaglio.codecs.discriminators.stack import ConvStack
from intaglio.codecs.layers.stft import STFT

SLOPE = 0.2  # of the leaky ReLU
DILATIONS = (1, 2, 4)  # over time


class ComplexSTFTDiscriminator(Discriminator):
    """One sub-discriminator a resolution, on real and imaginary parts of all channels together.

    Args:
        n_ffts: samples per transform of each sub-discriminator; the hop is a quarter.
        channels: waveform channels.
        width: channels of all layers.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (2048, 1024, 512, 256, 128),
        *,
        channels: int = 1,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.sub_discriminators = nn.ModuleList(
            _ComplexSubDiscriminator(n_fft, channels, width) for n_fft in n_ffts
        )

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], in [-1, 1].

        Raises:
            ValueError: the waveform is too short for the longest transform.
        """
        return joined_outputs(self.sub_discriminators, [x] * len(self.sub_discriminators))


class _ComplexSubDiscriminator(nn.Module):
    def __init__(self, n_fft: int, channels: int, width: int) -> None:
        super().__init__()
        self.stft = STFT(n_fft, n_fft // 4)
        self.scale = (3 / 8 * n_fft) ** -0.5  # a Hann window holds 3/8 of the energy
        self.stack = ConvStack(
            [
                nn.Conv2d(2 * channels, width, (3, 9), padding=(1, 4)),
                *[
                    nn.Conv2d(width, width, (3, 9), (1, 2), (d, 4), dilation=(d, 1))
                    for d in DILATIONS
                ],
                nn.Conv2d(width, width, (3, 3), padding=(1, 1)),
            ],
            SLOPE,
            plain_first=True,  # as in the release
        )
        self.score = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features and score map, [batch, width, frames, frequencies]."""
        parts = torch.view_as_real(self.stft(x)) * self.scale
        features = self.stack(rearrange(parts, "b c f t two -> b (two c) t f"))
        return features, self.score(features[-1])
