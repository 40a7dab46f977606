"""Multi-scale residual quantization of a square grid (VAR; Tian et al., 2024).

The grid is quantized at a few sizes, the coarsest first. Each scale averages what is left of the
grid down to its size, quantizes it with the same codebook, enlarges the codes bicubically, smooths
them by a convolution and adds them to the sum. The sum after every scale is trained to equal the
grid.

Deviations: averaging and enlarging are products with fixed matrices, made once from torch's own
``area`` and ``bicubic`` interpolation; they export to every format and their gradients are
deterministic on GPUs. A codebook that learns by moving averages gets the vectors of all scales of a
step at once.
"""

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.tracing import exporting
from intaglio.codecs.quantizers.base import Quantized, Quantizer, straight_through
from intaglio.codecs.quantizers.usage import perplexity


class MultiScaleQuantizer(Quantizer):
    """One quantizer at several sizes of a grid.

    Latents are the cells of a grid of ``scales[-1]`` rows and columns, row by row; ids are those of
    the scales, concatenated: the sum of the squared scales in all. `decode_ids` takes any
    first scales.

    Losses: ``commitment`` and ``codebook``, mean squares of the grid minus the sum up to each
    scale, the means over the scales; the first moves the grid, the second the sum (the convolutions
    and, if they learn by gradients, the codes). Stats: the perplexity of each scale and their mean.

    Args:
        inner: quantizer of single vectors, such as a `VectorQuantizer` with ``update="gradient"``.
        scales: rows of the grid at each scale; the last is that of the latents.
        convolutions: number of convolutions; each scale has the nearest one (`nearest_tick`).
        share: of the convolution's output in what is added; the rest is its input.

    Raises:
        ValueError: scales that do not increase, no convolutions, or an inner quantizer
            of a stride.
    """

    losses = ("commitment", "codebook")
    fixed_positions = True

    def __init__(
        self,
        inner: Quantizer,
        scales: Sequence[int] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
        *,
        convolutions: int = 4,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        if not scales or list(scales) != sorted(scales) or scales[0] < 1 or convolutions < 1:
            raise ValueError(
                f"need increasing scales and a convolution, got {list(scales)} and {convolutions}"
            )
        if inner.stride != 1 or inner.input_dim != inner.dim:
            raise ValueError(
                f"the inner quantizer takes {inner.stride} latents of {inner.input_dim} numbers a "
                f"position; one of {inner.dim} is needed"
            )
        self.inner = inner
        self.dim = inner.dim
        self.vocab = inner.vocab
        self.scales = tuple(scales)
        self.share = share
        self.side = scales[-1]
        self.chosen = [nearest_tick(n, len(scales), convolutions) for n in range(len(scales))]
        self.phi = nn.ModuleList(
            nn.Conv2d(self.dim, self.dim, 3, padding=1) for _ in range(convolutions)
        )
        self.resize = nn.ModuleList(Resize(self.side, size) for size in scales)

    @property
    def positions(self) -> tuple[int, ...]:
        """Number of ids of the first scale, of the first two…: where a prefix may end."""
        return tuple(itertools.accumulate(size * size for size in self.scales))

    def positions_of(self, latents: int) -> int:
        """Ids of all scales; only one number of latents is possible."""
        return self.positions[-1]

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Quantized:
        """Quantize scale by scale.

        Raises:
            ValueError: another number of latents, or a mask that leaves some out.
        """
        if mask is not None and not bool(mask.all()):
            raise ValueError("a grid cannot be quantized in part: the mask leaves latents out")
        with torch.autocast(latents.device.type, enabled=False):
            grid = self._grid(latents)
            ids, cells, sums = zip(*self._scales(grid.nan_to_num(0, 0, 0)), strict=True)
            if self.training:  # the training state of the inner quantizer: counts, running means
                with torch.no_grad():
                    self.inner(torch.cat(cells, dim=1))
            terms = [(F.mse_loss(grid, s.detach()), F.mse_loss(s, grid.detach())) for s in sums]
            commitment, codebook = (torch.stack(term).mean() for term in zip(*terms, strict=True))
            values = _cells(straight_through(grid, sums[-1]))
        losses = {"commitment": commitment, "codebook": codebook}
        return Quantized(values, torch.cat(ids, dim=1), losses, self._usage(ids))

    def encode_ids(self, latents: Tensor) -> Tensor:
        """Ids, int64 [batch, sum of the squared scales, groups]."""
        with torch.autocast(latents.device.type, enabled=False):
            return torch.cat([ids for ids, *_ in self._scales(self._grid(latents))], dim=1)

    def decode_ids(self, ids: Tensor) -> Tensor:
        """Latents, float32 [batch, side * side, dim], of the ids of the first scales.

        Raises:
            ValueError: the ids end inside a scale.
        """
        with torch.autocast(ids.device.type, enabled=False):
            return _cells(list(self._sums(ids))[-1])

    def sums_before(self, ids: Tensor) -> Tensor:
        """Input of a generator for each cell of the scales after the first.

        Before a scale is drawn, that is the sum up to the scale before it, averaged down to its
        size: float32 [batch, cells of the second scale up to the one after those given, dim].

        Args:
            ids: of the first scales, not of the last.

        Raises:
            ValueError: the ids end inside a scale, or are those of all scales.
        """
        if self._count(ids.shape[1]) == len(self.scales):
            raise ValueError(f"no scale comes after the {len(self.scales)} of these ids")
        with torch.autocast(ids.device.type, enabled=False):
            sums = zip(self._sums(ids), self._resizes()[1:], strict=False)
            return torch.cat([_cells(resize.down(total)) for total, resize in sums], dim=1)

    def _count(self, positions: int) -> int:
        """Number of scales with this many ids."""
        if positions not in self.positions:
            raise ValueError(
                f"{positions} ids do not fill whole scales, which end at {list(self.positions)}"
            )
        return self.positions.index(positions) + 1

    def _sums(self, ids: Tensor) -> Iterator[Tensor]:
        """The sum up to each of the first scales, [batch, dim, side, side]."""
        count = len(self.scales)
        if not exporting():  # an exported decoder takes the ids of all scales
            count = self._count(ids.shape[1])
        total = None
        for number, part in enumerate(ids.split([n * n for n in self.scales[:count]], dim=1)):
            added = self._added(part, number)
            total = added if total is None else total + added
            yield total

    def _scales(self, grid: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Ids of each scale, the vectors that were quantized, and the sum up to the scale."""
        rest, total = grid.detach(), None
        for number, resize in enumerate(self._resizes()):
            cells = _cells(resize.down(rest))
            ids = self.inner.encode_ids(cells)
            added = self._added(ids, number)
            rest = rest - added.detach()
            total = added if total is None else total + added
            yield ids, cells, total

    def _added(self, ids: Tensor, number: int) -> Tensor:
        """What the ids of a scale add to the sum, [batch, dim, side, side]."""
        size = self.scales[number]
        codes = self.inner.decode_ids(ids).transpose(1, 2).unflatten(2, (size, size))
        large = self._resizes()[number].up(codes)
        return (1 - self.share) * large + self.share * self.phi[self.chosen[number]](large)

    def _grid(self, latents: Tensor) -> Tensor:
        if not exporting() and latents.shape[1] != self.side**2:
            raise ValueError(
                f"a grid of {self.side} x {self.side} has {self.side**2} latents, got "
                f"{latents.shape[1]}"
            )
        return latents.float().transpose(1, 2).unflatten(2, (self.side, self.side))

    def _resizes(self) -> list["Resize"]:
        return list(self.resize)  # type: ignore[arg-type]

    def _usage(self, ids: Sequence[Tensor]) -> dict[str, Tensor]:
        """Perplexity of each scale, counted from 1, and their mean; means over the groups."""
        each = [
            torch.stack([perplexity(one[..., g], size) for g, size in enumerate(self.vocab)]).mean()
            for one in ids
        ]
        named = {f"perplexity_{number}": value for number, value in enumerate(each, start=1)}
        return {"perplexity": torch.stack(each).mean()} | named


class Resize(nn.Module):
    """Grids of one size from another and back, by products with fixed matrices.

    Args:
        side: rows of the large grid.
        size: rows of the small one.
    """

    mean: Tensor
    cubic: Tensor

    def __init__(self, side: int, size: int) -> None:
        super().__init__()
        self.same = side == size
        small, large = torch.eye(size)[None, ..., None], torch.eye(side)[None, ..., None]
        mean = F.interpolate(large, (size, 1), mode="area")[0, ..., 0].t()
        cubic = F.interpolate(small, (side, 1), mode="bicubic")[0, ..., 0].t()
        self.register_buffer("mean", mean.contiguous(), persistent=False)
        self.register_buffer("cubic", cubic.contiguous(), persistent=False)

    def down(self, x: Tensor) -> Tensor:
        """[…, side, side] to […, size, size]: means of the areas."""
        return x if self.same else self.mean @ x @ self.mean.t()

    def up(self, x: Tensor) -> Tensor:
        """[…, size, size] to […, side, side]: bicubic interpolation."""
        return x if self.same else self.cubic @ x @ self.cubic.t()


def nearest_tick(number: int, scales: int, convolutions: int) -> int:
    """Convolution of a scale: the nearest one, with scales and convolutions spread over [0, 1].

    Scales lie at 0, …, 1. Four convolutions lie at 1/12 to 11/12 as in the release, other numbers
    at the centres of equal intervals. Of two that are equally near, the later one.
    """
    position = Fraction(number, max(1, scales - 1))
    edge = Fraction(1, 12) if convolutions == 4 else Fraction(1, 2 * convolutions)
    step = (1 - 2 * edge) / max(1, convolutions - 1)
    ticks = [edge + tick * step for tick in range(convolutions)]
    return min(range(convolutions), key=lambda tick: (abs(ticks[tick] - position), -tick))


def _cells(grid: Tensor) -> Tensor:
    """[batch, dim, rows, columns] to [batch, rows * columns, dim]."""
    return grid.flatten(2).transpose(1, 2)
