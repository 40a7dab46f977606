"""Adversary: a discriminator, its losses and their weights."""

import torch
from torch import Tensor

from intaglio.codecs.discriminators.base import Discriminator
from intaglio.codecs.losses.base import AdversarialLoss
from intaglio.codecs.losses.lecam import LeCam
from intaglio.codecs.losses.matching import FeatureMatchingLoss
from intaglio.codecs.part import Part


class Adversary(Part):
    """One discriminator, its loss, and the weights of its two terms in the generator's objective.

    The weights are for whoever adds up the objective; the methods give raw losses. The generator's
    pass does not freeze the discriminator: toggling ``requires_grad`` is the caller's part.

    Args:
        discriminator: scores real and decoded signals.
        loss: adversarial loss of its scores.
        matching: feature matching; none if None.
        weight: weight of the adversarial term of the generator.
        matching_weight: weight of the matching term of the generator.
        adaptive: multiply the weight by the ratio of two gradients at the decoder's last layer,
            that of the other losses over that of the adversarial term (VQGAN).
        lecam: keeps the scores near running means of the other side's; none if None.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        loss: AdversarialLoss,
        *,
        matching: FeatureMatchingLoss | None = None,
        weight: float = 1.0,
        matching_weight: float = 1.0,
        adaptive: bool = False,
        lecam: LeCam | None = None,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.loss = loss
        self.matching = matching
        self.weight = weight
        self.matching_weight = matching_weight
        self.adaptive = adaptive
        self.lecam = lecam

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scalar loss that trains the discriminator; neither signal gets a gradient.

        Args:
            real: signals, in the layout that the discriminator takes.
            fake: decoded signals, in the same layout.
        """
        of_real = self.discriminator(real.detach())
        of_fake = self.discriminator(fake.detach())
        loss = self.loss.discriminator(of_real, of_fake)
        return loss if self.lecam is None else loss + self.lecam(of_real, of_fake)

    def generator_losses(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Raw scalar losses that train the generator; only ``fake`` gets a gradient.

        Args:
            real: signals, in the layout that the discriminator takes.
            fake: decoded signals, in the same layout.

        Returns:
            "adversarial" and, where there is feature matching, "matching".
        """
        of_fake = self.discriminator(fake)
        losses = {"adversarial": self.loss.generator(of_fake)}
        if self.matching is not None:
            with torch.no_grad():
                of_real = self.discriminator(real)
            losses["matching"] = self.matching(of_real, of_fake)
        return losses
