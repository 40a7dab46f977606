"""Bottleneck decoder: a higher rate and a causal transformer before any decoder (Mimi, 2024)."""

from typing import Any

from torch import Tensor

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.layers.causal_transformer import CausalTransformer
from intaglio.codecs.layers.transposed1d import ConvTranspose1d
from intaglio.codecs.streaming.state import State
from intaglio.codecs.streaming.streams import Stream, chain


class BottleneckDecoder(AudioDecoder):
    """Latents at the rate of another decoder, with the context of earlier ones, for that decoder.

    Args:
        decoder: what gives the waveform; causal if the whole should be.
        stride: its latents for each latent, by a transposed convolution of each channel alone, as
            released; 1 for none.
        depth: blocks of the transformer.
        heads: of its attention.
        window: of its attention, in latents of the decoder.
        hidden: size of its two-layer networks; 4 times that of a latent if None.
        layer_scale: see `CausalTransformer`.
    """

    def __init__(
        self,
        decoder: AudioDecoder,
        *,
        stride: int = 2,
        depth: int = 8,
        heads: int = 8,
        window: int = 250,
        hidden: int | None = None,
        layer_scale: float | None = 0.01,
    ) -> None:
        super().__init__()
        self.dim = decoder.dim
        self.hop_length = decoder.hop_length * stride
        self.causal, self.delay = decoder.causal, decoder.delay
        self.first_latents = -(-decoder.first_latents // stride)
        self.stride = stride
        self.up = None
        if stride > 1:
            self.up = ConvTranspose1d(
                self.dim,
                self.dim,
                stride,
                causal=True,
                norm="none",
                groups=self.dim,
                bias=False,
            )
        self.transformer = CausalTransformer(
            self.dim, depth, heads, window=window, hidden=hidden, layer_scale=layer_scale
        )
        self.decoder = decoder

    @property
    def last_weight(self) -> Tensor | None:
        """Weight of the decoder's last layer."""
        return self.decoder.last_weight

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Tensor:
        """Waveform [batch, channels, positions * hop_length]; see `AudioDecoder`."""
        if self.up is not None:
            lengths = None if mask is None else mask.sum(1)
            latents = self.up(latents.transpose(1, 2), lengths).transpose(1, 2)
            mask = None if mask is None else mask.repeat_interleave(self.stride, dim=1)
        return self.decoder(self.transformer(latents), mask)

    def rest(self, state: State) -> Tensor:
        """What the decoder holds back."""
        prefix = "decoder."
        return self.decoder.rest({name.removeprefix(prefix): v for name, v in state.items()})

    def stream(self) -> Stream | None:
        """The decoder, block by block, if the inner one can be."""
        inner = self.decoder.stream()
        parts: list[Any] = [self.transformer, inner]
        parts = parts if self.up is None else [self.up, *parts]
        return None if inner is None else chain(*parts)
