"""Whether Triton works on a device; where it does not, twins of the kernels in torch do."""

import warnings
from collections.abc import Callable
from functools import lru_cache

import torch

KNOWN = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)  # Philox of zeros (Salmon et al., 2011)


def has_numbers(device: torch.device) -> bool:
    """Whether a kernel makes the random numbers of a device."""
    return device.type == "cuda" and works(_philox, device)


@lru_cache
def works(problem: Callable[[torch.device], str | None], device: torch.device) -> bool:
    """Whether kernels run on a CUDA device, and find what they should; a warning says it if not.

    Args:
        problem: what they find that they should not, or None; it may raise an exception.
        device: where.
    """
    if not torch.cuda.is_available():
        return False  # tensors of a fake device
    try:
        found = problem(device)
    except Exception as error:  # no Triton, no compiler, a device that it does not know
        found = f"{type(error).__name__}: {error}"
    if found is not None:
        warnings.warn(
            f"Triton kernels do not work on {device}: {' '.join(found.split())}. Samplers go on "
            "without them, more slowly, with the same tokens but for rounding.",
            stacklevel=2,
        )
    return found is None


def _philox(device: torch.device) -> str | None:
    from intaglio.generators.inference.kernels.numbers import words

    zero = torch.zeros(1, dtype=torch.int64, device=device)
    found = tuple(words(zero, zero.unsqueeze(0), zero, 0, range(1)).flatten().tolist())
    return None if found == KNOWN else f"Philox gave {found}"
