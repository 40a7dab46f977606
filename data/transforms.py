"""Crops, gains and lengths of waveforms: callables that draw from the generator they are given.

The gain follows Vocos (Siuzdak 2023) and WavTokenizer (Ji et al. 2025): the peak is set to a level
drawn from -6 to -1 dB for training and to -3 dB for validation. They level whole files; here it is
the crop, because only the crop is read, and a bound on the gain keeps a silent crop silent.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from intaglio.data.formats.resampling import resample


def generator_of(*key: int) -> Generator:
    """Generator seeded by a tuple of numbers: equal on every machine, and in every process."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def random_start(total: int, size: int, generator: Generator) -> int:
    """First sample of a random crop of ``size`` out of ``total`` samples; 0 if there are fewer."""
    return int(torch.randint(max(1, total - size + 1), (1,), generator=generator))


class RandomGain:
    """Set the peak of a waveform to a level drawn evenly, in dB; a fixed level if low = high.

    Args:
        low: lowest level of the peak, in dB of full scale.
        high: highest level, at most 0, which is full scale.
        max_boost: bound of the amplification in dB.
    """

    def __init__(self, low: float = -6.0, high: float = -1.0, max_boost: float = 40.0) -> None:
        if not low <= high <= 0:
            raise ValueError(f"levels must satisfy low <= high <= 0 dB, got {low} and {high}")
        self.low, self.high, self.max_boost = low, high, max_boost

    def __call__(self, wave: Tensor, generator: Generator) -> Tensor:
        """Scale a waveform of any shape."""
        level = self.low + (self.high - self.low) * float(torch.rand(1, generator=generator))
        peak = float(wave.abs().max())
        if peak == 0:
            return wave
        return wave * min(10 ** (level / 20) / peak, 10 ** (self.max_boost / 20))


class RandomSpeed:
    """Play a waveform faster or slower, which changes its pitch too (Ko et al. 2015).

    Args:
        speeds: factors in whole hundredths from 0.5 to 2, drawn evenly.

    Raises:
        ValueError: no factor, or one out of range.
    """

    def __init__(self, speeds: Sequence[float] = (1.0,)) -> None:
        if not speeds or not all(0.5 <= s <= 2 and _whole(100 * s) for s in speeds):
            raise ValueError(
                f"speeds must be whole hundredths from 0.5 to 2, at least one, got {list(speeds)}"
            )
        self.percents = [round(100 * speed) for speed in speeds]

    def draw(self, generator: Generator) -> int:
        """One of the factors, in percent; nothing is drawn where there is only one."""
        if len(self.percents) == 1:
            return self.percents[0]
        return self.percents[int(torch.randint(len(self.percents), (1,), generator=generator))]

    def __call__(self, wave: Tensor, percent: int) -> Tensor:
        """Waveform [..., ceil(samples * 100 / percent)]."""
        return resample(wave, percent, 100)


def tile(wave: Tensor, size: int) -> Tensor:
    """Repeat a waveform [..., samples] until it has ``size`` samples; a longer one is cut."""
    repeats = -(-size // wave.shape[-1])
    return torch.cat([wave] * repeats, dim=-1)[..., :size] if repeats > 1 else wave[..., :size]


def pad_stack(waves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Batch of waveforms [..., samples], with zeros after the shorter ones.

    Returns:
        Waveforms [batch, ..., longest] and their lengths, int64 [batch].
    """
    lengths = torch.tensor([wave.shape[-1] for wave in waves])
    batch = waves[0].new_zeros(len(waves), *waves[0].shape[:-1], int(lengths.max()))
    for row, wave in zip(batch, waves, strict=True):
        row[..., : wave.shape[-1]] = wave
    return batch, lengths


def _whole(value: float) -> bool:
    return math.isclose(value, round(value))
