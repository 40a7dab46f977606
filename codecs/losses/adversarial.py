"""The adversarial losses of codec training: hinge, least squares and non-saturating.

Every sub-discriminator's score map is averaged first, whatever its size. The sub-discriminators are
then averaged (Vocos and WavTokenizer, over their multi-period and multi-resolution sets) or summed
(DAC): ``average`` says which.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.losses.base import AdversarialLoss


class HingeLoss(AdversarialLoss):
    """Hinge loss: ``relu(1 - real) + relu(1 + fake)`` against ``relu(1 - fake)``.

    Args:
        average: average over the sub-discriminators; sum if False.
        bounded: the generator is content with a score of 1 (SoundStream, Vocos); if False, its loss
            is ``-fake`` without a bound (EnCodec).
    """

    def __init__(self, average: bool = True, *, bounded: bool = True) -> None:
        super().__init__()
        self.average = average
        self.bounded = bounded

    def discriminator(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pushes real scores above 1 and fake ones below -1."""
        losses = [
            F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean()
            for r, f in zip(real.logits, fake.logits, strict=True)
        ]
        return _total(losses, self.average)

    def generator(self, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pushes fake scores up."""
        scores = [scores.float() for scores in fake.logits]
        losses = [F.relu(1 - s).mean() if self.bounded else -s.mean() for s in scores]
        return _total(losses, self.average)


class LeastSquaresLoss(AdversarialLoss):
    """Least-squares loss (Mao et al., 2017): ``(1 - real)² + fake²`` against ``(1 - fake)²``.

    Args:
        average: average over the sub-discriminators; sum if False.
    """

    def __init__(self, average: bool = False) -> None:
        super().__init__()
        self.average = average

    def discriminator(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pulls real scores to 1 and fake ones to 0."""
        losses = [
            (1 - r.float()).square().mean() + f.float().square().mean()
            for r, f in zip(real.logits, fake.logits, strict=True)
        ]
        return _total(losses, self.average)

    def generator(self, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pulls fake scores to 1."""
        losses = [(1 - scores.float()).square().mean() for scores in fake.logits]
        return _total(losses, self.average)


class NonSaturatingLoss(AdversarialLoss):
    """The first game's loss (Goodfellow et al., 2014): cross-entropy of the scores as logits.

    ``softplus(-real) + softplus(fake)`` against ``softplus(-fake)``.

    Args:
        average: average over the sub-discriminators; sum if False.
    """

    def __init__(self, average: bool = True) -> None:
        super().__init__()
        self.average = average

    def discriminator(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pushes real scores up and fake ones down."""
        losses = [
            F.softplus(-r.float()).mean() + F.softplus(f.float()).mean()
            for r, f in zip(real.logits, fake.logits, strict=True)
        ]
        return _total(losses, self.average)

    def generator(self, fake: DiscriminatorOutput) -> Tensor:
        """Scalar loss, float32, that pushes fake scores up."""
        losses = [F.softplus(-scores.float()).mean() for scores in fake.logits]
        return _total(losses, self.average)


class MixedLoss(AdversarialLoss):
    """One loss for the discriminator, another for the generator (Open-MAGVIT2, WeTok).

    Args:
        discriminator: gives the discriminator's.
        generator: gives the generator's.
    """

    def __init__(self, discriminator: AdversarialLoss, generator: AdversarialLoss) -> None:
        super().__init__()
        self.of_discriminator = discriminator
        self.of_generator = generator

    def discriminator(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """The first loss's."""
        return self.of_discriminator.discriminator(real, fake)

    def generator(self, fake: DiscriminatorOutput) -> Tensor:
        """The second loss's."""
        return self.of_generator.generator(fake)


def _total(losses: list[Tensor], average: bool) -> Tensor:
    stacked = torch.stack(losses)
    return stacked.mean() if average else stacked.sum()
