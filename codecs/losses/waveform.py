"""Distance of waveforms, sample by sample."""

from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.losses.base import ReconstructionLoss


class WaveformLoss(ReconstructionLoss):
    """Mean absolute difference of the samples (EnCodec; Défossez et al., 2022)."""

    def __init__(self) -> None:  # a recipe would else remember the arguments of nn.Module's
        super().__init__()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance, float32, of waveforms [batch, channels, samples]."""
        return F.l1_loss(output.float(), target.detach().float())
