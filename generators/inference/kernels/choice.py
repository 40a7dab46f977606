"""Where Triton kernels run; everywhere else their twins in torch do."""

import warnings
from functools import lru_cache

import torch

MAX_VOCAB = 1 << 16  # ids of a row, which a program holds in registers
KNOWN = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)  # Philox of zeros (Salmon et al., 2011)


def is_fused(device: torch.device, *vocab: int) -> bool:
    """Whether kernels draw on a device, from groups of so many ids.

    The tokens are those of the twins, but for the rounding of logarithms and sums. That Triton does
    not work on a CUDA device is said once, as a warning.
    """
    return device.type == "cuda" and max(vocab, default=0) <= MAX_VOCAB and _works(device)


@lru_cache
def _works(device: torch.device) -> bool:
    """Whether a kernel runs, and finds what it should."""
    if not torch.cuda.is_available():
        return False  # tensors of a fake device
    try:
        from intaglio.generators.inference.kernels.numbers import words

        zero = torch.zeros(1, dtype=torch.int64, device=device)
        found = tuple(words(zero, zero.unsqueeze(0), zero, 0, range(1)).flatten().tolist())
        problem = None if found == KNOWN else f"Philox gave {found}"
    except Exception as error:  # no Triton, no compiler, a device that it does not know
        problem = f"{type(error).__name__}: {error}"
    if problem is not None:
        warnings.warn(
            f"Triton kernels do not work on {device}: {' '.join(problem.split())}. Samplers go on "
            "without them, more slowly, with the same tokens but for rounding.",
            stacklevel=2,
        )
    return problem is None
