"""Codebook re-organisation of SimCodec (GenSE; Yao et al., ICLR 2025): two codebooks become one.

One large codebook of vectors collapses if it is trained from the start. So both halves of a vector
first have a codebook each, whose use is counted; then the pairs of the most used codes of both are
one codebook, an index of which is trained on.

Deviations: codes are moving averages and begin at the k-means of a batch, where the release trains
them by gradients and keeps them apart by a further loss; the use is a running count.
"""

import torch
from torch import Tensor

from intaglio.codecs.quantizers.base import Quantized, Quantizer
from intaglio.codecs.quantizers.codebook import Codebook, nearest
from intaglio.codecs.quantizers.product import ProductQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer


class RegroupedQuantizer(Quantizer):
    """Groups for some batches of a training, afterwards one codebook.

    What encodes and decodes is always the one codebook: during the first stage it is made anew of
    the groups after every batch.

    Args:
        dim: size of a latent vector, even.
        group_size: codes of each group.
        kept: how many codes of each group enter the one codebook, whose size is their product.
        group_batches: training batches before the re-organisation.
        decay: of the running means and counts.

    Attributes:
        batches: training batches of the first stage so far, int64.

    Raises:
        ValueError: an odd ``dim``, fewer than one batch, or more codes kept than there are.
    """

    losses = ("commitment",)
    batches: Tensor

    def __init__(
        self,
        dim: int,
        group_size: int = 1024,
        *,
        kept: tuple[int, int] = (128, 64),
        group_batches: int,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        if dim % 2 or group_batches < 1:
            raise ValueError(f"halves of {dim} channels, and {group_batches} batches, do not exist")
        if not 1 <= min(kept) <= max(kept) <= group_size:
            raise ValueError(f"of {group_size} codes of a group, {tuple(kept)} cannot be kept")
        first, second = kept
        self.dim, self.vocab = dim, (first * second,)
        self.kept, self.group_batches = (first, second), group_batches
        self.groups = ProductQuantizer(
            [VectorQuantizer(dim // 2, group_size, decay=decay) for _ in range(2)]
        )
        self.joint = VectorQuantizer(dim, first * second, decay=decay, kmeans_iterations=0)
        self.register_buffer("batches", torch.tensor(0))
        self._regroup()

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize; in training mode also update the codebooks. Losses: commitment.

        The values of the first stage are made of all codes of the groups, its ids of those that
        would be kept now.
        """
        if not self.training or int(self.batches) >= self.group_batches:
            return self.joint(latents, mask)
        halves = latents.detach().float().chunk(2, dim=-1)
        first, second = (
            nearest(half.flatten(0, 1), codes).view(half.shape[:2])
            for half, (codes, _) in zip(halves, self._kept(), strict=True)
        )
        found = self.groups(latents, mask)
        self.batches += 1
        self._regroup()
        return found._replace(ids=(first * self.kept[1] + second).unsqueeze(-1))

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, positions, 1]."""
        return self.joint.encode_ids(latents)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, positions, dim]."""
        return self.joint.decode_ids(ids)

    @torch.no_grad()
    def _kept(self) -> list[tuple[Tensor, Tensor]]:
        """The most used codes of both groups, [kept, dim / 2], and the use of each, [kept]."""
        books: list[Codebook] = [part._codebook for part in self.groups.parts]  # type: ignore
        found = []
        for book, count in zip(books, self.kept, strict=True):
            usage, index = book.usage.topk(count)
            found.append((book.codes[index], usage))
        return found

    @torch.no_grad()
    def _regroup(self) -> None:
        """Make the one codebook: every pair of what is kept, with the use of independent halves."""
        (first, uses), (second, others) = self._kept()
        pairs = [first.repeat_interleave(len(second), 0), second.repeat(len(first), 1)]
        self.joint._codebook.codes.copy_(torch.cat(pairs, dim=1))
        use = torch.outer(uses, others) / others.sum().clamp(min=1e-5)
        self.joint._codebook.usage.copy_(use.flatten())
