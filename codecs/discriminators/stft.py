"""Discriminators of spectrograms: amplitudes (Vocos) and complex spectra in bands (DAC).

`MultiResolutionDiscriminator` after UnivNet (Jang et al., 2021) with the layers of Vocos (Siuzdak,
2024); deviation: no conditioning on a class. `MultiBandDiscriminator` after DAC (Kumar et al.,
2023).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput, joined_outputs
from intaglio.codecs.discriminators.stack import ConvStack
from intaglio.codecs.layers.stft import STFT

BAND_KERNEL = 9  # bins


class MultiResolutionDiscriminator(Discriminator):
    """One sub-discriminator a resolution, each looking at STFT amplitudes.

    Channels of a signal are scored one by one.

    Args:
        n_ffts: samples per transform of each sub-discriminator; the hop is a quarter.
        channels: width of all layers.
        window: window of the transform; Vocos has "rectangular".
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (1024, 2048, 512),
        *,
        channels: int = 64,
        window: Literal["hann", "rectangular"] = "rectangular",
    ) -> None:
        super().__init__()
        self.sub_discriminators = nn.ModuleList(
            _AmplitudeSubDiscriminator(STFT(n_fft, n_fft // 4, window=window), channels)
            for n_fft in n_ffts
        )

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], in [-1, 1].

        Raises:
            ValueError: the waveform is too short for the longest transform.
        """
        return joined_outputs(self.sub_discriminators, [x] * len(self.sub_discriminators))


class MultiBandDiscriminator(Discriminator):
    """One sub-discriminator a resolution, each looking at bands of the complex spectrum.

    Real and imaginary parts are two channels. Every band has convolutions of its own; one more
    joins them to a single score map. Channels of a signal are scored one by one.

    DAC has the default window and alignment; WavTokenizer's copy has ``window="rectangular"`` and
    ``match_stride=False``.

    Args:
        n_ffts: samples per transform of each sub-discriminator; the hop is a quarter.
        channels: width of all layers.
        edges: borders of the bands, ascending, as fractions of the spectrum.
        window: window of the transform.
        match_stride: frames stand around the middle of a hop; see `STFT`.

    Raises:
        ValueError: a band narrower than the kernel, 9 bins.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (2048, 1024, 512),
        *,
        channels: int = 32,
        edges: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
        window: Literal["hann", "rectangular"] = "hann",
        match_stride: bool = True,
    ) -> None:
        super().__init__()
        self.sub_discriminators = nn.ModuleList(
            _BandSubDiscriminator(
                STFT(n_fft, n_fft // 4, window=window, match_stride=match_stride), channels, edges
            )
            for n_fft in n_ffts
        )

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], in [-1, 1].

        Raises:
            ValueError: the waveform is too short for the longest transform.
        """
        return joined_outputs(self.sub_discriminators, [x] * len(self.sub_discriminators))


class _AmplitudeSubDiscriminator(nn.Module):
    def __init__(self, stft: STFT, channels: int) -> None:
        super().__init__()
        self.stft = stft
        self.stack = ConvStack(
            [
                nn.Conv2d(1, channels, (7, 5), (2, 2), (3, 2)),
                nn.Conv2d(channels, channels, (5, 3), (2, 1), (2, 1)),
                nn.Conv2d(channels, channels, (5, 3), (2, 2), (2, 1)),
                nn.Conv2d(channels, channels, (3, 3), (2, 1), (1, 1)),
                nn.Conv2d(channels, channels, (3, 3), (2, 2), (1, 1)),
            ]
        )
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features and score map, [batch * channels, width, frequencies, frames]."""
        features = self.stack(self.stft(x).abs().flatten(0, 1).unsqueeze(1))
        return features, self.score(features[-1])


class _BandSubDiscriminator(nn.Module):
    def __init__(self, stft: STFT, channels: int, edges: Sequence[float]) -> None:
        super().__init__()
        bins = stft.n_fft // 2 + 1
        self.bands = list(pairwise(int(edge * bins) for edge in edges))
        if not all(
            0 <= low <= high - BAND_KERNEL <= bins - BAND_KERNEL for low, high in self.bands
        ):
            raise ValueError(
                f"edges {list(edges)} cut {bins} bins into {self.bands}; a band needs {BAND_KERNEL}"
            )
        self.stft = stft
        self.stacks = nn.ModuleList(_band_stack(channels) for _ in self.bands)
        self.score = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features band by band, and score map, [batch * channels, width, frames, frequencies]."""
        spectra = self.stft(x).flatten(0, 1).transpose(-1, -2)
        maps = torch.view_as_real(spectra).movedim(-1, 1)
        features = [
            stack(maps[..., low:high])
            for stack, (low, high) in zip(self.stacks, self.bands, strict=True)
        ]
        scores = self.score(torch.cat([band[-1] for band in features], dim=-1))
        return [activation for band in features for activation in band], scores


def _band_stack(channels: int) -> ConvStack:
    return ConvStack(
        [
            nn.Conv2d(2, channels, (3, BAND_KERNEL), (1, 1), (1, BAND_KERNEL // 2)),
            nn.Conv2d(channels, channels, (3, BAND_KERNEL), (1, 2), (1, BAND_KERNEL // 2)),
            nn.Conv2d(channels, channels, (3, BAND_KERNEL), (1, 2), (1, BAND_KERNEL // 2)),
            nn.Conv2d(channels, channels, (3, BAND_KERNEL), (1, 2), (1, BAND_KERNEL // 2)),
            nn.Conv2d(channels, channels, (3, 3), (1, 1), (1, 1)),
        ]
    )
