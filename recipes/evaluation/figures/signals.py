"""Figures of signals and their tokens, each as the bytes of a PNG."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.layers.stft import STFT
from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.figures.canvas import OURS, STYLE, WIDTH, png, pyplot

DECIBELS = 80  # range of a spectrogram below its loudest point


class Sound(NamedTuple):
    """A waveform, float [samples], and what to call it in a figure."""

    label: str
    wave: Tensor


def spectrograms(sounds: Sequence[Sound], sample_rate: int) -> bytes:
    """Spectrograms of several versions of one recording, one below the other, on one scale.

    Args:
        sounds: original first; all of the same length.
        sample_rate: in Hz.
    """
    size = 2 ** round(math.log2(0.032 * sample_rate))
    hop = size // 4
    powers = torch.stack([STFT(size, hop)(sound.wave.float()).abs().square() for sound in sounds])
    levels = 10 * (powers / powers[0].max().clamp(min=1e-10)).clamp(min=1e-10).log10()
    seconds = len(sounds[0].wave) / sample_rate
    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, axes = draw.subplots(
            len(sounds),
            1,
            figsize=(WIDTH, 0.6 + 1.65 * len(sounds)),
            layout="constrained",
            sharex=True,
            squeeze=False,
        )
        for axis, sound, level in zip(axes[:, 0], sounds, levels, strict=True):
            image = axis.imshow(
                level.numpy(),
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, sample_rate / 2000),
                vmin=-DECIBELS,
                vmax=0,
                cmap="magma",
                interpolation="nearest",
            )
            axis.set_title(sound.label)
            axis.grid(False)
            axis.set_ylabel("kHz")
        axes[-1, 0].set_xlabel("seconds")
        bar = figure.colorbar(image, ax=axes[:, 0].tolist(), pad=0.01, aspect=15 * len(sounds))
        bar.set_label("dB, 0 = loudest in the original")
        bar.outline.set_visible(False)
        return png(figure, dpi=120)  # noise does not compress: a megabyte at twice the resolution


def token_raster(tokens: Tokens, wave: Tensor, sample_rate: int, seconds: float = 3.0) -> bytes:
    """The ids of one recording over time, below its waveform.

    One codebook is drawn as steps over the range of its ids; several as one row of colours each.

    Args:
        tokens: of one item.
        wave: float [samples], the recording.
        sample_rate: in Hz.
        seconds: how much of the beginning to show.
    """
    ids = tokens.ids[0][tokens.mask[0]]
    period = len(wave) / sample_rate / len(ids)  # of a token, up to the rounding of the last one
    ids = ids[: max(1, round(seconds / period))]
    edges = period * torch.arange(len(ids) + 1)
    seconds = float(edges[-1])
    wave = wave[: round(seconds * sample_rate)]
    draw = pyplot()
    with draw.rc_context(STYLE):
        figure, (above, below) = draw.subplots(
            2,
            1,
            figsize=(WIDTH, 4.2),
            layout="constrained",
            sharex=True,
            height_ratios=(1, 2.6),
        )
        above.fill_between(*_envelope(wave, seconds), color="#888888", linewidth=0)
        above.set_yticks([])
        above.grid(False)
        above.tick_params(length=0)
        above.spines["left"].set_visible(False)
        above.set_title("Waveform")
        if ids.shape[1] == 1:
            _steps(below, ids[:, 0], tokens.vocab[0], edges)
        else:
            _rows(figure, below, ids, tokens.vocab, edges)
        below.set_xlim(0, seconds)
        below.set_xlabel("seconds")
        return png(figure)


def _steps(axis: Any, ids: Tensor, size: int, edges: Tensor) -> None:
    """Ids of one codebook as short bars at their height, joined by faint lines."""
    axis.stairs(ids.numpy(), edges.numpy(), baseline=None, color="#BBBBBB", linewidth=0.6)
    axis.hlines(ids.numpy(), edges[:-1].numpy(), edges[1:].numpy(), color=OURS, linewidth=2.4)
    axis.set_ylim(-0.02 * size, 1.02 * size)
    axis.set_ylabel("id")
    axis.set_title(f"Tokens: {len(ids)} ids of one codebook of {size}")


def _rows(figure: Any, axis: Any, ids: Tensor, vocab: tuple[int, ...], edges: Tensor) -> None:
    """Ids of several codebooks, the first on top, coloured by their position in the codebook."""
    groups = len(vocab)
    axis.grid(False)
    shares = ids.double() / torch.tensor(vocab)
    mesh = axis.pcolormesh(
        edges.numpy(), torch.arange(groups + 1).numpy() + 0.5, shares.T.numpy(),
        cmap="cividis", vmin=0, vmax=1,
    )  # fmt: skip
    axis.invert_yaxis()
    axis.set_yticks(range(1, groups + 1))
    axis.set_ylabel("codebook")
    axis.set_title(f"Tokens: {len(ids)} positions of {groups} ids")
    figure.colorbar(mesh, ax=axis, pad=0.01, label="id / codebook size")


def _envelope(wave: Tensor, seconds: float, points: int = 1200) -> tuple[Any, Any, Any]:
    """Times, lower and upper envelope of a waveform, at most ``points`` of them."""
    block = max(1, len(wave) // points)
    blocks = wave[: len(wave) // block * block].float().view(-1, block)
    times = torch.linspace(0, seconds, len(blocks))
    return times.numpy(), blocks.amin(1).numpy(), blocks.amax(1).numpy()
