"""Split residual quantization (Mimi; Défossez et al., 2024): semantic and acoustic levels.

Both quantize the same latents, each in a space of its own; the results are added. What the first
levels carry is so not the coarsest part of the waveform, and may be trained to be something else:
the features of a speech network (`FeatureDistillation` with ``semantic``).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intaglio.codecs.quantizers.base import Quantized, Quantizer


class SplitQuantizer(Quantizer):
    """Two quantizers of the same latents; the semantic one gives the first levels.

    Args:
        dim: size of a latent.
        semantic: gives the first levels.
        acoustic: gives the others.
        bypass: share of the items of a training batch that are not quantized, so that the decoder
            also learns from exact latents.

    Raises:
        ValueError: quantizers that are no streams of single latents, or a share outside [0, 1].
    """

    def __init__(
        self, dim: int, semantic: Quantizer, acoustic: Quantizer, *, bypass: float = 0.0
    ) -> None:
        super().__init__()
        if (semantic.stride, acoustic.stride) != (1, 1) or not 0 <= bypass <= 1:
            raise ValueError(
                f"a split quantizer needs strides of 1 and a bypass in [0, 1], got strides "
                f"{semantic.stride} and {acoustic.stride} and a bypass of {bypass}"
            )
        self.dim = dim
        self.vocab = (*semantic.vocab, *acoustic.vocab)
        self.semantic, self.acoustic = semantic, acoustic
        self.bypass = bypass
        halves = {"semantic": semantic, "acoustic": acoustic}
        self.project_in = nn.ModuleDict(
            {name: nn.Linear(dim, half.input_dim, bias=False) for name, half in halves.items()}
        )
        self.project_out = nn.ModuleDict(
            {name: nn.Linear(half.dim, dim, bias=False) for name, half in halves.items()}
        )

    @property
    def level_groups(self) -> tuple[int, ...]:
        """Groups of each level, the semantic ones first."""
        return (*self.semantic.level_groups, *self.acoustic.level_groups)

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize both ways; losses and statistics are means over all levels."""
        latents = latents.float()
        kept = torch.ones(len(latents), 1, 1, dtype=torch.bool, device=latents.device)
        if self.training and self.bypass:
            kept = torch.rand(len(latents), 1, 1, device=latents.device) >= self.bypass
        values, results = [], []
        with torch.autocast(latents.device.type, enabled=False):
            for name, half in (("semantic", self.semantic), ("acoustic", self.acoustic)):
                projected = self.project_in[name](latents)
                result = half(projected, mask)
                passed = torch.where(kept, result.values, projected)
                values.append(self.project_out[name](passed))
                results.append(result)
        counts = [len(half.level_groups) for half in (self.semantic, self.acoustic)]
        return joined(results, counts, values)

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids of all levels, int64 [batch, positions, groups]."""
        return self.encode_levels(latents, len(self.level_groups))

    def encode_levels(self, latents: Tensor, levels: int) -> Tensor:
        """Ids of the first levels; the others are not computed."""
        own = len(self.semantic.level_groups)
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.float()
            first = self.project_in["semantic"](latents)
            ids = [self.semantic.encode_levels(first, min(levels, own))]
            if levels > own:
                rest = self.project_in["acoustic"](latents)
                ids.append(self.acoustic.encode_levels(rest, levels - own))
        return torch.cat(ids, dim=-1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, the sum over the levels that ``ids`` has groups for."""
        groups = len(self.semantic.vocab)
        with torch.autocast(ids.device.type, enabled=False):
            y = self.project_out["semantic"](self.semantic.decode_ids(ids[..., :groups]))
            if ids.shape[-1] > groups:
                y = y + self.project_out["acoustic"](self.acoustic.decode_ids(ids[..., groups:]))
        return y


def joined(results: Sequence[Quantized], counts: Sequence[int], values: list[Tensor]) -> Quantized:
    """Semantic levels and acoustic ones as one result, whose values are the sum.

    Args:
        results: of both quantizers, whose losses and statistics have the same names.
        counts: levels of both, by which their losses and statistics are averaged.
        values: what both add to the output.
    """
    losses, stats = (
        {
            name: sum(
                count / sum(counts) * getattr(result, kind)[name]
                for count, result in zip(counts, results, strict=True)
            )
            for name in getattr(results[0], kind)
        }
        for kind in ("losses", "stats")
    )
    ids = torch.cat([result.ids for result in results], dim=-1)
    return Quantized(values[0] + values[1], ids, losses, stats, semantic=values[0])
