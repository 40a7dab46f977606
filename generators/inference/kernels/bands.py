"""What two distributions have of ids that are about as likely as a draft, in a Triton kernel."""

import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # ids of a program, or those of one row if they are more


@triton.jit
def _band_kernel(
    p: tl.tensor,
    q: tl.tensor,
    drafts: tl.tensor,
    codes: tl.tensor,
    of_p: tl.tensor,
    of_q: tl.tensor,
    rows: tl.tensor,
    window: tl.tensor,
    vocab: tl.tensor,
    p_item: tl.tensor,
    p_slot: tl.tensor,
    q_item: tl.tensor,
    q_slot: tl.tensor,
    band: tl.tensor,
    difference: tl.tensor,
    distance: tl.tensor,
    NEAR: tl.constexpr,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
) -> None:
    """Sums of both over the group of a draft, of whole rows."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    there = row < rows
    item, slot = row // window, row % window
    draft = tl.load(drafts + row, mask=there, other=0)
    index = tl.arange(0, SIZE)[None, :]
    inside = (index < vocab) & there
    before = p + item * p_item + slot * p_slot
    target = tl.load(before + index, mask=inside, other=-float("inf"))
    here = tl.load(before + draft, mask=there, other=-float("inf"))
    member = (tl.abs(target - here) <= band) | (index == draft)
    target = tl.exp(target)
    member &= tl.abs(target - tl.exp(here)) <= difference
    if NEAR:
        apart = tl.zeros((ROWS, SIZE), dtype=tl.float32)
        for number in range(DIM):
            one = tl.load(codes + index * DIM + number, mask=index < vocab, other=0.0)
            step = one - tl.load(codes + draft * DIM + number)
            apart += step * step
        member &= tl.sqrt(apart) <= distance
    drafted = q + item * q_item + slot * q_slot + index
    drafted = tl.exp(tl.load(drafted, mask=inside, other=-float("inf")))
    member &= inside
    tl.store(of_p + row, tl.sum(tl.where(member, target, 0.0), 1, keep_dims=True), mask=there)
    tl.store(of_q + row, tl.sum(tl.where(member, drafted, 0.0), 1, keep_dims=True), mask=there)


def masses(
    p: Tensor,
    q: Tensor,
    drafts: Tensor,
    *,
    band: float,
    difference: float,
    distance: float,
    codes: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Probabilities of the group of each draft; see `Grouped`.

    Args:
        p: log-probabilities of the target, float32 [batch, window, vocab].
        q: those of the drafts.
        drafts: int64 [batch, window].
        band: how far a log-probability may be from that of the draft in the target.
        difference: the same of the probability.
        distance: of the code from that of the draft.
        codes: float32 [vocab, dim]; None if the distance does not count.

    Returns:
        By the target and by the drafts, float32 [batch, window].
    """
    drafts = drafts.contiguous()
    of_p, of_q = p.new_empty(2, *drafts.shape)
    rows, size = drafts.numel(), triton.next_power_of_2(p.shape[-1])
    if not rows:
        return of_p, of_q
    p, q = (one if one.stride(-1) == 1 else one.contiguous() for one in (p, q))
    table = p if codes is None else codes.contiguous()
    each = max(1, TILE // size)
    _band_kernel[(triton.cdiv(rows, each),)](
        p,
        q,
        drafts,
        table,
        of_p,
        of_q,
        rows,
        drafts.shape[1],
        p.shape[-1],
        *p.stride()[:2],
        *q.stride()[:2],
        band,
        difference,
        distance,
        NEAR=codes is not None,
        DIM=table.shape[-1],
        ROWS=each,
        SIZE=size,
        num_warps=min(16, max(4, size // 2048)),
        enable_fp_fusion=False,
    )
    return of_p, of_q
