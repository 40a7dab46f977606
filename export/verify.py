"""Comparison of an exported codec with the codec: the same tokens and samples, or no export."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.export.graphs import Graphs

Runner = Callable[[Tensor], Tensor]

MAX_WAVE_ERROR = 1e-4
TIE = 1e-6  # relative change of the input under which a token may flip by rounding alone


class Verification(NamedTuple):
    """Result of a comparison.

    Attributes:
        lengths: samples of the inputs.
        tokens: tokens compared.
        ties: tokens that differ and that the codec itself changes when its input is rounded
            differently.
        wave_error: largest difference of a sample, decoding the same ids.
    """

    lengths: list[int]
    tokens: int
    ties: int
    wave_error: float


def lengths_to_try(codec: AudioCodec) -> list[int]:
    """Ten lengths in samples: the shortest, those around a hop, odd ones, and about two seconds."""
    hop = codec.hop_length
    return [
        1,
        2,
        hop - 1,
        hop,
        hop + 1,
        2 * hop,
        5 * hop + 3,
        12 * hop - 1,
        33 * hop,
        101 * hop + 7,
    ]


def verify(codec: AudioCodec, encode: Runner, decode: Runner, *, seed: int = 0) -> Verification:
    """Compare at ten lengths, as single items and as batches of three.

    Args:
        codec: the codec itself, on the CPU.
        encode: exported encoder, waveform to ids.
        decode: exported decoder, ids to waveform.
        seed: of the inputs: noise and noise-modulated tones at several levels.

    Raises:
        ValueError: tokens differ but for ties, or samples differ by more than 1e-4.
    """
    graphs = Graphs(codec)
    generator = torch.Generator().manual_seed(seed)
    tokens = ties = 0
    worst = 0.0
    lengths = lengths_to_try(codec)
    for samples in lengths:
        for batch in (1, 3):
            wave = _signal(batch, codec.channels, samples, generator)
            with torch.no_grad():
                ids = graphs.encoder(wave)
                theirs = encode(wave)
                _check_tokens(graphs, wave, ids, theirs, samples, generator)
                error = (decode(ids) - graphs.decoder(ids)).abs().max().item()
            tokens += ids.numel()
            ties += int((ids != theirs).sum())
            worst = max(worst, error)
            if not error <= MAX_WAVE_ERROR:
                raise ValueError(
                    f"the exported decoder differs by {error:.2g} at {samples} samples "
                    f"(at most {MAX_WAVE_ERROR:g} is allowed): nothing was written"
                )
    return Verification(lengths, tokens, ties, worst)


def _check_tokens(
    graphs: Graphs,
    wave: Tensor,
    ids: Tensor,
    theirs: Tensor,
    samples: int,
    generator: torch.Generator,
) -> None:
    if ids.shape != theirs.shape:
        raise ValueError(
            f"the exported encoder gives ids of shape {list(theirs.shape)} instead of "
            f"{list(ids.shape)} at {samples} samples: nothing was written"
        )
    differs = ids != theirs
    for _ in range(8):
        if not differs.any():
            return
        noise = torch.randn(wave.shape, generator=generator)
        differs &= graphs.encoder(wave * (1 + TIE * noise)) == ids
    if differs.any():
        raise ValueError(
            f"the exported encoder gives {int(differs.sum())} of {ids.numel()} tokens differently "
            f"at {samples} samples: nothing was written"
        )


def _signal(batch: int, channels: int, samples: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(batch, channels, samples, generator=generator)
    pitch = 0.01 + 0.05 * torch.rand(batch, 1, 1, generator=generator)
    tone = torch.sin(2 * torch.pi * pitch * torch.arange(samples))
    level = 10 ** (-2 * torch.rand(batch, 1, 1, generator=generator))
    return level * (0.5 * tone + 0.1 * noise).clamp(-1, 1)
