"""Distance of linear spectrograms at several resolutions.

After Parallel WaveGAN (Yamamoto, Song and Kim, 2020), with its three resolutions as the default.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional as F

from intaglio.codecs.layers.stft import STFT
from intaglio.codecs.losses.base import ReconstructionLoss

ENERGY_FLOOR = 1e-7  # keeps the square root and the logarithm differentiable in silence


class MultiScaleSTFTLoss(ReconstructionLoss):
    """Spectral convergence plus log-magnitude distance, averaged over resolutions.

    Spectral convergence is the norm of the difference over the norm of the target, both over the
    whole batch, so that an item of silence cannot make it explode.

    Args:
        n_ffts: samples per transform of each resolution.
        hop_lengths: samples from one frame to the next.
        window_lengths: samples under the Hann window.
        convergence_weight: weight of the spectral convergence.
        log_weight: weight of the mean absolute difference of the natural logarithms.

    Raises:
        ValueError: the three lists differ in length, or sizes do not fit together.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (1024, 2048, 512),
        hop_lengths: Sequence[int] = (120, 240, 50),
        *,
        window_lengths: Sequence[int] = (600, 1200, 240),
        convergence_weight: float = 1.0,
        log_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < len(n_ffts) == len(hop_lengths) == len(window_lengths):
            raise ValueError(
                "n_ffts, hop_lengths and window_lengths must be of one length, got "
                f"{len(n_ffts)}, {len(hop_lengths)} and {len(window_lengths)}"
            )
        self.scales = nn.ModuleList(
            STFT(n_fft, hop, window_length=length)
            for n_fft, hop, length in zip(n_ffts, hop_lengths, window_lengths, strict=True)
        )
        self.convergence_weight = convergence_weight
        self.log_weight = log_weight

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance, float32, of waveforms [batch, channels, samples].

        Raises:
            ValueError: the waveforms have half the longest transform or fewer samples.
        """
        total = output.new_zeros((), dtype=torch.float32)
        for stft in self.scales:
            ours, theirs = _magnitudes(stft(output)), _magnitudes(stft(target.detach()))
            convergence = vector_norm(theirs - ours) / vector_norm(theirs)
            total = total + self.convergence_weight * convergence
            total = total + self.log_weight * F.l1_loss(ours.log(), theirs.log())
        return total / len(self.scales)


def _magnitudes(spectra: Tensor) -> Tensor:
    return torch.view_as_real(spectra).square().sum(-1).clamp(min=ENERGY_FLOOR).sqrt()
