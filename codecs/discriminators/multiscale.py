"""Multi-scale discriminator (MelGAN; Kumar et al., 2019): the waveform at falling sample rates.

Layers after DAC (Kumar et al., 2023). EnCodec's training code computes the lower rates and scores
the full one each time; here they are scored.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput, joined_outputs
from intaglio.codecs.discriminators.stack import ConvStack


class MultiScaleDiscriminator(Discriminator):
    """One sub-discriminator a rate. Channels of a signal are scored one by one.

    Args:
        reductions: by which the sample rate is divided; means of as many samples are taken.
        widths: channels of the layers but the last.
    """

    def __init__(
        self,
        reductions: Sequence[int] = (1, 2, 4),
        *,
        widths: Sequence[int] = (16, 64, 256, 1024, 1024, 1024),
    ) -> None:
        super().__init__()
        self.reductions = tuple(reductions)
        self.sub_discriminators = nn.ModuleList(_ScaleSubDiscriminator(widths) for _ in reductions)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score waveforms, [batch, channels, samples], in [-1, 1].

        Raises:
            ValueError: the waveform has fewer samples than the greatest reduction.
        """
        if x.shape[-1] < max(self.reductions):
            raise ValueError(
                f"a waveform of {x.shape[-1]} samples cannot be reduced by {max(self.reductions)}"
            )
        x = x.reshape(-1, 1, x.shape[-1])
        pooled = [F.avg_pool1d(x, reduction) for reduction in self.reductions]
        return joined_outputs(self.sub_discriminators, pooled)


class _ScaleSubDiscriminator(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        first, *inner, last = widths
        convs = [nn.Conv1d(1, first, 15, padding=7)]
        before = first
        for width in inner:
            convs.append(nn.Conv1d(before, width, 41, 4, 20, groups=before // 4))
            before = width
        convs.append(nn.Conv1d(before, last, 5, padding=2))
        self.stack = ConvStack(convs)
        self.score = weight_norm(nn.Conv1d(last, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features and scores, [batch * channels, width, steps]."""
        features = self.stack(x)
        return features, self.score(features[-1])
