"""SEANet decoder (Tagliasacchi et al., 2020) as EnCodec uses it: the encoder's mirror image."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.layers.conv1d import Conv1d, Norm, PadMode, mask_time
from intaglio.codecs.layers.lstm import ResidualLSTM
from intaglio.codecs.layers.residual1d import SEANetBlock
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.streaming.streams import Stream, chain


class SEANetDecoder(AudioDecoder):
    """Transposed convolutions that raise the rate and halve the channels, stage by stage.

    Args:
        dim: size of a latent vector.
        strides: reductions of the encoder, in its order; undone from the last to the first.
        channels: waveform channels.
        width: channels before the last convolution; each earlier stage has twice as many.
        kernel_size: taps of the first and the last convolution.
        last_kernel_size: taps of the last convolution, if they are others (3 in Mimi).
        residual_kernel_size: taps of the residual blocks.
        lstm_layers: layers of the recurrent part; 0 leaves it out.
        causal: see `SEANetEncoder`.
        pad_mode: see `SEANetEncoder`.
        true_skip: see `SEANetEncoder`.
        norm: ``weight``, ``group`` or ``none``; see `Conv1d`.
    """

    def __init__(
        self,
        dim: int = 128,
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
        last_kernel_size: int | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.hop_length = math.prod(strides)
        self.causal = causal and norm != "group"
        self.first_latents = kernel_size if pad_mode == "reflect" else 1
        wide = width * 2 ** len(strides)
        self.stem = Conv1d(dim, wide, kernel_size, causal=causal, pad_mode=pad_mode, norm=norm)
        self.lstm = ResidualLSTM(wide, lstm_layers) if lstm_layers else None
        self.strides = tuple(reversed(strides))
        self.ups = nn.ModuleList()
        self.residuals = nn.ModuleList()
        for stride in self.strides:
            up = ConvTranspose1d(wide, wide // 2, stride, causal=causal, norm=norm)
            wide //= 2
            residual = SEANetBlock(
                wide,
                residual_kernel_size,
                causal=causal,
                pad_mode=pad_mode,
                norm=norm,
                true_skip=true_skip,
            )
            self.ups.append(up)
            self.residuals.append(residual)
        last_kernel_size = last_kernel_size or kernel_size
        self.head = Conv1d(
            wide, channels, last_kernel_size, causal=causal, pad_mode=pad_mode, norm=norm
        )
        self.activation = nn.ELU()

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, channels, positions * hop_length]; see `AudioDecoder`."""
        lengths = None if mask is None else mask.sum(1)
        x = self.stem(latents.transpose(1, 2), lengths)
        if self.lstm is not None:
            x = self.lstm(mask_time(x, lengths))
        for up, residual, stride in zip(self.ups, self.residuals, self.strides, strict=True):
            x = up(self.activation(x), lengths)
            lengths = None if lengths is None else lengths * stride
            x = residual(x, lengths)
        return self.head(self.activation(x), lengths)

    def stream(self) -> Stream | None:
        """The decoder, block by block; None with group normalisation, which needs whole signals."""
        if self.stem.norm is not None:
            return None
        parts: list[Any] = [self.stem]
        parts += [] if self.lstm is None else [self.lstm]
        for up, residual in zip(self.ups, self.residuals, strict=True):
            parts += [self.activation, up, residual]
        return chain(*parts, self.activation, self.head)
