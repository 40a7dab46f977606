"""What a step that was not finite may be blamed on, and what it must not leave behind."""

from typing import Any

import torch
from torch import Tensor, nn

NAMED = 4  # items of a batch


def suspects(batch: dict[str, Any], number: int) -> str:
    """Items of a batch that hold values that are not finite, or, if none does, all of them.

    Args:
        batch: tensors [items, ...] and, if it has them, the list ``path``.
        number: of the batch, for items without a path.
    """
    tensors = [value for value in batch.values() if isinstance(value, Tensor) and value.dim()]
    count = len(tensors[0]) if tensors else 0
    broken = torch.zeros(count, dtype=torch.bool)
    for value in tensors:
        if value.is_floating_point() and len(value) == count:
            broken |= ~value.detach().isfinite().flatten(1).all(1).cpu()
    items = broken.nonzero().flatten().tolist()
    paths = batch.get("path") or [f"item {item} of batch {number}" for item in range(count)]
    named = [str(paths[item]) for item in items or range(len(paths))]
    rest = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + rest + (" (not finite themselves)" if items else "")


class Buffers:
    """The buffers of modules as they are now, for a step that may have to be taken back.

    Codebooks with running means, and statistics of normalisations, move in the forward pass, before
    it is known whether the step is finite.

    Args:
        modules: whose buffers are kept.
    """

    def __init__(self, *modules: nn.Module) -> None:
        buffers = [buffer for module in modules for buffer in module.buffers()]
        self.kept = [(buffer, buffer.detach().clone()) for buffer in buffers]

    @torch.no_grad()
    def restore(self) -> None:
        """Bring them back to what they were."""
        for buffer, value in self.kept:
            buffer.copy_(value)
