"""Agreement of the processes of one training, by sums that are bit-equal in all of them.

Without a process group each function answers for the one process that there is.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


def rank_and_size() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def summed(x: Tensor) -> Tensor:
    """Sum of a tensor over all processes; all of them must call this.

    A value that is not finite in one process is not finite in the sum: the sum also shows every
    process whether all went well.
    """
    if rank_and_size()[1] > 1:
        x = x.clone()
        distributed.all_reduce(x)
    return x


def gathered(value: T) -> list[T]:
    """A value of every process, in the order of their ranks; all of them must call this."""
    _, size = rank_and_size()
    values = [value] * size
    if size > 1:
        distributed.all_gather_object(values, value)
    return values


class _SharedSum(torch.autograd.Function):
    """`summed`, whose gradient is summed as well: every process's loss depends on the sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return summed(gradient)


def shared_sum(x: Tensor) -> Tensor:
    """Sum over all processes with its gradient; all must call this, and backward, alike.

    The gradient is that of the sum of all processes' losses, so that parameters get the gradient of
    one process with all the data once their gradients are averaged over the processes.
    """
    return _SharedSum.apply(x) if rank_and_size()[1] > 1 else x


def shared_mean(total: Tensor, count: int, *, alone: bool) -> Tensor:
    """Mean of the rows of all processes, from the sum of this one's; 0 if there is no row.

    Args:
        total: sum of the rows of this process, of any shape.
        count: their number.
        alone: leave the other processes out, as must be done wherever not all of them call this.
    """
    if alone or rank_and_size()[1] == 1:
        return total / max(count, 1)
    both = shared_sum(torch.cat([total.reshape(-1), total.new_tensor([float(count)])]))
    return (both[:-1] / both[-1].clamp(min=1)).view(total.shape)


def offset_and_total(rows: int, device: torch.device) -> tuple[int, int]:
    """Index of the first row of this process among the rows of all processes, and their total
    number."""
    rank, size = rank_and_size()
    if size == 1:
        return 0, rows
    counts = torch.zeros(size, dtype=torch.int64, device=device)
    counts[rank] = rows
    counts = summed(counts)
    return int(counts[:rank].sum()), int(counts.sum())
