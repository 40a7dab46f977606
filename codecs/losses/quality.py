"""Perceived speech quality as a loss: disturbances of loudness, as PESQ counts them.

PESQ (ITU-T P.862 and, of wide bands, P.862.2) predicts opinions of listeners; Martín-Doñas et al.
(2018) and others train with it. The numbers are those of the standard, of 49 bands at 16 kHz.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.layers.stft import STFT
from intaglio.codecs.losses.base import ReconstructionLoss

RATE, FRAME, HOP = 16_000, 512, 256
# fmt: off
BINS = (  # of the spectrum, of each band
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 3, 4,
    5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20,
)
WIDTHS = (  # Bark
    0.1573, 0.3180, 0.3224, 0.3269, 0.3315, 0.3361, 0.3407, 0.3454, 0.3501, 0.3549, 0.3597, 0.3646,
    0.3695, 0.3745, 0.3796, 0.3847, 0.3898, 0.3950, 0.4002, 0.4055, 0.4109, 0.4163, 0.4218, 0.4273,
    0.4329, 0.4385, 0.4442, 0.4500, 0.4558, 0.4616, 0.4676, 0.4736, 0.4796, 0.4857, 0.4919, 0.4982,
    0.5045, 0.5108, 0.5173, 0.5237, 0.5303, 0.5369, 0.5436, 0.5504, 0.5572, 0.5641, 0.5711, 0.5781,
    0.5852,
)
DENSITY = (  # power of a bin, to that of its band
    100, 100, 100, 100, 100, 100, 100, 100, 50, 100, 100, 100, 100, 100, 53.05, 110, 117.99, 65,
    68.76, 70, 71.43, 75, 76.84, 80.97, 88.65, 63.86, 68.16, 72.55, 75.58, 58.38, 80.95, 64.14,
    54.38, 73.82, 64.44, 59.18, 65.52, 61.40, 58.14, 57.00, 64.13, 54.31, 61.11, 55.08, 56.85,
    55.63, 53.14, 54.99, 79.55,
)
THRESHOLDS = (  # of hearing, dB
    77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4, -2.5,
    -3.4, -4.1, -4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0,
    -3.6, -3.3, -3.1, -3.0, -3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8, -2.7,
)
# fmt: on
POWER_SCALE, LOUDNESS_SCALE = 6.910853e-6, 0.1866055
SPEECH = (325.0, 3250.0)  # Hz; levels are aligned there
LEVEL = 1e7
FLOOR = 1e-7  # of the mean power; what is quieter, -70 dB, is not amplified
LIMIT = 45.0  # of a frame
SPLIT = 20  # frames, 320 ms, of which every tenth starts one


class PESQLoss(ReconstructionLoss):
    """What the two disturbances of wideband PESQ take from its best score, 0 to about 4.5.

    As in PESQ, levels are aligned, a fixed filter of the whole is forgiven, and noise that was
    added counts more than what was left out. Delays are not looked for: signals are aligned.

    Args:
        sample_rate: samples per second; PESQ of wide bands is of 16,000.

    Raises:
        ValueError: another sample rate.
    """

    bands: Tensor
    widths: Tensor
    thresholds: Tensor
    exponents: Tensor
    high_pass: Tensor

    def __init__(self, sample_rate: int = RATE) -> None:
        super().__init__()
        if sample_rate != RATE:
            raise ValueError(f"PESQ of wide bands is of {RATE:,} Hz, not {sample_rate}")
        self.stft = STFT(FRAME, HOP)
        bands = torch.block_diag(*[torch.ones(1, bins) for bins in BINS])
        bands = F.pad(bands, (0, FRAME // 2 + 1 - bands.shape[1]))
        bands[:, 0] = 0
        widths = torch.tensor(WIDTHS)
        barks = widths.cumsum(0) - widths / 2
        angles = -2 * torch.pi * torch.arange(FRAME // 2 + 1) / FRAME
        z = torch.polar(torch.ones_like(angles), angles)
        response = (2.740826 - 5.4816519 * z + 2.740826 * z**2) / (
            1 - 1.9444777 * z + 0.94597794 * z**2
        )
        bands = bands * response.abs().square() * torch.tensor(DENSITY).unsqueeze(1) * POWER_SCALE
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("widths", widths[1:].unsqueeze(1), persistent=False)
        thresholds = 10 ** (torch.tensor(THRESHOLDS).unsqueeze(1) / 10)
        self.register_buffer("thresholds", thresholds, persistent=False)
        exponents = 0.23 * (6 / (barks + 2)).clamp(1, 2) ** 0.15
        self.register_buffer("exponents", exponents.unsqueeze(1), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over waveforms [batch, channels, samples].

        Raises:
            ValueError: the waveforms are shorter than 0.32 seconds.
        """
        if output.shape[-1] < SPLIT * HOP:
            raise ValueError(f"PESQ needs 0.32 s or more, not {output.shape[-1]} samples")
        x, y = (self.powers(wave) for wave in (output, target.detach()))
        y = y * self.filter(x, y)
        x = x * self.gains(x, y)
        x_loud, y_loud = self.loudness(x), self.loudness(y)
        least = 0.25 * torch.minimum(x_loud, y_loud)  # that much is not heard
        disturbance = ((x_loud - y_loud).abs() - least).clamp(min=0)[..., 1:, :]
        added = (((x + 50) / (y + 50)) ** 1.2)[..., 1:, :]
        added = torch.where(added < 3, 0, added.clamp(max=12))
        total = self.widths.sum()
        squares = (disturbance * self.widths).square().sum(-2)
        symmetric = (total * squares + 1e-12).sqrt()
        asymmetric = (disturbance * added * self.widths).sum(-2)
        weight = ((self.audible(y).sum(-2) + 1e5) / LEVEL) ** 0.04
        symmetric, asymmetric = (
            self.mean_of_splits(_limited(frames / weight)).mean()
            for frames in (symmetric, asymmetric)
        )
        return 0.1 * symmetric + 0.0309 * asymmetric

    def powers(self, wave: Tensor) -> Tensor:
        """Powers of the 49 bands, [batch, channels, bands, frames], at the standard's level."""
        spectrum = torch.fft.rfft(wave.float())
        hz = torch.fft.rfftfreq(wave.shape[-1], 1 / RATE, device=wave.device)
        inside = spectrum[..., (hz >= SPEECH[0]) & (hz <= SPEECH[1])].abs().square().sum(-1)
        mean = 2 * inside / wave.shape[-1] ** 2
        spectra = self.stft(wave).abs().square()
        return (self.bands @ spectra) * (LEVEL / (mean + FLOOR))[..., None, None]

    def audible(self, powers: Tensor, times: float = 1) -> Tensor:
        """Powers of what is above so many times the threshold of hearing; others are zero."""
        return torch.where(powers > times * self.thresholds, powers, 0)

    def filter(self, x: Tensor, y: Tensor) -> Tensor:
        """What PESQ takes for the line's frequency response, within 20 dB, [..., bands, 1]."""
        speech = self.audible(y, 100).sum(-2, keepdim=True) > LEVEL
        x, y = (torch.where(speech, self.audible(s, 100), 0).mean(-1, keepdim=True) for s in (x, y))
        return ((x + 1000) / (y + 1000)).clamp(0.01, 100)

    def gains(self, x: Tensor, y: Tensor) -> Tensor:
        """Of every frame of the output, smoothed, [..., 1, frames]."""
        x, y = (self.audible(s).sum(-2, keepdim=True) for s in (x, y))
        gains = (y + 5e3) / (x + 5e3)
        gains = torch.cat([gains[..., :1], 0.8 * gains[..., 1:] + 0.2 * gains[..., :-1]], -1)
        return gains.clamp(3e-4, 5)

    def loudness(self, powers: Tensor) -> Tensor:
        """Zwicker's law, in sones."""
        above = powers.clamp(min=self.thresholds) / self.thresholds  # 1 and more
        loud = (2 * self.thresholds) ** self.exponents * ((0.5 + 0.5 * above) ** self.exponents - 1)
        return LOUDNESS_SCALE * loud

    def mean_of_splits(self, frames: Tensor) -> Tensor:
        """Of [..., frames]: the sixth power within 320 ms, the second from one to the next."""
        splits = frames.unfold(-1, SPLIT, SPLIT // 2)
        return (splits.pow(6).mean(-1) + 1e-12).pow(1 / 3).mean(-1).sqrt()


def _limited(frames: Tensor) -> Tensor:
    """At most 45, as in PESQ; the gradient goes on as that of a logarithm.

    Four in five frames of a codec of 1 kbit/s are beyond, and would never get better.
    """
    beyond = LIMIT * (frames.clamp(min=LIMIT) / LIMIT).log()
    return frames.clamp(max=LIMIT) + beyond - beyond.detach()
