"""Test signals: what speech is like, made from nothing but a seed."""

import math

import torch
from torch import Generator, Tensor


def speechlike(samples: int, sample_rate: int, generator: Generator) -> Tensor:
    """Voice-like signal: syllables of gliding harmonics under moving formants, breaths, pauses.

    Args:
        samples: length of the signal.
        sample_rate: in Hz; nothing is made above half of it.
        generator: every choice is drawn from it.

    Returns:
        Waveform, float32 [samples], in [-1, 1]: exactly 0 in the pauses, noisy like s or f in some
        syllables, harmonic in the others.

    Raises:
        ValueError: a length or a rate below 1.
    """
    if samples < 1 or sample_rate < 1:
        raise ValueError(f"cannot make {samples} samples at {sample_rate} Hz")
    wave = torch.zeros(samples)
    pitch = 90 + 130 * _draw(generator)
    start = 0
    while start < samples:
        length = max(1, int((0.08 + 0.22 * _draw(generator)) * sample_rate))
        voiced = _draw(generator) < 0.8
        syllable = (_voiced if voiced else _unvoiced)(length, sample_rate, pitch, generator)
        kept = min(length, samples - start)
        wave[start : start + kept] = syllable[:kept]
        pause = 0.25 if _draw(generator) < 0.25 else 0.02
        start += length + int(pause * sample_rate)
    return wave


def _voiced(length: int, sample_rate: int, pitch: float, generator: Generator) -> Tensor:
    """One vowel: harmonics of a gliding pitch, weighted by three formants that move."""
    position = torch.linspace(0, 1, length)
    glide = pitch * (1 + 0.25 * (_draw(generator) - 0.5) * position)
    glide = glide * (1 + 0.02 * torch.sin(2 * math.pi * 5 * position * length / sample_rate))
    phase = torch.cumsum(glide.double() / sample_rate, 0) % 1
    number = torch.arange(1, max(2, int(0.4 * sample_rate / pitch)))
    weights = (1 / number).repeat(2, 1)  # at the beginning and at the end
    for low, high in ((300, 800), (900, 2300), (2300, 3400)):
        centre = low + (high - low) * torch.rand(2, 1, generator=generator)
        distance = (number * pitch - centre) / (60 + 0.06 * centre)
        weights = weights + torch.exp(-(distance**2)) / number**0.5
    first, last = weights @ torch.sin(2 * math.pi * number[:, None] * phase.float())
    return _shaped(torch.lerp(first, last, position), 0.3 + 0.6 * _draw(generator))


def _unvoiced(length: int, sample_rate: int, pitch: float, generator: Generator) -> Tensor:
    """One fricative: noise without its low frequencies; the pitch does not show in it."""
    noise = torch.randn(length + 1, generator=generator)
    return _shaped(noise.diff(), 0.05 + 0.15 * _draw(generator))


def _shaped(wave: Tensor, peak: float) -> Tensor:
    """Let a syllable swell and fade, up to ``peak``."""
    # clamped, because the sine of pi is a little below zero in float32
    wave = wave * torch.sin(math.pi * torch.linspace(0, 1, len(wave))).clamp_min(0) ** 0.5
    return peak * wave / wave.abs().max().clamp_min(1e-9)


def _draw(generator: Generator) -> float:
    return float(torch.rand(1, generator=generator))
