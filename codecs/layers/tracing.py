"""Whether code runs to be recorded as a graph."""

import torch


def exporting() -> bool:
    """Whether a graph is being recorded, so that sizes must stay symbolic."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
