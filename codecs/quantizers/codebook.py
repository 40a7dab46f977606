"""Codebook: k-means initialisation, moving averages and revival, the same in all processes.

After van den Oord et al. (2017), EnCodec (Défossez et al., 2022) and, for revival by clustering,
CVQ-VAE (Zheng and Vedaldi, 2023). Deviations: a code and its
running count are stored, not a running sum, so that a code that nobody uses stays where it is
instead of being divided by a vanishing count; a revived code starts with the mean count and is not
overwritten in the same step; counts and sums are added over all processes before anything moves;
and every draw is a function of the number of updates, so that a training that is interrupted and
resumed draws the same.
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.distributed import offset_and_total, rank_and_size, summed
from intaglio.codecs.layers.tracing import exporting

SCORES_AT_ONCE = 1 << 22  # entries of a score matrix that `nearest` holds at a time: 16 MiB


def nearest(x: Tensor, codebook: Tensor, *, by_product: bool = False) -> Tensor:
    """Index of the nearest codebook row (Euclidean), int64 [vectors], of each row of ``x``.

    Args:
        x: [vectors, dim].
        codebook: [codes, dim].
        by_product: the row of the largest inner product instead.

    Distances are compared as x·c - |c|² / 2, one matrix product and no [vectors, codes, dim]
    tensor; long inputs go in slices, so memory does not grow with them. The slices share their
    memory: an allocator that got it back would not always find it again.
    """
    x, codebook = x.detach(), codebook.detach()
    if by_product:
        half_norm = codebook.new_zeros(codebook.shape[0])
    else:
        # read once: a copy of the squares takes as long as the product with a single vector
        half_norm = torch.linalg.vector_norm(codebook, dim=1).square_().mul_(-0.5)
    transposed = codebook.t()
    if exporting():
        return torch.addmm(half_norm, x, transposed).argmax(1)
    rows = max(1, SCORES_AT_ONCE // codebook.shape[0])
    ids = torch.empty(len(x), dtype=torch.int64, device=x.device)
    scores = x.new_empty(min(rows, len(x)), codebook.shape[0])
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        torch.addmm(half_norm, part, transposed, out=scores[: len(part)])
        torch.argmax(scores[: len(part)], 1, out=ids[first : first + rows])
    return ids


class Codebook(nn.Module):
    """Codes and their training state.

    Args:
        size: number of codes.
        dim: size of a code.
        decay: of the running means.
        kmeans_iterations: of `initialise`; 0 keeps the random codes.
        dead_below: running count per step below which a code may be replaced; 0 never.
        dead_share: a code is replaced only if its count is also below this share of the mean count,
            which is the number of vectors per code; None leaves ``dead_below`` alone.
        cosine: codes have length 1: those of a learned codebook when they are used, others always.
        learned: the optimizer moves the codes; only counts are updated here.
        revival: ``random`` replaces dead codes; ``clustering`` has none, and after every step
            pulls each code towards the vector nearest to it, as `clustering_pull` says.

    Attributes:
        codes: float32 [codes, dim].
        usage: running count of vectors a step of each code, over all processes, float32 [codes].
        initialised: whether `initialise` has been done, bool.
        share: running share of the vectors of each code, float32 [codes]; clustering only.
        updates: calls of `update` with finite values, int64; the seed of all draws.
    """

    codes: Tensor
    usage: Tensor
    share: Tensor
    initialised: Tensor
    updates: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        decay: float,
        kmeans_iterations: int,
        dead_below: float,
        dead_share: float | None = 0.1,
        cosine: bool = False,
        learned: bool = False,
        revival: Literal["random", "clustering"] = "random",
    ) -> None:
        super().__init__()
        self.decay = decay
        self.kmeans_iterations = kmeans_iterations
        self.dead_below = dead_below
        self.dead_share = dead_share
        self.cosine = cosine
        self.learned = learned
        self.revival = revival
        codes = self._normal(nn.init.kaiming_uniform_(torch.empty(size, dim)))
        if learned:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)
        self.register_buffer("usage", torch.ones(size))
        if revival == "clustering":
            self.register_buffer("share", torch.zeros(size))
        self.register_buffer("initialised", torch.tensor(kmeans_iterations == 0))
        self.register_buffer("updates", torch.tensor(0))

    @property
    def searched(self) -> Tensor:
        """The codes as vectors are compared with them, [codes, dim]."""
        return F.normalize(self.codes, dim=-1) if self._on_demand else self.codes

    def at(self, ids: Tensor) -> Tensor:
        """Codes of ids of any shape, as vectors are compared with them."""
        codes = F.embedding(ids, self.codes)
        return F.normalize(codes, dim=-1) if self._on_demand else codes

    @property
    def _on_demand(self) -> bool:
        """Whether codes are kept at any length and brought to length 1 when they are used."""
        return self.cosine and self.learned

    @torch.no_grad()
    def initialise(self, vectors: Tensor) -> None:
        """Set the codes to the k-means of the first vectors [vectors, dim] of all processes.

        Does nothing once done, and waits for another batch if a vector is not finite.
        """
        if self.initialised:
            return
        size = len(self.codes)
        broken = summed((~vectors.isfinite()).sum())
        total = offset_and_total(len(vectors), vectors.device)[1]
        if bool(broken) or total == 0:
            return
        generator = self._generator()
        means, hits = _drawn(vectors, size, generator), self.usage
        for _ in range(self.kmeans_iterations):
            sums, hits = self._statistics(vectors, nearest(vectors, means))
            if total >= size:  # there are enough to replace means without a vector
                means = _drawn(vectors, size, generator)
            found = self._normal(sums / hits.clamp(min=1).unsqueeze(1))
            means = torch.where((hits > 0).unsqueeze(1), found, means)
        self.codes.copy_(means)
        self.usage.copy_(hits)
        self.initialised.fill_(True)

    @torch.no_grad()
    def update(self, vectors: Tensor, ids: Tensor) -> None:
        """Count the codes of a training step, move them and replace the dead ones.

        A value that is not finite, in any process, leaves the state unchanged in all.

        Args:
            vectors: [vectors, dim].
            ids: their codes, int64 [vectors].
        """
        sums, hits = self._statistics(vectors, ids)
        good = sums.isfinite().all()
        usage = self.decay * self.usage + (1 - self.decay) * hits
        if not self.learned:
            pull = sums - hits.unsqueeze(1) * self.codes
            share = (1 - self.decay) / usage.clamp(min=1e-5).unsqueeze(1)
            self.codes.copy_(torch.where(good, self._normal(self.codes + share * pull), self.codes))
        self.usage.copy_(torch.where(good, usage, self.usage))
        self.updates += good
        if self.revival == "clustering":
            self._cluster(vectors, hits, good & (hits.sum() > 0))
        elif self.dead_below > 0:
            self._revive(vectors, (self.usage < self._smallest_usage()) & good)

    def _smallest_usage(self) -> Tensor:
        """Count below which a code is dead.

        Relative to the mean: with few vectors per code an absolute count would replace codes that
        are used as often as the others.
        """
        if self.dead_share is None:
            return self.usage.new_tensor(self.dead_below)
        return (self.dead_share * self.usage.mean()).clamp(max=self.dead_below)

    def _revive(self, vectors: Tensor, dead: Tensor) -> None:
        """Replace dead codes by random vectors of this step."""
        count = int(dead.sum())
        if count == 0 or offset_and_total(len(vectors), vectors.device)[1] == 0:
            return
        rows = dead.nonzero().squeeze(1)
        self.codes[rows] = _drawn(vectors, count, self._generator())
        self.usage[rows] = torch.maximum(self.usage.mean(), self._smallest_usage())

    def _cluster(self, vectors: Tensor, hits: Tensor, good: Tensor) -> None:
        """Pull each code towards the nearest vector of this step; rarely used ones more."""
        now = hits / hits.sum().clamp(min=1)
        share = self.decay * self.share + (1 - self.decay) * now
        self.share.copy_(torch.where(good, share, self.share))
        pull = clustering_pull(self.share, self.decay).unsqueeze(1)
        codes = self.codes + pull * (self._closest(vectors) - self.codes)
        codes = codes if self.learned else self._normal(codes)
        self.codes.copy_(torch.where(good, codes, self.codes))

    def _closest(self, vectors: Tensor) -> Tensor:
        """The vector of all processes that is nearest to each code, [codes, dim]."""
        rank, size = rank_and_size()
        codes = self.searched
        found, distance = torch.zeros_like(codes), torch.full_like(codes[:, 0], torch.inf)
        if len(vectors):
            found = vectors[nearest(codes, vectors)]
            distance = (found - codes).square().sum(1)
        if size == 1:
            return found
        distances = codes.new_zeros(size, len(codes))
        distances[rank] = distance
        mine = summed(distances).argmin(0) == rank
        return summed(torch.where(mine.unsqueeze(1), found, 0))

    def _statistics(self, vectors: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Sum and number of the vectors of each code over all processes."""
        local = vectors.new_zeros(len(self.codes), vectors.shape[1] + 1)
        local.index_add_(0, ids, F.pad(vectors, (0, 1), value=1.0))
        total = summed(local)
        return total[:, :-1], total[:, -1]

    def _normal(self, codes: Tensor) -> Tensor:
        return F.normalize(codes, dim=-1) if self.cosine else codes

    def _generator(self) -> Generator:
        return Generator().manual_seed(int(self.updates))


def clustering_pull(share: Tensor, decay: float) -> Tensor:
    """How far each code moves to its nearest vector: unused ones almost all the way, others hardly.

    exp(-10 share codes / (1 - decay) - 0.001), after Zheng and Vedaldi (2023).

    Args:
        share: running share of the vectors that each code has, [codes], in [0, 1].
        decay: of the running shares.
    """
    return torch.exp(-10 * share * len(share) / (1 - decay) - 1e-3)


def _drawn(vectors: Tensor, count: int, generator: Generator) -> Tensor:
    """Random rows of all processes' vectors, the same in each of them, [count, dim].

    Each row is drawn at most once if there are enough.
    """
    first, total = offset_and_total(len(vectors), vectors.device)
    if total >= count:
        rows = torch.randperm(total, generator=generator)[:count]
    else:
        rows = torch.randint(total, (count,), generator=generator)
    rows = rows.to(vectors.device) - first
    mine = (rows >= 0) & (rows < len(vectors))
    drawn = vectors.new_zeros(count, vectors.shape[1])
    drawn[mine] = vectors[rows[mine]]
    return summed(drawn)
