"""Guidance, temperature, top-k, top-p and a Gumbel race in one Triton kernel.

A program holds the logits of a few rows in registers. The thresholds of top-k and top-p are found
bit by bit, by counting, so that nothing is sorted.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from intaglio.generators.inference.kernels.numbers import gumbels
from intaglio.generators.inference.logits import Warp

TILE = 1024  # ids of a program, or those of one row if they are more


@triton.jit
def _ranks(x: tl.tensor) -> tl.tensor:
    """Numbers whose order is that of the floats, uint32; equal floats have equal ones."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)  # -0 becomes 0
    flipped = tl.where(bits < 0, -1, -2147483648)
    return (bits ^ flipped).to(tl.uint32, bitcast=True)


@triton.jit
def _threshold(ranks: tl.tensor, weights: tl.tensor, least: tl.tensor) -> tl.tensor:
    """The largest number such that ids of it or more weigh ``least`` or more, uint32 [rows, 1]."""
    found = tl.zeros_like(tl.max(ranks, 1, keep_dims=True))
    for step in range(32):
        tried = found | (tl.full((1, 1), 1, tl.uint32) << (31 - step))
        weight = tl.sum(tl.where(ranks >= tried, weights, 0), 1, keep_dims=True)
        found = tl.where(weight >= least, tried, found)
    return found


@triton.jit
def _nucleus(x: tl.tensor, top_p: tl.tensor) -> tl.tensor:
    """Which ids are the likeliest until their probability reaches ``top_p``; of equal ones the
    first."""
    shares = tl.exp(x - tl.max(x, 1, keep_dims=True))
    shares = tl.math.div_rn(shares, tl.broadcast_to(tl.sum(shares, 1, keep_dims=True), x.shape))
    ranks = _ranks(x)
    last = _threshold(ranks, shares, top_p)
    equal = ranks == last
    before = tl.sum(tl.where(ranks > last, shares, 0.0), 1, keep_dims=True)
    earlier = tl.cumsum(equal.to(tl.int32), 1) - 1
    return (ranks > last) | (equal & (before + earlier.to(tl.float32) * shares < top_p))


@triton.jit
def _race_kernel(
    logits: tl.tensor,
    null: tl.tensor,
    scales: tl.tensor,
    temperatures: tl.tensor,
    keys: tl.tensor,
    ids: tl.tensor,
    log_probs: tl.tensor,
    rows: tl.tensor,
    vocab: tl.tensor,
    logits_stride: tl.tensor,
    null_stride: tl.tensor,
    scale_stride: tl.tensor,
    temperature_stride: tl.tensor,
    top_k: tl.tensor,
    top_p: tl.tensor,
    GUIDED: tl.constexpr,
    WARMED: tl.constexpr,
    TOP_K: tl.constexpr,
    TOP_P: tl.constexpr,
    RACE: tl.constexpr,
    KEEP: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
) -> None:
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    index = tl.arange(0, SIZE)[None, :]
    there = row < rows
    row = tl.minimum(row, rows - 1)  # of rows that are not there, another one is read
    inside = index < vocab
    x = tl.load(logits + row * logits_stride + index, mask=inside, other=-float("inf"))
    x = x.to(tl.float32)
    if GUIDED:
        other = tl.load(null + row * null_stride + index, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(scales + row * scale_stride)
        x = tl.where((scale != 1.0) & inside, other + scale * (x - other), x)
    if WARMED:
        temperature = tl.load(temperatures + row * temperature_stride)
        x = tl.math.div_rn(x, tl.broadcast_to(temperature, x.shape))
    if TOP_K:
        ranks = _ranks(x)
        least = _threshold(ranks, inside.to(tl.int32), top_k)
        x = tl.where(ranks >= least, x, -float("inf"))
    if TOP_P:
        x = tl.where(_nucleus(x, top_p), x, -float("inf"))
    x -= tl.max(x, 1, keep_dims=True)
    x -= tl.log(tl.sum(tl.exp(x), 1, keep_dims=True))
    if KEEP:
        tl.store(log_probs + row * vocab + index, x, mask=inside & there)
    if RACE:
        key = tl.load(keys + row)
        score = x + gumbels(key, index)
        score = tl.where(score != score, float("inf"), score)  # an id that there is, in any case
        score = tl.where(inside, score, -float("inf"))
        found = tl.argmax(score, 1, keep_dims=True)
        tl.store(ids + row, found.to(tl.int64), mask=there)


def draw(
    logits: Tensor, null: Tensor | None, scale: float | Tensor, warp: Warp, keys: Tensor
) -> Tensor:
    """Ids, int64 [batch, positions], of `logits.draw` for guided and warped logits.

    Args:
        logits: [batch, positions, vocab], of any type of floats; of one position, they are those
            of all.
        null: the same without the condition, or None for no guidance.
        scale: see `guided`.
        warp: temperature and truncation.
        keys: int64 [batch, positions], of random bits.
    """
    logits = logits.expand(*keys.shape, -1)
    null = None if null is None else null.expand(*keys.shape, -1)
    ids = torch.empty(keys.shape, dtype=torch.int64, device=logits.device)
    _launch(logits, null, scale, warp, keys=keys.contiguous(), ids=ids)
    return ids


def distribution(logits: Tensor, null: Tensor | None, scale: float | Tensor, warp: Warp) -> Tensor:
    """What `draw` draws from: log-probabilities, float32 [batch, positions, vocab]."""
    found = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    _launch(logits, null, scale, warp, log_probs=found)
    return found


def _launch(
    logits: Tensor,
    null: Tensor | None,
    scale: float | Tensor,
    warp: Warp,
    *,
    keys: Tensor | None = None,
    ids: Tensor | None = None,
    log_probs: Tensor | None = None,
) -> None:
    batch, count, vocab = logits.shape
    rows = batch * count
    if not rows:
        return
    x = logits.reshape(rows, vocab)
    other = x if null is None else null.reshape(rows, vocab)
    guided = null is not None and not (isinstance(scale, float | int) and scale == 1)
    scales, scale_stride = _of_rows(scale, batch, count, x)
    temperatures, temperature_stride = _of_rows(warp.temperature, batch, count, x)
    size = triton.next_power_of_2(vocab)
    each = max(1, TILE // size)
    _race_kernel[(triton.cdiv(rows, each),)](
        x,
        other,
        scales,
        temperatures,
        x if keys is None else keys,
        x if ids is None else ids,
        x if log_probs is None else log_probs,
        rows,
        vocab,
        x.stride(0),
        other.stride(0),
        scale_stride,
        temperature_stride,
        warp.top_k,
        warp.top_p,
        GUIDED=guided,
        WARMED=isinstance(warp.temperature, Tensor) or warp.temperature != 1,
        TOP_K=0 < warp.top_k < vocab,
        TOP_P=warp.top_p < 1,
        RACE=ids is not None,
        KEEP=log_probs is not None,
        ROWS=each,
        SIZE=size,
        num_warps=min(16, max(4, size // 2048)),
        enable_fp_fusion=False,  # products are rounded before they are added, as in torch
    )


def _of_rows(value: float | Tensor, batch: int, count: int, like: Tensor) -> tuple[Tensor, int]:
    """A number of each row, float32, and how far they are apart: 0 if it is one for all."""
    if not isinstance(value, Tensor):
        return torch.full((1,), value, dtype=torch.float32, device=like.device), 0
    value = value.float().view(len(value), -1).expand(batch, count).reshape(-1)
    return value, value.stride(0)
