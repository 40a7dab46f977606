"""Product quantization (Jégou et al., 2011): parts of a latent vector quantized separately.

With residual quantizers as parts it is grouped RVQ (HiFi-Codec; Yang et al., 2023).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantized, Quantizer, mean_terms


class ProductQuantizer(Quantizer):
    """Quantizers side by side. Losses and statistics are means over the parts.

    Args:
        parts: quantizers; their latent sizes add up to that of the whole. The ids of the parts
            are concatenated.

    Raises:
        ValueError: no parts, or parts of different strides.
    """

    def __init__(self, parts: Sequence[Quantizer]) -> None:
        super().__init__()
        if len({part.stride for part in parts}) != 1:
            raise ValueError(f"parts need one stride, got {[part.stride for part in parts]}")
        self.parts = nn.ModuleList(parts)
        self.sizes = [part.dim for part in parts]
        self.dim = sum(self.sizes)
        self.stride = parts[0].stride
        self.vocab = tuple(size for part in parts for size in part.vocab)
        self.groups = [len(part.vocab) for part in parts]

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize the parts."""
        quantized = [
            part(piece, mask)
            for part, piece in zip(self.parts, latents.split(self.sizes, dim=-1), strict=True)
        ]
        return Quantized(
            torch.cat([part.values for part in quantized], -1),
            torch.cat([part.ids for part in quantized], -1),
            mean_terms([part.losses for part in quantized]),
            mean_terms([part.stats for part in quantized]),
        )

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, groups]."""
        pieces = latents.split(self.sizes, dim=-1)
        return torch.cat([p.encode_ids(x) for p, x in zip(self._parts(), pieces, strict=True)], -1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, [batch, positions * stride, dim]."""
        pieces = ids.split(self.groups, dim=-1)
        return torch.cat([p.decode_ids(x) for p, x in zip(self._parts(), pieces, strict=True)], -1)

    def _parts(self) -> list[Quantizer]:
        return list(self.parts)  # type: ignore[arg-type]
