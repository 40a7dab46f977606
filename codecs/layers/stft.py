"""The one short-time Fourier transform of the project, and the mel spectrogram over it.

Everything here is differentiable and runs in float32, also under autocast. The mel scales are the
formula of HTK and the piecewise one of Slaney's Auditory Toolbox; computed in float64 and rounded
once, so that a filter differs from those of torchaudio and librosa in the last digits only.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import Conv1d, PadMode

SLANEY_BREAK_HZ = 1000.0  # linear below, logarithmic above
SLANEY_MELS_PER_HZ = 3 / 200
SLANEY_LOG_STEP = math.log(6.4) / 27


class STFT(nn.Module):
    """Short-time Fourier transform with reflected borders.

    Args:
        n_fft: samples per transform.
        hop_length: samples from one frame to the next.
        window_length: samples under the window, which stands in the middle of the ``n_fft``; all of
            them if None.
        window: "hann" (periodic) or "rectangular".
        match_stride: False puts frame ``t`` around sample ``t * hop_length``, giving
            ``samples // hop_length + 1`` frames. True puts it around the middle of hop ``t``, as a
            convolution of that stride would, giving ``ceil(samples / hop_length)`` frames.

    Raises:
        ValueError: sizes that do not fit together, or an unknown window.
    """

    taps: Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int,
        *,
        window_length: int | None = None,
        window: Literal["hann", "rectangular"] = "hann",
        match_stride: bool = False,
    ) -> None:
        super().__init__()
        window_length = n_fft if window_length is None else window_length
        if not 0 < hop_length <= window_length <= n_fft:
            raise ValueError(
                "an STFT needs 0 < hop length <= window length <= n_fft, got "
                f"{hop_length}, {window_length} and {n_fft}"
            )
        if window not in ("hann", "rectangular"):
            raise ValueError(f"the window is 'hann' or 'rectangular', not {window!r}")
        make = torch.hann_window if window == "hann" else torch.ones
        left = (n_fft - window_length) // 2
        taps = F.pad(make(window_length), (left, n_fft - window_length - left))
        self.register_buffer("taps", taps, persistent=False)
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.match_stride = match_stride

    def forward(self, x: Tensor) -> Tensor:
        """Spectra, complex64 [..., n_fft // 2 + 1, frames], of waveforms [..., samples].

        Raises:
            ValueError: the waveform is too short to be reflected at its borders.
        """
        samples = x.shape[-1]
        left, right = self._borders(samples)
        if max(left, right) >= samples:
            raise ValueError(
                f"a waveform of {samples} samples is too short for an STFT of {self.n_fft}: "
                f"it takes {max(left, right) + 1} samples at least"
            )
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float().reshape(-1, 1, samples), (left, right), mode="reflect")
            spectra = torch.stft(
                padded.squeeze(1),
                self.n_fft,
                self.hop_length,
                window=self.taps.float(),
                center=False,
                return_complex=True,
            )
        return spectra.reshape(*x.shape[:-1], *spectra.shape[-2:])

    def _borders(self, samples: int) -> tuple[int, int]:
        """Samples to add on the left and on the right."""
        if not self.match_stride:
            return self.n_fft // 2, self.n_fft // 2
        overlap = self.n_fft - self.hop_length
        return overlap // 2, overlap - overlap // 2 + -samples % self.hop_length


def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    *,
    num_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    norm: Literal["slaney"] | None = None,
    scale: Literal["htk", "slaney"] = "htk",
) -> Tensor:
    """Triangular filters, float32 [num_mels, n_fft // 2 + 1], equally spaced on the mel scale.

    Args:
        sample_rate: samples per second.
        n_fft: samples per transform.
        num_mels: number of filters.
        f_min: where the first filter begins, in Hz.
        f_max: where the last filter ends, in Hz; half the sample rate if None.
        norm: "slaney" gives each triangle the same area, None the same height, 1.
        scale: "htk" or "slaney".

    Raises:
        ValueError: the frequencies are out of order, or an unknown norm or scale.
    """
    f_max = sample_rate / 2 if f_max is None else f_max
    if not 0 <= f_min < f_max <= sample_rate / 2:
        raise ValueError(
            f"mel filters need 0 <= f_min < f_max <= {sample_rate / 2} Hz, got {f_min} and {f_max}"
        )
    if norm not in (None, "slaney") or scale not in ("htk", "slaney"):
        raise ValueError(f"norm is 'slaney' or None, scale 'htk' or 'slaney'; got {norm}, {scale}")
    ends = _hz_to_mel(torch.tensor([f_min, f_max], dtype=torch.float64), scale)
    mels = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, num_mels + 2, dtype=torch.float64))
    corners = _mel_to_hz(mels, scale).unsqueeze(1)
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    filters = torch.minimum((hz - left) / (peak - left), (right - hz) / (right - peak)).clamp(min=0)
    if norm == "slaney":
        filters = filters * 2 / (right - left)
    return filters.float()


class MelSpectrogram(nn.Module):
    """Spectrogram on the mel scale: Hann window, frames around multiples of the hop.

    Args:
        sample_rate: samples per second.
        n_fft: samples per transform.
        hop_length: samples from one frame to the next.
        num_mels: number of filters.
        f_min: where the first filter begins, in Hz.
        f_max: where the last filter ends, in Hz; half the sample rate if None.
        power: exponent of the magnitudes: 1 amplitude, 2 energy.
        norm: see `mel_filterbank`.
        scale: see `mel_filterbank`.
        drop_empty: leave out filters so narrow that no bin of the transform falls into them. They
            are zero whatever the signal; a mean over mels is diluted by them.

    Raises:
        ValueError: see `STFT` and `mel_filterbank`; or all filters are empty and to be left out.
    """

    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        *,
        hop_length: int,
        num_mels: int,
        f_min: float = 0.0,
        f_max: float | None = None,
        power: float = 1.0,
        norm: Literal["slaney"] | None = None,
        scale: Literal["htk", "slaney"] = "htk",
        drop_empty: bool = False,
    ) -> None:
        super().__init__()
        filters = mel_filterbank(
            sample_rate, n_fft, num_mels=num_mels, f_min=f_min, f_max=f_max, norm=norm, scale=scale
        )
        if drop_empty:
            filters = filters[filters.any(dim=1)]
        if len(filters) == 0:
            raise ValueError(
                f"none of {num_mels} mel filters from {f_min} Hz to {f_max} Hz holds a bin of "
                f"{n_fft} samples at {sample_rate} Hz"
            )
        self.register_buffer("filters", filters, persistent=False)
        self.stft = STFT(n_fft, hop_length)
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        """Mels, float32 [..., mels, samples // hop_length + 1], of waveforms [..., samples].

        Raises:
            ValueError: the waveform is too short to be reflected at its borders.
        """
        magnitudes = self.stft(x).abs()
        with torch.autocast(x.device.type, enabled=False):
            return self.filters.float() @ magnitudes.pow(self.power)


def fourier_convolution(n_fft: int, hop_length: int, *, causal: bool = False) -> Conv1d:
    """The real and the imaginary part of a short-time Fourier transform, as a convolution.

    So it takes streams, items of any lengths, and exported graphs without complex numbers. The
    channels of the output are the real parts of all bins, then their imaginary parts.

    Args:
        n_fft: samples of a transform, under a Hann window.
        hop_length: samples from one transform to the next.
        causal: whether a transform ends with its own hop; the signal then begins with zeros, and
            is mirrored at its ends otherwise.
    """
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi / n_fft * torch.outer(bins, torch.arange(n_fft, dtype=torch.float64))
    window = torch.hann_window(n_fft, dtype=torch.float64)
    basis = torch.cat([window * angle.cos(), -window * angle.sin()])
    mode: PadMode = "constant" if causal else "reflect"
    layer = Conv1d(
        1,
        len(basis),
        n_fft,
        stride=hop_length,
        bias=False,
        causal=causal,
        pad_mode=mode,
        norm="none",
    )
    del layer.conv.weight
    layer.conv.register_buffer("weight", basis.float().unsqueeze(1), persistent=False)
    return layer


def _hz_to_mel(hz: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 2595 * torch.log10(1 + hz / 700)
    above = torch.log(hz / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    bend = SLANEY_BREAK_HZ * SLANEY_MELS_PER_HZ
    return torch.where(hz < SLANEY_BREAK_HZ, hz * SLANEY_MELS_PER_HZ, bend + above)


def _mel_to_hz(mel: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    bend = SLANEY_BREAK_HZ * SLANEY_MELS_PER_HZ
    above = SLANEY_BREAK_HZ * torch.exp(SLANEY_LOG_STEP * (mel - bend))
    return torch.where(mel < bend, mel / SLANEY_MELS_PER_HZ, above)
