"""The log-mel spectrogram of Whisper (Radford et al., 2023), item by item of a batch.

16 kHz, a Hann window of 25 ms every 10 ms, energies on Slaney's mel scale, their logarithms from 8
decades below the loudest of the item on, shifted and scaled to about [-1, 1].
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import inside, mask_time, pad
from intaglio.codecs.layers.positions import at_least_float32
from intaglio.codecs.layers.stft import fourier_convolution, mel_filterbank

RATE = 16_000  # Hz
HOP = 160  # samples
WINDOW = 400  # samples
DECADES = 8.0  # of energy, from the loudest down


class LogMelSpectrogram(nn.Module):
    """Log-mels, [batch, num_mels, ceil(samples / 160)], of waveforms [batch, 1, samples].

    Whisper drops what does not fill a hop at the end; here zeros fill it up.

    Args:
        num_mels: number of filters; 80, of Whisper large-v3 and S3 128.
    """

    filters: Tensor

    def __init__(self, num_mels: int) -> None:
        super().__init__()
        self.transform = fourier_convolution(WINDOW, HOP)
        filters = mel_filterbank(RATE, WINDOW, num_mels=num_mels, norm="slaney", scale="slaney")
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See above; ``lengths`` int64 [batch], samples of each item, which is mirrored at its own
        ends and has a loudest value of its own."""
        x = F.pad(mask_time(x, lengths), (0, -x.shape[-1] % HOP))
        steps = x.shape[-1] // HOP
        frames = None if lengths is None else -(-lengths // HOP)
        with torch.autocast(x.device.type, enabled=False):
            whole = None if frames is None else frames * HOP
            half = WINDOW // 2
            x = pad(x, half, half, stride=HOP, mode="reflect", lengths=whole)
            real, imaginary = at_least_float32(self.transform.windows(x)[..., :steps]).chunk(2, 1)
            mels = self.filters.to(real.dtype) @ (real.square() + imaginary.square())
            mels = mels.clamp(min=1e-10).log10()
            own = mels
            if frames is not None:
                own = mels.masked_fill(~inside(mels, frames).unsqueeze(1), -torch.inf)
            loudest = own.amax((1, 2), keepdim=True)
            return (torch.maximum(mels, loudest - DECADES) + 4) / 4
