"""LeCam regularisation (Tseng et al., 2021): scores stay near the other side's running mean."""

import torch
from torch import Tensor

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.layers.distributed import rank_and_size, summed
from intaglio.codecs.part import Part


class LeCam(Part):
    """``relu(real - mean of fake)² + relu(mean of real - fake)²``, for the discriminator.

    The means are part of the state: a training that goes on has them. All processes have the same.

    Args:
        weight: of the term.
        decay: of the running means of the scores.
    """

    mean_real: Tensor
    mean_fake: Tensor

    def __init__(self, weight: float = 0.001, decay: float = 0.999) -> None:
        super().__init__()
        self.weight = weight
        self.decay = decay
        self.register_buffer("mean_real", torch.zeros(()))
        self.register_buffer("mean_fake", torch.zeros(()))

    def forward(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """The weighted scalar term; in training mode the means are updated first."""
        scores_real = torch.cat([scores.float().flatten() for scores in real.logits])
        scores_fake = torch.cat([scores.float().flatten() for scores in fake.logits])
        if self.training:
            means = torch.stack([scores_real.mean(), scores_fake.mean()]).detach()
            means = summed(means) / rank_and_size()[1]
            if bool(means.isfinite().all()):  # else the step is skipped, and they would be lost
                self.mean_real.lerp_(means[0], 1 - self.decay)
                self.mean_fake.lerp_(means[1], 1 - self.decay)
        above = (scores_real - self.mean_fake).relu().square().mean()
        below = (self.mean_real - scores_fake).relu().square().mean()
        return self.weight * (above + below)
