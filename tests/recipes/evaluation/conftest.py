"""Fixtures of the evaluation's tests: a voice-like signal, noisier and noisier copies of it."""

import pytest
import torch
from torch import Tensor

from intaglio.data.signals import speechlike

RATE = 16_000


@pytest.fixture(scope="session")
def voice() -> Tensor:
    """Three seconds like speech at 16 kHz, float32 [samples]."""
    return speechlike(3 * RATE, RATE, torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def noisy(voice: Tensor) -> list[Tensor]:
    """The signal with 0 (none), 20, 5 and -10 dB of noise in it, in this order."""
    noise = torch.randn(len(voice), generator=torch.Generator().manual_seed(4))
    noise *= voice.norm() / noise.norm()
    return [voice, *(voice + noise * 10 ** (-snr / 20) for snr in (20, 5, -10))]
