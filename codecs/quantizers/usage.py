"""How well a codebook is used: perplexity and counts."""

import torch
from torch import Tensor


def perplexity(ids: Tensor, codebook_size: int) -> Tensor:
    """Exponential of the entropy of the ids: 1 (one code) to codebook_size (all alike).

    Ids of a codebook of more than 2 ** 16 codes are sorted instead of counted one by one.

    Args:
        ids: integers of any shape in [0, codebook_size).
        codebook_size: number of codes.
    """
    if codebook_size > 1 << 16:
        return counts_perplexity(ids.unique(return_counts=True)[1])
    return counts_perplexity(torch.bincount(ids.reshape(-1), minlength=codebook_size))


def counts_perplexity(counts: Tensor) -> Tensor:
    """Perplexity of a histogram of ids, [codes]."""
    share = counts / counts.sum().clamp(min=1)
    return torch.exp(-torch.special.xlogy(share, share).sum())
