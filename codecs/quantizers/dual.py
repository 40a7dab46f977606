"""Dual quantization (LM-SPT; Jo et al., 2026): semantic and acoustic levels of two latents.

The semantic levels quantize the latents of an encoder of their own; the acoustic ones what these
leave of the latents of another (`intaglio.codecs.encoders.dual`). Deviation: what is left sends no
gradient to the semantic levels, as nowhere in this package.
"""

import torch
from torch import Tensor

from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.quantizers.split import joined


class DualQuantizer(Quantizer):
    """Two quantizers of the halves of a latent; the semantic one gives the first levels.

    Args:
        semantic: quantizes the first channels.
        acoustic: quantizes the others, less the semantic values; of the same size.
        semantic_only: share of the items of a training batch that get the semantic values alone, so
            that the decoder also learns from these.

    Raises:
        ValueError: quantizers of different sizes or that are no streams of single latents, or a
            share outside [0, 1].
    """

    def __init__(
        self, semantic: Quantizer, acoustic: Quantizer, *, semantic_only: float = 0.0
    ) -> None:
        super().__init__()
        sizes = [(half.input_dim, half.dim, half.stride) for half in (semantic, acoustic)]
        if any(size != (semantic.dim, semantic.dim, 1) for size in sizes):
            raise ValueError(
                "a dual quantizer needs two of one latent size and strides of 1, got (input, "
                f"output, stride) {sizes[0]} and {sizes[1]}"
            )
        if not 0 <= semantic_only <= 1:
            raise ValueError(f"semantic_only is a share in [0, 1], not {semantic_only}")
        self.dim = semantic.dim
        self.vocab = (*semantic.vocab, *acoustic.vocab)
        self.semantic, self.acoustic = semantic, acoustic
        self.semantic_only = semantic_only

    @property
    def input_dim(self) -> int:
        """Size of the latents of both encoders together."""
        return 2 * self.dim

    @property
    def level_groups(self) -> tuple[int, ...]:
        """Groups of each level, the semantic ones first."""
        return (*self.semantic.level_groups, *self.acoustic.level_groups)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize both; losses and statistics are means over all levels."""
        with torch.autocast(latents.device.type, enabled=False):
            first, second = latents.float().chunk(2, dim=-1)
            semantic = self.semantic(first, mask)
            acoustic = self.acoustic(second - semantic.values.detach(), mask)
            detail = acoustic.values
            if self.training and self.semantic_only:
                drawn = torch.rand(len(latents), 1, 1, device=latents.device)
                detail = detail * (drawn >= self.semantic_only)
        counts = [len(half.level_groups) for half in (self.semantic, self.acoustic)]
        return joined([semantic, acoustic], counts, [semantic.values, detail])

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids of all levels, int64 [batch, positions, groups]."""
        return self.encode_levels(latents, len(self.level_groups))

    def encode_levels(self, latents: Tensor, levels: int) -> Tensor:
        """Ids of the first levels; the others are not computed."""
        own = len(self.semantic.level_groups)
        with torch.autocast(latents.device.type, enabled=False):
            first, second = latents.float().chunk(2, dim=-1)
            if levels <= own:
                return self.semantic.encode_levels(first, levels)
            ids = self.semantic.encode_ids(first)
            left = second - self.semantic.decode_ids(ids)
            return torch.cat([ids, self.acoustic.encode_levels(left, levels - own)], dim=-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, the sum over the levels that ``ids`` has groups for."""
        groups = len(self.semantic.vocab)
        with torch.autocast(ids.device.type, enabled=False):
            y = self.semantic.decode_ids(ids[..., :groups])
            if ids.shape[-1] > groups:
                y = y + self.acoustic.decode_ids(ids[..., groups:])
        return y
