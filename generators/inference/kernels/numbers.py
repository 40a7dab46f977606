"""Counter-based random numbers in Triton: those of `counter_rng`, to the bit."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128


@triton.jit
def _words_kernel(
    seeds: tl.tensor,
    positions: tl.tensor,
    rounds: tl.tensor,
    out: tl.tensor,
    role: tl.tensor,
    first: tl.tensor,
    total: tl.tensor,
    count: tl.tensor,
    blocks: tl.tensor,
    position_stride: tl.tensor,
    round_stride: tl.tensor,
    SIZE: tl.constexpr,
) -> None:
    """Four words of each block of each position of each item, one behind the other."""
    index = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inside = index < total
    item, place = index // (count * blocks), index // blocks % count
    seed = tl.load(seeds + item, mask=inside, other=0)
    position = tl.load(positions + item * position_stride + place, mask=inside, other=0)
    number = tl.load(rounds + item * round_stride, mask=inside, other=0)
    block = first + index % blocks
    zero = tl.zeros_like(block)
    c0, c1, c2, c3 = tl.philox(seed, block, position.to(tl.int32), zero + role, number.to(tl.int32))
    out += index.to(tl.int64) * 4
    tl.store(out, c0.to(tl.int64), mask=inside)
    tl.store(out + 1, c1.to(tl.int64), mask=inside)
    tl.store(out + 2, c2.to(tl.int64), mask=inside)
    tl.store(out + 3, c3.to(tl.int64), mask=inside)


def words(seeds: Tensor, positions: Tensor, rounds: Tensor, role: int, blocks: range) -> Tensor:
    """Words of Philox, int64 [batch, positions, 4 * blocks], each of 32 bits.

    Args:
        seeds: int64 [batch].
        positions: int64 [batch, positions], or batch 1 if all items have the same.
        rounds: int64 [batch], or [1].
        role: see `Role`.
        blocks: numbers of the blocks of four words.
    """
    positions = positions.contiguous()
    shape = (len(seeds), positions.shape[1], 4 * len(blocks))
    out = torch.empty(shape, dtype=torch.int64, device=seeds.device)
    total = out.numel() // 4
    if total:
        _words_kernel[(triton.cdiv(total, BLOCK),)](
            seeds.contiguous(),
            positions,
            rounds.contiguous(),
            out,
            role,
            blocks.start,
            total,
            positions.shape[1],
            len(blocks),
            positions.shape[1] if len(positions) > 1 else 0,
            1 if len(rounds) > 1 else 0,
            SIZE=BLOCK,
        )
    return out


@triton.jit
def gumbels(keys: tl.tensor, index: tl.tensor) -> tl.tensor:
    """Standard Gumbel numbers of ids, float32: those of `counter_rng.gumbel`.

    Args:
        keys: int64, of 64 random bits.
        index: of the ids, int32, of a shape that fits.
    """
    word = keys.to(tl.uint64, bitcast=True) + (index + 1).to(tl.uint64) * 0x9E3779B97F4A7C15
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB
    word = (word ^ (word >> 31)) >> 11
    # below 2^53, so that it is as good as signed, which converts in one instruction
    uniform = ((word.to(tl.int64).to(tl.float64) + 0.5) * 1.1102230246251565e-16).to(tl.float32)
    uniform = tl.minimum(uniform, 0.99999994039535522)
    # log1p(-u) by the logarithm of 1 - u and what it lost by rounding (Kahan)
    left = 1.0 - uniform
    lost = tl.where(left == 1.0, 1.0, 1.0 - left)
    log1p = tl.where(left == 1.0, -uniform, tl.log(left) * (uniform / lost))
    return -tl.log(-log1p)
