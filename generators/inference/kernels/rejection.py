"""Modified rejection sampling of drafted ids in two Triton kernels.

The first looks at the drafts of an item, a few numbers. The second goes on to the first draft that
is refused and reads whole distributions only where a token has to be drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from intaglio.generators.inference.kernels.numbers import gumbels

DRAFTS = 128  # that a program judges
TILE = 1024  # ids of a program, or those of one row if they are more


@triton.jit
def _accept_kernel(
    p: tl.tensor,
    q: tl.tensor,
    drafts: tl.tensor,
    numbers: tl.tensor,
    accepted: tl.tensor,
    total: tl.tensor,
    window: tl.tensor,
    vocab: tl.tensor,
    q_item: tl.tensor,
    q_slot: tl.tensor,
    groups: tl.tensor,
    DRAWN: tl.constexpr,
    SIZE: tl.constexpr,
) -> None:
    """Which drafts are kept if all before them are."""
    place = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = place < total
    item, slot = place // window, place % window
    draft = tl.load(drafts + place * groups, mask=inside, other=0)
    here = p + (item * (window + 1) + slot) * vocab + draft
    keep = tl.exp(tl.load(here, mask=inside, other=0.0))
    if DRAWN:
        there = q + item * q_item + slot * q_slot + draft
        drafted = tl.exp(tl.load(there, mask=inside, other=0.0))
        keep = tl.where(keep < drafted, tl.math.div_rn(keep, drafted), 1.0)
    number = tl.load(numbers + place * groups, mask=inside, other=0.0)
    tl.store(accepted + place, number < keep.to(tl.float64), mask=inside)


@triton.jit
def _replace_kernel(
    p: tl.tensor,
    q: tl.tensor,
    drafts: tl.tensor,
    own: tl.tensor,
    accepted: tl.tensor,
    keys: tl.tensor,
    tokens: tl.tensor,
    rows: tl.tensor,
    window: tl.tensor,
    vocab: tl.tensor,
    q_item: tl.tensor,
    q_slot: tl.tensor,
    groups: tl.tensor,
    tiny: tl.tensor,
    DRAWN: tl.constexpr,
    EVERYWHERE: tl.constexpr,
    SLOTS: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
) -> None:
    """What stands at slots of items: a draft, or what is drawn instead or behind the drafts."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    there = row < rows
    row = tl.minimum(row, rows - 1)  # of rows that are not there, another one is read
    item, slot = row // (window + 1), row % (window + 1)
    slots = tl.arange(0, SLOTS)[None, :]
    flags = tl.load(accepted + item * window + slots, mask=slots < window, other=1)
    first = tl.min(tl.where(flags == 0, slots, window), 1, keep_dims=True)  # that is not kept
    is_draft = slot < window
    place = item * window + slot
    token = tl.load(drafts + place * groups, mask=is_draft, other=-1)
    stays = tl.load(own + place, mask=is_draft, other=0) != 0
    drawn = (stays == 0) & (EVERYWHERE | (slot == first))
    if tl.max(tl.max(drawn.to(tl.int32), 1), 0) > 0:
        index = tl.arange(0, SIZE)[None, :]
        inside = (index < vocab) & drawn
        target = tl.load(p + row * vocab + index, mask=inside, other=-float("inf"))
        if DRAWN:
            before = q + item * q_item + slot * q_slot + index
            drafted = tl.load(before, mask=inside & is_draft, other=-float("inf"))
            excess = tl.maximum(tl.exp(target) - tl.exp(drafted), 0.0)
            is_rounding = tl.sum(excess, 1, keep_dims=True) <= tiny
            score = tl.where(is_rounding | (slot == window), target, tl.log(excess))
        else:
            rest = tl.where(index == token, -float("inf"), target)
            nothing = tl.max(rest, 1, keep_dims=True) == -float("inf")
            score = tl.where(nothing, target, rest)
        score += gumbels(tl.load(keys + row * groups), index)
        score = tl.where(score != score, float("inf"), score)  # an id that there is, in any case
        score = tl.where(index < vocab, score, -float("inf"))
        found = tl.argmax(score, 1, keep_dims=True).to(tl.int64)
        token = tl.where(drawn, found, token)
    tl.store(tokens + row * groups, token, mask=there)


def verify(
    p: Sequence[Tensor],
    q: Sequence[Tensor] | None,
    drafts: Tensor,
    numbers: Tensor,
    keys: Tensor,
    *,
    tiny: float,
    everywhere: bool = True,
) -> tuple[Tensor, Tensor]:
    """What `ModifiedRejection` says of a window.

    Args:
        p: log-probabilities of the target, float32 [batch, window + 1, vocab] of each group.
        q: those that the drafts were drawn from, [batch, window, vocab]; None if nobody knows them.
        drafts: int64 [batch, window, groups].
        numbers: what decides whether a draft is kept, float64 [batch, window, groups].
        keys: of the races, int64 [batch, window + 1, groups].
        tiny: total of a residual up to which it is rounding alone.
        everywhere: whether also tokens behind the first draft that is not kept are wanted;
            otherwise the drafts stand there, and -1 at the last position.

    Returns:
        Which drafts are kept if all before them are, bool [batch, window], and what stands at each
        position, int64 [batch, window + 1, groups].
    """
    groups = drafts.shape[2]
    drafts, numbers, keys = drafts.contiguous(), numbers.contiguous(), keys.contiguous()
    targets = [one.contiguous() for one in p]
    laws = targets if q is None else list(q)
    every = [
        _Group(target, drafted, drafts[..., number], q is not None)
        for number, (target, drafted) in enumerate(zip(targets, laws, strict=True))
    ]
    own = torch.empty(groups, *drafts.shape[:2], dtype=torch.bool, device=drafts.device)
    for number, group in enumerate(every):
        _accept(group, numbers[..., number], own[number], groups)
    accepted = own[0] if groups == 1 else own.all(0)
    tokens = torch.empty_like(keys)
    for number, group in enumerate(every):
        pair = own[number], accepted
        _replace(group, pair, keys[..., number], tokens[..., number], groups, tiny, everywhere)
    return accepted, tokens


class _Group(NamedTuple):
    """Of one group of the tokens: log-probabilities, and drafts as part of those of all groups."""

    p: Tensor
    q: Tensor
    drafts: Tensor
    known: bool


def _accept(group: _Group, numbers: Tensor, accepted: Tensor, groups: int) -> None:
    total = accepted.numel()
    if not total:
        return
    _accept_kernel[(triton.cdiv(total, DRAFTS),)](
        group.p,
        group.q,
        group.drafts,
        numbers,
        accepted,
        total,
        accepted.shape[1],
        group.p.shape[-1],
        *group.q.stride()[:2],
        groups,
        DRAWN=group.known,
        SIZE=DRAFTS,
    )


def _replace(
    group: _Group,
    accepted: tuple[Tensor, Tensor],
    keys: Tensor,
    tokens: Tensor,
    groups: int,
    tiny: float,
    everywhere: bool,
) -> None:
    batch, slots, vocab = group.p.shape
    rows, size = batch * slots, triton.next_power_of_2(vocab)
    each = max(1, TILE // size)
    _replace_kernel[(triton.cdiv(rows, each),)](
        group.p,
        group.q,
        group.drafts,
        *accepted,
        keys,
        tokens,
        rows,
        slots - 1,
        vocab,
        *group.q.stride()[:2],
        groups,
        tiny,
        DRAWN=group.known,
        EVERYWHERE=everywhere,
        SLOTS=triton.next_power_of_2(max(1, slots - 1)),
        ROWS=each,
        SIZE=size,
        num_warps=min(16, max(4, size // 2048)),
        enable_fp_fusion=False,
    )
