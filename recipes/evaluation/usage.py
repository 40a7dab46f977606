"""How a codec uses its codebooks, and the bits that its tokens really carry."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.quantizers.usage import counts_perplexity
from intaglio.codecs.tokens import Tokens


class Usage(NamedTuple):
    """Statistics of the ids of one group (residual level, sub-code, latent dimension).

    Attributes:
        counts: int64 [codebook size], how often each code occurs.
        share: distinct codes over the codebook size; with few tokens it cannot reach 1.
        entropy: of the codes, in bits: what an ideal coder that knows the histogram spends on one.
        perplexity: 2 to the power of the entropy: an evenly used codebook of that size carries as
            much.
    """

    counts: Tensor
    share: float
    entropy: float
    perplexity: float


def usage(counts: Tensor) -> Usage:
    """Statistics of a histogram, int64 [codebook size].

    Raises:
        ValueError: the histogram is empty.
    """
    if int(counts.sum()) == 0:
        raise ValueError(f"no codes in a histogram of {counts.numel()} entries")
    perplexity = float(counts_perplexity(counts.double()))
    share = int((counts > 0).sum()) / counts.numel()
    return Usage(counts, share, math.log2(perplexity), perplexity)


def usage_of(tokens: Sequence[Tokens]) -> list[Usage]:
    """Statistics of each group over the real positions of many token records of one codec.

    Raises:
        ValueError: there are no tokens, or they are of different vocabularies.
    """
    vocabularies = {one.vocab for one in tokens}
    if len(vocabularies) != 1:
        raise ValueError(f"tokens of one vocabulary are needed, got {sorted(vocabularies)}")
    (vocab,) = vocabularies
    ids = torch.cat([one.ids[one.mask] for one in tokens])
    return [usage(ids[:, group].bincount(minlength=size)) for group, size in enumerate(vocab)]


def reached(groups: Sequence[Usage]) -> float:
    """Share of the codes that occur of those that could: a few tokens cannot use many codes.

    Mean over the groups of the distinct codes over the tokens or the codebook, which is smaller.
    """
    shares = [
        int((group.counts > 0).sum()) / min(int(group.counts.sum()), len(group.counts))
        for group in groups
    ]
    return math.fsum(shares) / len(shares)


def entropy_rate(groups: Sequence[Usage], frame_rate: float) -> float:
    """Bits per second that the tokens carry by their histograms, ``frame_rate`` positions a second.

    At most the codec's nominal rate; the gap is what entropy coding without context would save.
    """
    return frame_rate * math.fsum(group.entropy for group in groups)


def usage_lines(groups: Sequence[Usage]) -> list[str]:
    """A line for each group."""
    return [
        f"codebook {number}: {int((group.counts > 0).sum())} of {len(group.counts)} codes used "
        f"({group.share:.1%}), perplexity {group.perplexity:.0f}, entropy {group.entropy:.2f} bits"
        for number, group in enumerate(groups, start=1)
    ]


def usage_record(groups: Sequence[Usage]) -> dict[str, list[float]]:
    """Fields of a JSON record: a number for each group."""
    return {
        "codes_used": [group.share for group in groups],
        "perplexity": [group.perplexity for group in groups],
        "entropy_bits": [group.entropy for group in groups],
    }
