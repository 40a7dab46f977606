"""Bottleneck encoder: a causal transformer after any encoder, and a lower rate (Mimi, 2024)."""

from typing import Any

from torch import Tensor

from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.layers.causal_transformer import CausalTransformer
from intaglio.codecs.layers.conv1d import Conv1d
from intaglio.codecs.streaming.streams import Stream, chain


class BottleneckEncoder(AudioEncoder):
    """Latents of another encoder, with the context of a window of earlier ones, at a lower rate.

    Args:
        encoder: whose latents are taken; causal if the whole should be.
        stride: its latents for each latent, reduced by a convolution whose border repeats the
            first; 1 for none.
        depth: blocks of the transformer.
        heads: of its attention.
        window: of its attention, in latents of the encoder.
        hidden: size of its two-layer networks; 4 times that of a latent if None.
        layer_scale: see `CausalTransformer`.
    """

    def __init__(
        self,
        encoder: AudioEncoder,
        *,
        stride: int = 2,
        depth: int = 8,
        heads: int = 8,
        window: int = 250,
        hidden: int | None = None,
        layer_scale: float | None = 0.01,
    ) -> None:
        super().__init__()
        self.dim = encoder.dim
        self.hop_length = encoder.hop_length * stride
        self.causal = encoder.causal
        self.first_latents = -(-encoder.first_latents // stride)
        self.encoder = encoder
        self.transformer = CausalTransformer(
            self.dim, depth, heads, window=window, hidden=hidden, layer_scale=layer_scale
        )
        self.down = None
        if stride > 1:
            self.down = Conv1d(
                self.dim,
                self.dim,
                2 * stride,
                stride=stride,
                bias=False,
                causal=True,
                pad_mode="replicate",
                norm="none",
            )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Latents, [batch, ceil(samples / hop_length), dim]; see `AudioEncoder`."""
        y = self.transformer(self.encoder(x, lengths))
        if self.down is None:
            return y
        if lengths is not None:
            lengths = -(-lengths // self.encoder.hop_length)
        return self.down(y.transpose(1, 2), lengths).transpose(1, 2)

    def stream(self) -> Stream | None:
        """The encoder, block by block, if the inner one can be."""
        inner = self.encoder.stream()
        parts: list[Any] = [self.transformer] + ([] if self.down is None else [self.down])
        return None if inner is None else chain(inner, *parts)
