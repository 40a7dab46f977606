"""Multi-period discriminator (HiFi-GAN; Kong, Kim and Bae, 2020): on every p-th sample.

Vocos, DAC and WavTokenizer use the same layers. Deviation: DAC's release pads a signal whose length
is a multiple of the period already by one more period; this one leaves it as it is.
"""

from collections.abc import Sequence
from itertools import pairwise

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput, joined_outputs
from intaglio.codecs.discriminators.stack import ConvStack

KERNEL = 5
STRIDE = 3


class MultiPeriodDiscriminator(Discriminator):
    """One sub-discriminator a period: the signal in rows of one period, convolved along columns.

    Channels of a signal are scored one by one.

    Args:
        periods: samples in a row of each sub-discriminator; primes, so that they overlap least.
        channels: width of each layer; all but the last divide the rows by three.
    """

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        *,
        channels: Sequence[int] = (32, 128, 512, 1024, 1024),
    ) -> None:
        super().__init__()
        self.sub_discriminators = nn.ModuleList(
            _PeriodSubDiscriminator(period, channels) for period in periods
        )

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], in [-1, 1].

        Raises:
            ValueError: the waveform is too short to be reflected up to a multiple of a period.
        """
        return joined_outputs(self.sub_discriminators, [x] * len(self.sub_discriminators))


class _PeriodSubDiscriminator(nn.Module):
    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        widths = list(pairwise((1, *channels)))
        strides = [STRIDE] * (len(widths) - 1) + [1]
        self.stack = ConvStack(
            nn.Conv2d(before, after, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
            for (before, after), stride in zip(widths, strides, strict=True)
        )
        self.score = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))
        self.period = period

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features and score map, [batch * channels, width, rows, period]."""
        samples = x.shape[-1]
        missing = -samples % self.period
        if missing >= samples:
            raise ValueError(
                f"a waveform of {samples} samples is too short for period {self.period}"
            )
        rows = F.pad(x.reshape(-1, 1, samples), (0, missing), mode="reflect")
        features = self.stack(
            rearrange(rows, "n one (row phase) -> n one row phase", phase=self.period)
        )
        return features, self.score(features[-1])
