"""Quantizer: continuous latents to discrete ids and back."""

from typing import NamedTuple

from torch import Tensor

from intaglio.codecs.part import Part


class Quantized(NamedTuple):
    """What a quantizer gives.

    Attributes:
        values: quantized latents, [batch, positions, dim]; in training with a straight-through
            gradient.
        ids: int64 [batch, positions, groups].
        losses: scalar terms of the training objective by name (``commitment`` …), not weighted.
        stats: scalars to log (``perplexity`` …).
    """

    values: Tensor
    ids: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Tensor]


class Quantizer(Part):
    """Base of all quantizers. Sub-classes set ``dim`` and ``vocab``.

    Attributes:
        dim: size of a latent vector.
        vocab: codebook size of each group.

    `forward` trains (and updates codebooks, in training mode only); `encode_ids` and `decode_ids`
    are the inference path: plain tensor operations in float32, exportable, never changing any
    state.
    """

    dim: int
    vocab: tuple[int, ...]

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize latents.

        Args:
            latents: [batch, positions, dim].
            mask: bool [batch, positions], True where a position belongs to its item; all if None.
        """
        raise NotImplementedError

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, groups], of latents [batch, positions, dim]."""
        raise NotImplementedError

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents [batch, positions, dim] of ids, int64 [batch, positions, groups]."""
        raise NotImplementedError
