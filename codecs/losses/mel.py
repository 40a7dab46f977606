"""Distances of log-mel spectrograms: the main reconstruction losses of most codecs.

`MelLoss` after Vocos (Siuzdak, 2024), which WavTokenizer uses as well; `MultiScaleMelLoss` after
DAC (Kumar et al., 2023). Deviation: filters so narrow that no bin falls into them are left out of
the mean, for they are zero whatever the signal; a scale thus keeps its full weight. Of the defaults
it touches DAC's scales of 32 and 64 samples at 48 kHz, one filter each; at 44.1 kHz and below there
is none.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.stft import MelSpectrogram
from intaglio.codecs.losses.base import ReconstructionLoss


class MelLoss(ReconstructionLoss):
    """Mean absolute difference of natural logarithms of mel amplitudes (HTK scale, no norm).

    Args:
        sample_rate: samples per second.
        n_fft: samples per transform.
        hop_length: samples from one frame to the next.
        num_mels: number of mel filters.
        f_min: where the first filter begins, in Hz.
        f_max: where the last filter ends, in Hz; half the sample rate if None.
        floor: amplitudes below it count as it.

    Raises:
        ValueError: sizes or frequencies that do not fit together.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        n_fft: int = 1024,
        hop_length: int = 256,
        num_mels: int = 100,
        f_min: float = 0.0,
        f_max: float | None = None,
        floor: float = 1e-7,
    ) -> None:
        super().__init__()
        self.mels = MelSpectrogram(
            sample_rate,
            n_fft,
            hop_length=hop_length,
            num_mels=num_mels,
            f_min=f_min,
            f_max=f_max,
            drop_empty=True,
        )
        self.floor = floor

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance, float32, of waveforms [batch, channels, samples].

        Raises:
            ValueError: the waveforms have n_fft // 2 samples or fewer.
        """
        mels, target_mels = (self.mels(x).clamp(min=self.floor) for x in (output, target.detach()))
        return F.l1_loss(mels.log(), target_mels.log())


class MultiScaleMelLoss(ReconstructionLoss):
    """Mean absolute difference of log10 mel amplitudes (Slaney scale and norm), summed over scales.

    DAC takes only the logarithms. A variant that raises the mels to a power before the logarithm is
    the same with that power as ``log_weight``.

    Args:
        sample_rate: samples per second.
        windows: samples per transform of each scale; the hop is a quarter.
        num_mels: number of mel filters of each scale.
        f_min: where the first filter begins, in Hz.
        f_max: where the last filter ends, in Hz; half the sample rate if None.
        log_weight: weight of the difference of the logarithms.
        amplitude_weight: weight of the difference of the amplitudes themselves.
        square_logs: take mean squares of the differences of logarithms (EnCodec, which adds the
            amplitudes) instead of mean absolute values (DAC).
        floor: amplitudes below it count as it in the logarithm.

    Raises:
        ValueError: sizes or frequencies that do not fit together.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        windows: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
        num_mels: Sequence[int] = (5, 10, 20, 40, 80, 160, 320),
        f_min: float = 0.0,
        f_max: float | None = None,
        log_weight: float = 1.0,
        amplitude_weight: float = 0.0,
        square_logs: bool = False,
        floor: float = 1e-5,
    ) -> None:
        super().__init__()
        if not windows or len(windows) != len(num_mels):
            raise ValueError(f"{len(windows)} windows need as many num_mels, got {len(num_mels)}")
        self.scales = nn.ModuleList(
            MelSpectrogram(
                sample_rate,
                window,
                hop_length=window // 4,
                num_mels=count,
                f_min=f_min,
                f_max=f_max,
                norm="slaney",
                scale="slaney",
                drop_empty=True,
            )
            for window, count in zip(windows, num_mels, strict=True)
        )
        self.log_weight = log_weight
        self.amplitude_weight = amplitude_weight
        self.square_logs = square_logs
        self.floor = floor

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar distance, float32, of waveforms [batch, channels, samples].

        Raises:
            ValueError: the waveforms have half the longest window or fewer samples.
        """
        distance = F.mse_loss if self.square_logs else F.l1_loss
        total = output.new_zeros((), dtype=torch.float32)
        for scale in self.scales:
            mels, target_mels = scale(output), scale(target.detach())
            logs, target_logs = (m.clamp(min=self.floor).log10() for m in (mels, target_mels))
            total = total + self.log_weight * distance(logs, target_logs)
            total = total + self.amplitude_weight * F.l1_loss(mels, target_mels)
        return total
