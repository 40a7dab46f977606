"""Short-time intelligibility as a loss: envelopes of bands go along with those of the original.

STOI (Taal et al., 2011) predicts how many words people understand; Fu et al. (2018) train with it.
"""

import math

import torch
from torch import Tensor

from intaglio.codecs.layers.stft import STFT
from intaglio.codecs.losses.base import ReconstructionLoss

BANDS = 15
LOWEST = 150.0  # Hz, centre of the first third of an octave
FRAME, HOP = 0.0256, 0.0128  # seconds
SEGMENT = 30  # frames, 384 ms
CLIP = 1 + 10 ** (15 / 20)  # times the original's; more noise than that is as bad
RANGE = 40.0  # dB; segments of the original below its loudest one by more are silence


class STOILoss(ReconstructionLoss):
    """One minus the mean correlation of envelopes in third-octave bands over 384 ms.

    STOI, but that frames of silence are not cut out: segments of silence do not count instead.

    Args:
        sample_rate: samples per second, 10,000 and more.

    Raises:
        ValueError: a lower sample rate, at which the bands do not fit.
    """

    bands: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        if sample_rate < 10_000:
            raise ValueError(f"the bands of STOI need 10,000 Hz or more, not {sample_rate}")
        window, hop = round(FRAME * sample_rate), round(HOP * sample_rate)
        n_fft = 2 ** math.ceil(math.log2(window))
        self.stft = STFT(n_fft, hop, window_length=window)
        hz = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
        centres = LOWEST * 2 ** (torch.arange(BANDS).unsqueeze(1) / 3)
        inside = (hz >= centres * 2 ** (-1 / 6)) & (hz < centres * 2 ** (1 / 6))
        self.register_buffer("bands", inside.float(), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar in [0, 2] of waveforms [batch, channels, samples].

        Raises:
            ValueError: the waveforms are shorter than 0.38 seconds.
        """
        x, y = (self.segments(wave) for wave in (output, target.detach()))
        energy = y.square().sum((-3, -1))  # [batch, channels, segments]
        counts = (energy > energy.amax(-1, keepdim=True) * 10 ** (-RANGE / 10)).float()
        gain = (y.square().sum(-1, keepdim=True) / x.square().sum(-1, keepdim=True)).sqrt()
        x = torch.minimum(gain * x, CLIP * y)
        x, y = (s - s.mean(-1, keepdim=True) for s in (x, y))
        norms = (x.square().sum(-1) * y.square().sum(-1) + 1e-12).sqrt()
        correlations = ((x * y).sum(-1) / norms).mean(-2)
        return 1 - (correlations * counts).sum() / counts.sum().clamp(min=1)

    def segments(self, wave: Tensor) -> Tensor:
        """Envelopes, [batch, channels, bands, segments, frames of a segment]."""
        power = self.stft(wave).abs().square()
        envelopes = (self.bands @ power + 1e-10).sqrt()
        if envelopes.shape[-1] < SEGMENT:
            raise ValueError(f"STOI needs 0.38 s or more, not {wave.shape[-1]} samples")
        return envelopes.unfold(-1, SEGMENT, 1)
