"""ISTFT head: frames to a waveform through a predicted spectrum (Vocos, Siuzdak 2023).

An exported graph holds the inverse transform as one transposed convolution with a fixed basis:
exact to float32 rounding and free of complex numbers. PyTorch itself takes the faster inverse FFT.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.tracing import exporting
from intaglio.codecs.streaming.state import State, StreamingLayer


class InverseSTFT(nn.Module):
    """Inverse short-time Fourier transform with a periodic Hann window.

    Args:
        n_fft: samples of a frame, even.
        hop_length: samples between frames; must divide n_fft / 2.
        padding: ``same`` gives frames * hop_length samples; ``center`` gives (frames - 1) *
            hop_length, as `torch.istft` does.
    """

    basis: Tensor
    window: Tensor
    window_square: Tensor

    def __init__(
        self, n_fft: int, hop_length: int, padding: Literal["same", "center"] = "same"
    ) -> None:
        super().__init__()
        if n_fft % 2 or (n_fft // 2) % hop_length:
            raise ValueError(f"hop_length {hop_length} must divide half of n_fft {n_fft}")
        self.hop_length = hop_length
        self.overlap = n_fft - hop_length  # samples that a frame shares with later ones
        self.trim = (n_fft - hop_length) // 2 if padding == "same" else n_fft // 2
        window = torch.hann_window(n_fft, dtype=torch.float64)
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi / n_fft * torch.outer(bins, torch.arange(n_fft, dtype=torch.float64))
        # the bins of a real signal count twice, except for the first and the last
        twice = torch.full((len(bins), 1), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1.0
        scale = twice * window / n_fft
        basis = torch.cat([scale * angle.cos(), -scale * angle.sin()])
        self.register_buffer("basis", basis.float().unsqueeze(1), persistent=False)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer(
            "window_square", window.square().float().view(1, 1, -1), persistent=False
        )

    def forward(self, real: Tensor, imaginary: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, 1, samples] of a spectrum, twice [batch, n_fft / 2 + 1, frames].

        ``mask``, bool [batch, frames], leaves out the frames behind an item's end.
        """
        real, imaginary = real.float(), imaginary.float()
        weight = torch.ones_like(real[:1, :1])
        if mask is not None:
            weight = mask.unsqueeze(1).to(real.dtype)
            real, imaginary = real * weight, imaginary * weight
        y, envelope = self.spread(real, imaginary), self._envelope(weight)
        inside = slice(self.trim, y.shape[-1] - self.trim)
        return y[..., inside] / envelope[..., inside].clamp(min=1e-11)

    def step(self, real: Tensor, imaginary: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames; gives, of a hop each, the samples that later ones do not add to.

        They come `trim` samples later than those of `forward`, and begin with as many that it
        leaves out. The state has the sums over the samples behind them, ``overlap``, and over the
        squares of the windows, ``envelope``, both [batch, 1, n_fft - hop_length].
        """
        sums = {
            "overlap": self.spread(real.float(), imaginary.float()),
            "envelope": self._envelope(torch.ones_like(real[:, :1], dtype=torch.float32)),
        }
        size = real.shape[-1] * self.hop_length
        for name, old in sums.items():
            first = old[..., : self.overlap] + state[name]
            sums[name] = torch.cat([first, old[..., self.overlap :]], dim=-1)
        y = sums["overlap"][..., :size] / sums["envelope"][..., :size].clamp(min=1e-11)
        return y, {name: value[..., size:] for name, value in sums.items()}

    def spread(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Sum of the windowed frames, [batch, 1, (frames - 1) * hop_length + n_fft]."""
        if exporting():
            spectrum = torch.cat([real, imaginary], dim=1)
            return F.conv_transpose1d(spectrum, self.basis, stride=self.hop_length)
        frames = torch.fft.irfft(torch.complex(real, imaginary).transpose(1, 2), dim=-1)
        return self._overlap_add(frames * self.window)

    def _envelope(self, weight: Tensor) -> Tensor:
        """The same sum of squared windows, of frames with ``weight`` [batch, 1, frames]."""
        if exporting():
            return F.conv_transpose1d(weight, self.window_square, stride=self.hop_length)
        return self._overlap_add(weight.transpose(1, 2) * self.window_square[0])

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """[batch, frames, n_fft] to [batch, 1, samples], each frame a hop after the one before."""
        hops = frames.unflatten(-1, (-1, self.hop_length))
        batch, steps, count, _ = hops.shape
        total = hops.new_zeros(batch, steps + count - 1, self.hop_length)
        for offset in range(count):
            total[:, offset : offset + steps] += hops[:, :, offset]
        return total.flatten(1).unsqueeze(1)


class ISTFTHead(StreamingLayer):
    """Linear layer to log-magnitude and phase, then the inverse transform.

    Its stream is `delay` samples late: later frames add to the last samples.

    Args:
        dim: size of a frame's features.
        n_fft: samples of a frame.
        hop_length: samples between frames.
        max_magnitude: bound of the magnitudes, against early blow-ups (100 in Vocos).
    """

    def __init__(self, dim: int, n_fft: int, hop_length: int, max_magnitude: float = 100.0) -> None:
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.inverse = InverseSTFT(n_fft, hop_length)
        self.max_magnitude = max_magnitude

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, 1, frames * hop_length] of features [batch, frames, dim]."""
        return self.inverse(*self._spectrum(x), mask)

    @property
    def delay(self) -> int:
        """Samples by which the stream is late."""
        return self.inverse.trim

    def start(self, batch: int) -> State:
        """No frame has added to anything; see `InverseSTFT.step`."""
        zeros = self.inverse.window.new_zeros(batch, 1, self.inverse.overlap)
        return {"overlap": zeros, "envelope": zeros.clone()}

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next frames, `delay` samples late."""
        return self.inverse.step(*self._spectrum(x), state)

    def rest(self, state: State) -> Tensor:
        """The `delay` samples that are still due after the last frame, [batch, 1, delay]."""
        y = state["overlap"] / state["envelope"].clamp(min=1e-11)
        return y[..., : self.delay]

    def _spectrum(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, [batch, n_fft / 2 + 1, frames] each."""
        log_magnitude, phase = self.out(x).float().transpose(1, 2).chunk(2, dim=1)
        magnitude = log_magnitude.exp().clamp(max=self.max_magnitude)
        return magnitude * phase.cos(), magnitude * phase.sin()
