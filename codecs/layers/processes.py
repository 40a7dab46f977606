"""Agreement of the processes of one training: what one knows, in sums that are bit-equal in all.

Without a process group each function answers for the one process that there is.
"""

import torch
from torch import Tensor, distributed


def rank_and_size() -> tuple[int, int]:
    """Number of this process and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def summed(x: Tensor) -> Tensor:
    """Sum of a tensor over all processes; all of them must call this.

    A value that is not finite in one process is not finite in the sum: the sum also tells everyone
    whether all went well.
    """
    if rank_and_size()[1] > 1:
        x = x.clone()
        distributed.all_reduce(x)
    return x


def place(rows: int, device: torch.device) -> tuple[int, int]:
    """Where the rows of this process begin if all processes' rows stand in one column, and how
    many rows there are in all."""
    rank, size = rank_and_size()
    if size == 1:
        return 0, rows
    counts = torch.zeros(size, dtype=torch.int64, device=device)
    counts[rank] = rows
    counts = summed(counts)
    return int(counts[:rank].sum()), int(counts.sum())
