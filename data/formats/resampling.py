"""Resampling with a Kaiser-windowed sinc filter, of whole signals and block by block.

torchaudio computes the filter; it is applied here, because torchaudio rounds lengths above 2^24
samples and cannot go on where a block ends.
"""

import functools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_KERNEL = 1 << 25  # elements of a filter; 44.1 kHz to 16 kHz needs about 10^5


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
        ValueError: a rate below 1, or two rates with (almost) no common divisor.
        ModuleNotFoundError: torchaudio cannot be imported.
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
        ValueError, ModuleNotFoundError: as `resample`.
    """
    if from_rate < 1 or to_rate < 1:
        raise ValueError(f"cannot resample from {from_rate} Hz to {to_rate} Hz")
    if from_rate == to_rate:
        yield from blocks
        return
    taps, width, step, phases = _filter(from_rate, to_rate)
    kept, taken, given = None, 0, 0
    for block in blocks:
        taken += block.shape[-1]
        kept = F.pad(block, (width, 0)) if kept is None else torch.cat([kept, block], dim=-1)
        periods = (kept.shape[-1] - taps.shape[-1]) // step + 1
        if periods > 0:
            yield _apply(taps, kept, step)
            given += periods * phases
            kept = kept[..., periods * step :]
    if kept is not None:
        rest = -(-taken * phases // step) - given
        yield _apply(taps, F.pad(kept, (0, taps.shape[-1])), step)[..., :rest]


class _Filter(NamedTuple):
    """A filter for each of the ``phases`` samples that ``step`` samples become.

    Attributes:
        taps: [phases, 1, 2 * width + step].
        width: samples that they look to either side.
    """

    taps: Tensor
    width: int
    step: int
    phases: int


def _apply(taps: Tensor, wave: Tensor, step: int) -> Tensor:
    """Filtered waveform, [..., samples], as far as the taps fit in."""
    flat = wave.reshape(-1, 1, wave.shape[-1])
    found = F.conv1d(flat, taps.to(flat), stride=step).transpose(1, 2)
    return found.reshape(*wave.shape[:-1], -1)


@functools.lru_cache(maxsize=16)
def _filter(from_rate: int, to_rate: int) -> _Filter:
    """Filter for a pair of rates; kept, because computing it costs more than applying it."""
    common = math.gcd(from_rate, to_rate)
    step, phases = from_rate // common, to_rate // common
    if step * phases > MAX_KERNEL:
        raise ValueError(
            f"cannot resample from {from_rate} Hz to {to_rate} Hz: their common divisor {common} "
            "is too small; choose another rate"
        )
    try:
        from torchaudio.transforms import Resample
    except (ImportError, OSError) as error:
        raise ModuleNotFoundError(
            f"resampling from {from_rate} Hz to {to_rate} Hz needs torchaudio, which cannot be "
            f"imported with torch {torch.__version__}: {error}; install a matching pair, or give "
            f"audio at {to_rate} Hz"
        ) from error
    made = Resample(  # the numbers of resampy's "kaiser_best" filter
        from_rate,
        to_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )
    return _Filter(made.kernel, made.width, step, phases)
