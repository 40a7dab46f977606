"""Several discriminators as one, with the input normalisation of DAC (Kumar et al., 2023)."""

from collections.abc import Sequence

from torch import Tensor, nn

from intaglio.codecs.discriminators.base import Discriminator, DiscriminatorOutput

PEAK = 0.8


class CombinedDiscriminator(Discriminator):
    """The sub-discriminators of several discriminators, in order.

    DAC's is a `MultiPeriodDiscriminator` and a `MultiBandDiscriminator`, normalised.

    Args:
        discriminators: the parts; at least one.
        normalize: score each waveform without its mean and with a peak of 0.8, so that neither
            loudness nor an offset gives it away.

    Raises:
        ValueError: there is no discriminator.
    """

    def __init__(self, discriminators: Sequence[Discriminator], *, normalize: bool = False) -> None:
        super().__init__()
        if not discriminators:
            raise ValueError("a combined discriminator needs at least one discriminator, got none")
        self.discriminators = nn.ModuleList(discriminators)
        self.normalize = normalize

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Score signals, in the layout that all of the parts take."""
        if self.normalize:
            x = _normalize(x)
        outputs = [discriminator(x) for discriminator in self.discriminators]
        logits = [scores for output in outputs for scores in output.logits]
        return DiscriminatorOutput(
            logits, [layers for output in outputs for layers in output.features]
        )


def _normalize(x: Tensor) -> Tensor:
    x = x.float()
    x = x - x.mean(dim=-1, keepdim=True)
    return PEAK * x / (x.abs().amax(dim=-1, keepdim=True) + 1e-9)
