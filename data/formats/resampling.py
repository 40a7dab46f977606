"""Resampling with a Kaiser-windowed sinc filter, of whole signals and block by block.

The filter is the one that torchaudio computes for the numbers of resampy's "kaiser_best", and is
applied as there: one row of taps for each output sample of a period of the two rates. If the rates
have (almost) no common divisor, that would be millions of taps. Then the taps are interpolated
linearly from a table of the same filter, as resampy does (Smith, "Digital Audio Resampling"); the
error is below 1e-6 of full scale, and the memory does not depend on the rates. So a ratio needs no
library of its own, and every ratio has the same pass band.
"""

import functools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

ZEROS = 64  # zero crossings of the sinc on either side
ROLLOFF = 0.9475937167399596  # of the lower rate's half; this and the next are resampy's
BETA = 14.769656459379492  # of the Kaiser window
MAX_KERNEL = 1 << 20  # step * phases with a row for each phase; 44.1 kHz to 16 kHz has 70,560
TABLE_STEPS = 4096  # rows of the table for the distance of two zero crossings
CHUNK = 1 << 20  # taps that are interpolated at once


def resample(wave: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the sample rate.

    Args:
        wave: float [..., samples].
        from_rate: its rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        Waveform [..., ceil(samples * to_rate / from_rate)]; what the lower of the two rates cannot
        carry is removed.

    Raises:
        ValueError: a rate below 1.
    """
    blocks = list(resample_blocks([wave], from_rate, to_rate))
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)


def resample_blocks(blocks: Iterable[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Change the sample rate of a signal that comes in blocks: what `resample` gives for the whole.

    Args:
        blocks: float [..., any number of samples] each, joined in time.
        from_rate: their rate in Hz.
        to_rate: the wanted rate in Hz.

    Yields:
        Blocks of the resampled signal, as soon as they are known, joined in time.

    Raises:
        ValueError: as `resample`.
    """
    if from_rate < 1 or to_rate < 1:
        raise ValueError(f"cannot resample from {from_rate} Hz to {to_rate} Hz")
    if from_rate == to_rate:
        yield from blocks
        return
    made = _filter(from_rate, to_rate)
    width, step, phases = made.width, made.step, made.phases
    kept, taken, given = None, 0, 0
    for block in blocks:
        taken += block.shape[-1]
        kept = F.pad(block, (width, 0)) if kept is None else torch.cat([kept, block], dim=-1)
        periods = (kept.shape[-1] - 2 * width) // step
        if periods > 0:
            yield made.apply(kept, periods * phases)
            given += periods * phases
            kept = kept[..., periods * step :]
    if kept is not None:
        rest = -(-taken * phases // step) - given
        yield made.apply(F.pad(kept, (0, 2 * width + step)), rest)


class _Filter(NamedTuple):
    """A filter that makes ``phases`` samples out of ``step`` samples.

    Attributes:
        taps: a row for each phase, [phases, 1, 2 * width + step]; or, as a table, for each of
            evenly spaced places from one sample to the next, [places, 2 * width].
        width: samples that they look to either side.
        table: which of the two.
    """

    taps: Tensor
    width: int
    step: int
    phases: int
    table: bool

    def apply(self, wave: Tensor, samples: int) -> Tensor:
        """The first ``samples`` of the filtered waveform [..., samples]."""
        flat = wave.reshape(-1, wave.shape[-1])
        found = self._interpolated(flat, samples) if self.table else self._strided(flat)
        return found[:, :samples].reshape(*wave.shape[:-1], samples)

    def _strided(self, flat: Tensor) -> Tensor:
        found = F.conv1d(flat.unsqueeze(1), self.taps.to(flat), stride=self.step)
        return found.transpose(1, 2).flatten(1)

    def _interpolated(self, flat: Tensor, samples: int) -> Tensor:
        taps, rows = self.taps.to(flat), len(self.taps) - 1
        windows = flat.unfold(-1, taps.shape[1], 1)
        size = max(1, CHUNK // (taps.shape[1] * len(flat)))
        found = []
        for outputs in torch.arange(samples, device=flat.device).split(size):
            start = outputs * self.step // self.phases
            place = (outputs * self.step % self.phases).double() * (rows / self.phases)
            row = place.long()
            weights = torch.lerp(taps[row], taps[row + 1], (place - row).to(flat).unsqueeze(1))
            found.append(torch.einsum("cow,ow->co", windows[:, start + 1], weights))
        return torch.cat(found, dim=1) if found else flat[:, :0]


@functools.lru_cache(maxsize=16)
def _filter(from_rate: int, to_rate: int) -> _Filter:
    """Filter for a pair of rates; kept, because computing it costs more than applying it."""
    common = math.gcd(from_rate, to_rate)
    step, phases = from_rate // common, to_rate // common
    cutoff = ROLLOFF * min(step, phases) / step  # zero crossings for each sample
    width = math.ceil(ZEROS / cutoff)
    if step * phases <= MAX_KERNEL:
        places = (torch.arange(phases) / phases).double() * step  # rounded as by torchaudio
        taps = _taps(torch.arange(-width, width + step), places, cutoff)
        return _Filter(taps.unsqueeze(1), width, step, phases, table=False)
    rows = math.ceil(TABLE_STEPS * cutoff)
    places = torch.arange(rows + 1, dtype=torch.float64) / rows
    taps = _taps(torch.arange(-width, width + 2), places, cutoff)
    return _Filter(taps, width + 1, step, phases, table=True)


def _taps(samples: Tensor, places: Tensor, cutoff: float) -> Tensor:
    """Taps, float32 [places, samples], that interpolate at places between samples."""
    t = ((samples - places.unsqueeze(1)) * cutoff).clamp(-ZEROS, ZEROS)
    beta = torch.tensor(BETA, dtype=torch.float64)
    window = torch.i0(beta * (1 - (t / ZEROS).square()).sqrt()) / torch.i0(beta)
    return (torch.sinc(t) * window * cutoff).float()
