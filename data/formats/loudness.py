"""Loudness of a programme after ITU-R BS.1770-4, in LUFS, measured block by block.

K-weighting (a shelf for the head, a high-pass for the ear), mean squares over 400 ms every 100 ms,
and two gates that leave out pauses. The filters are the recommendation's analogue prototypes, put
into the rate of the signal by the bilinear transform; at 48 kHz they are its printed numbers.
Deviation: a signal shorter than 400 ms is measured as one block.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)  # left, right, centre, and the two behind
OFFSET = -0.691  # makes a full-scale tone of 997 Hz in one channel -3.01 LUFS
GATE = -70.0  # LUFS below which a block does not count
RELATIVE_GATE = -10.0  # LU below the mean of the others
CONTEXT = 0.5  # seconds after which nothing is left of the input in the filters


class LoudnessMeter:
    """Measures a signal that comes in blocks, in memory of 80 bytes a second.

    Args:
        sample_rate: in Hz.
        channels: 1 to 5: left, right, centre, left and right surround.

    Attributes:
        peak: largest absolute value so far.

    Raises:
        ValueError: more channels, or fewer than 10 samples a second.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        if not 1 <= channels <= len(WEIGHTS) or sample_rate < 10:
            raise ValueError(
                f"cannot measure the loudness of {channels} channels at {sample_rate} Hz; at most "
                f"{len(WEIGHTS)} channels are defined"
            )
        self.peak = 0.0
        self._rate = sample_rate
        self._step = round(sample_rate / 10)
        self._weights = torch.tensor(WEIGHTS[:channels], dtype=torch.float64).unsqueeze(1)
        self._past = torch.zeros(channels, round(CONTEXT * sample_rate), dtype=torch.float64)
        self._waiting = torch.zeros(0, dtype=torch.float64)  # power of less than a step
        self._powers: list[Tensor] = []  # mean power of each step of 100 ms

    def push(self, wave: Tensor) -> None:
        """Take the next block, float [channels, any number of samples]."""
        if wave.shape[-1] == 0:
            return
        self.peak = max(self.peak, float(wave.abs().max()))
        context = torch.cat([self._past, wave.double()], dim=-1)
        size = context.shape[-1]
        # Cyclic filtering: what wraps around has died away at the end of the context.
        response = _k_weighting(self._rate, size)
        weighted = torch.fft.irfft(torch.fft.rfft(context) * response, n=size)
        power = (weighted[:, -wave.shape[-1] :].square() * self._weights).sum(0)
        power = torch.cat([self._waiting, power])
        whole = len(power) - len(power) % self._step
        self._powers.append(power[:whole].unflatten(0, (-1, self._step)).mean(1))
        self._waiting = power[whole:]
        self._past = context[:, -self._past.shape[-1] :]

    def loudness(self) -> float:
        """Loudness of all that was taken, in LUFS; minus infinity of silence."""
        steps = torch.cat([*self._powers, torch.zeros(0, dtype=torch.float64)])
        if len(steps) < 4:
            size = len(steps) * self._step + len(self._waiting)
            total = steps.sum() * self._step + self._waiting.sum()
            blocks = (total / max(1, size)).unsqueeze(0)
        else:
            blocks = F.avg_pool1d(steps.view(1, 1, -1), 4, stride=1).flatten()
        loud = blocks[_lufs(blocks) > GATE]
        loud = loud[_lufs(loud) > _lufs(loud.mean()) + RELATIVE_GATE]
        return float(_lufs(loud.mean())) if len(loud) else -math.inf


def _lufs(power: Tensor) -> Tensor:
    return OFFSET + 10 * power.log10()


def _k_weighting(sample_rate: int, size: int) -> Tensor:
    """Response of both filters, complex [size // 2 + 1], at the frequencies of an FFT."""
    cycles = torch.arange(size // 2 + 1, dtype=torch.float64) / size
    delay = torch.polar(torch.ones_like(cycles), -2 * math.pi * cycles)
    response = torch.ones_like(delay)
    # After Brecht De Man, Evaluation of implementations of the EBU R128 measurement, AES 2018.
    for frequency, quality, high, band, low in (
        (1681.9744509555319, 0.7071752369554193, 10 ** (3.99984385397 / 20), None, 1.0),
        (38.13547087613982, 0.5003270373253953, 1.0049948987146882, 0.0, 0.0),
    ):
        k = math.tan(math.pi * min(frequency / sample_rate, 0.499))
        middle = high**0.499666774155 if band is None else band
        upper, across, lower = high, middle * k / quality, low * k * k
        above = (upper + across + lower) + 2 * (lower - upper) * delay
        above = above + (upper - across + lower) * delay**2
        below = (1 + k / quality + k * k) + 2 * (k * k - 1) * delay
        below = below + (1 - k / quality + k * k) * delay**2
        response = response * above / below
    return response
