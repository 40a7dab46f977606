"""Feature matching: the decoded signal should excite a discriminator as the original does.

After MelGAN (Kumar et al., 2019). The published codecs differ in what they sum:

* DAC: all hidden layers, summed over the sub-discriminators: the defaults.
* Vocos, WavTokenizer: the score map counts as a layer, and the sub-discriminators are averaged:
  ``average`` and ``logits``. Of the multi-period set, the first layer does not count:
  ``first_layer=1``.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.discriminators.base import DiscriminatorOutput
from intaglio.codecs.part import Part


class FeatureMatchingLoss(Part):
    """Mean absolute difference of each layer's features, summed over the layers.

    Args:
        average: average over the sub-discriminators; sum if False.
        logits: the score map counts as one more layer.
        first_layer: layers of each sub-discriminator before this one do not count.
    """

    def __init__(
        self, average: bool = False, *, logits: bool = False, first_layer: int = 0
    ) -> None:
        super().__init__()
        self.average = average
        self.logits = logits
        self.first_layer = first_layer

    def forward(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Scalar distance, float32, of two outputs; only ``fake`` gets a gradient.

        Raises:
            ValueError: no layer of a sub-discriminator counts.
        """
        losses = [
            torch.stack([F.l1_loss(f.float(), r.detach().float()) for f, r in layers]).sum()
            for layers in map(zip, self._counted(fake), self._counted(real))
        ]
        return torch.stack(losses).mean() if self.average else torch.stack(losses).sum()

    def _counted(self, output: DiscriminatorOutput) -> list[list[Tensor]]:
        """The layers of each sub-discriminator that count."""
        counted = []
        for features, scores in zip(output.features, output.logits, strict=True):
            layers = features[self.first_layer :] + ([scores] if self.logits else [])
            if not layers:
                raise ValueError(
                    f"feature matching from layer {self.first_layer} on leaves nothing of a "
                    f"discriminator of {len(features)} layers"
                )
            counted.append(layers)
        return counted
