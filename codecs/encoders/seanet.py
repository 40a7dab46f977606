"""SEANet encoder (Tagliasacchi et al., 2020) as EnCodec and WavTokenizer use it, causal or not."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.conv1d import Conv1d, Norm, PadMode, mask_time
from intaglio.codecs.layers.lstm import ResidualLSTM
from intaglio.codecs.layers.residual1d import SEANetBlock
from intaglio.codecs.streaming.streams import Stream, chain


class SEANetEncoder(AudioEncoder):
    """Convolutions that halve the rate and double the channels, stage by stage.

    Args:
        dim: size of a latent vector.
        strides: reduction of each stage, first stage first; their product is the hop length.
        channels: waveform channels.
        width: channels of the first convolution; doubles at each stage.
        kernel_size: taps of the first and the last convolution.
        last_kernel_size: taps of the last convolution, if they are others (3 in Mimi).
        residual_kernel_size: taps of the residual blocks.
        lstm_layers: layers of the recurrent part; 0 leaves it out.
        causal: whether a latent may see only samples up to the end of its own hop.
        pad_mode: ``reflect`` (EnCodec, WavTokenizer) or ``constant``. Mirrored samples come from
            the other side, so ``reflect`` is not strictly causal in the first latents.
        true_skip: whether residual blocks add their input itself instead of a 1 × 1 convolution of
            it.
        norm: ``weight``, ``group`` or ``none``; see `Conv1d`.
        final_norm: whether to normalise each latent vector to mean 0 and variance 1 (layer
            normalisation without weights), so that a fixed grid such as FSQ's fits from the start.
    """

    def __init__(
        self,
        dim: int = 512,
        strides: Sequence[int] = (2, 4, 5, 8),
        *,
        channels: int = 1,
        width: int = 32,
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        lstm_layers: int = 2,
        causal: bool = False,
        pad_mode: PadMode = "reflect",
        true_skip: bool = False,
        norm: Norm = "weight",
        final_norm: bool = False,
        last_kernel_size: int | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = math.prod(strides)
        self.causal = causal and norm != "group"
        self.first_latents = 1 if pad_mode != "reflect" else max(2, last_kernel_size or kernel_size)
        self.stem = Conv1d(
            channels, width, kernel_size, causal=causal, pad_mode=pad_mode, norm=norm
        )
        self.strides = tuple(strides)
        self.residuals = nn.ModuleList()
        self.downs = nn.ModuleList()
        for stride in strides:
            residual = SEANetBlock(
                width,
                residual_kernel_size,
                causal=causal,
                pad_mode=pad_mode,
                norm=norm,
                true_skip=true_skip,
            )
            down = Conv1d(
                width,
                2 * width,
                2 * stride,
                stride=stride,
                causal=causal,
                pad_mode=pad_mode,
                norm=norm,
            )
            self.residuals.append(residual)
            self.downs.append(down)
            width *= 2
        self.lstm = ResidualLSTM(width, lstm_layers) if lstm_layers else None
        last_kernel_size = last_kernel_size or kernel_size
        self.head = Conv1d(
            width, dim, last_kernel_size, causal=causal, pad_mode=pad_mode, norm=norm
        )
        self.norm = nn.LayerNorm(dim, elementwise_affine=False) if final_norm else nn.Identity()
        self.activation = nn.ELU()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, ceil(samples / hop_length), dim]; see `AudioEncoder`."""
        x = self.stem(x, lengths)
        for residual, down, stride in zip(self.residuals, self.downs, self.strides, strict=True):
            x = down(self.activation(residual(x, lengths)), lengths)
            if lengths is not None:
                lengths = -(-lengths // stride)
        if self.lstm is not None:
            x = self.lstm(mask_time(x, lengths))
        return self._normed(self.head(self.activation(x), lengths)).transpose(1, 2)

    def stream(self) -> Stream | None:
        """The encoder, block by block; None with group normalisation, which needs whole signals."""
        if self.stem.norm is not None:
            return None
        parts: list[Any] = [self.stem]
        for residual, down in zip(self.residuals, self.downs, strict=True):
            parts += [residual, self.activation, down]
        parts += [] if self.lstm is None else [self.lstm]
        return chain(*parts, self.activation, self.head, self._normed)

    def _normed(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)
