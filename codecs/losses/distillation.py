"""Feature distillation: latents from which the features of a frozen network can be read.

A small network maps each latent to the teacher's features at its position, and both should point
the same way (representation alignment; Yu et al., 2025). Codes then carry semantic content as well.
Mimi (Défossez et al., 2024) does so with speech and its first level, through a single linear layer.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.losses.base import LatentLoss
from intaglio.codecs.losses.perceptual import FeatureNetwork


class FeatureDistillation(LatentLoss):
    """One minus the cosine between a prediction from latents and the teacher's features.

    Args:
        teacher: gives the features; its last map counts.
        dim: size of a latent.
        channels: of the teacher's last map; 320 of EfficientNet-Lite0.
        hidden: size of the layer between; None for a single linear one.
        spatial: whether latents form a grid over the image, row by row, or follow the waveform.
            Otherwise their mean predicts the mean of the features.
        semantic: whether only what the semantic levels of the quantizer give is used.
    """

    def __init__(
        self,
        teacher: FeatureNetwork,
        dim: int,
        channels: int,
        *,
        hidden: int | None = 512,
        spatial: bool = True,
        semantic: bool = False,
    ) -> None:
        super().__init__()
        self.teacher, self.spatial, self.semantic = teacher, spatial, semantic
        self.predictor: nn.Module = nn.Linear(dim, channels)
        if hidden is not None:
            self.predictor = nn.Sequential(
                nn.Linear(dim, hidden), nn.SiLU(), nn.Linear(hidden, channels)
            )

    def forward(self, latents: Tensor, target: Tensor) -> Tensor:
        """See `LatentLoss`; ``target`` [batch, 3, height, width] in [-1, 1], or a waveform
        [batch, channels, samples] that the teacher takes.

        Raises:
            ValueError: the latents do not form a grid of the image's proportions.
        """
        features = self.teacher(target.detach())[-1].detach().float()
        predicted = self.predictor(latents).float()
        if not self.spatial:
            predicted, target_features = predicted.mean(1), features.flatten(2).mean(2)
        else:
            if features.dim() == 3:
                features = F.adaptive_avg_pool1d(features, latents.shape[1])
            else:
                features = F.adaptive_avg_pool2d(features, grid_of(latents.shape[1], target))
            target_features = features.flatten(2).transpose(1, 2)
        return 1 - F.cosine_similarity(predicted, target_features, dim=-1).mean()


def grid_of(positions: int, image: Tensor) -> tuple[int, int]:
    """Rows and columns of a number of squares that cover an image, [..., height, width].

    Raises:
        ValueError: no squares do.
    """
    height, width = image.shape[-2:]
    rows = round((positions * height / width) ** 0.5)
    if not rows or positions % rows or rows * width != positions // rows * height:
        raise ValueError(
            f"{positions} latents do not form a grid over {height} x {width} pixels; "
            "use spatial=False"
        )
    return rows, positions // rows
