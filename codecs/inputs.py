"""What signals, latents and ids must be: wrong ones are refused in one line, not deep in torch.

Nothing is looked at while a graph is recorded or compiled: graphs hold no checks. Types and shapes
are compared everywhere else, which costs no work on the device. Values are read where that makes no
device wait, on CPUs; `Codec.encode` and `Codec.decode` read those of their inputs on any device.
"""

import math
import warnings
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

FAR_BEYOND_ONE = 8.0  # a mix of loud signals may reach 2 or 3


def check_number(name: str, value: object, bounds: tuple[int, int]) -> int:
    """The value of an argument; raise ValueError unless it is an integer within closed bounds."""
    low, high = bounds
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer in [{low}, {high}], got {value!r}")
    return value


def recording() -> bool:
    """Whether a graph is recorded or compiled, in which a check would become a part of it."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def described(x: object) -> str:
    """Type and shape of what was given in place of a tensor, or of a tensor."""
    kind = "" if isinstance(x, Tensor) else f"{type(x).__module__}.{type(x).__qualname__} "
    kind = kind.removeprefix("builtins.")
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return kind.strip()
    return f"{kind}{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"


def check_tensor(
    x: object, expected: str, shape: Sequence[int | None], *, floating: bool = True
) -> None:
    """Raise unless ``x`` is a tensor of this shape.

    Args:
        x: what was given.
        expected: beginning of the message: who takes what.
        shape: sizes; None is any.
        floating: whether it holds numbers of any floating type; otherwise int64.

    Raises:
        TypeError: no tensor.
        ValueError: another shape or type.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{expected} as a torch.Tensor, got {described(x)}")
    fits = x.is_floating_point() if floating else x.dtype == torch.int64
    sizes = x.shape
    if not fits or len(sizes) != len(shape):
        raise ValueError(f"{expected}, got {described(x)}")
    for size, wanted in zip(sizes, shape, strict=True):
        if wanted is not None and size != wanted:
            raise ValueError(f"{expected}, got {described(x)}")


def check_like(x: Tensor, expected: str, weight: Tensor | None) -> None:
    """Raise ValueError unless ``x`` is on the device of a weight, and of its type.

    Autocast converts 16 and 32 bits itself.
    """
    if weight is None:
        return
    if x.device != weight.device:
        raise ValueError(f"{expected} on {weight.device}, got one on {x.device}")
    cast = torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
    if x.dtype != weight.dtype and not cast:
        kind = str(weight.dtype).removeprefix("torch.")
        raise ValueError(f"{expected} of {kind} like its weights, got {described(x)}")


def check_finite(x: Tensor, expected: str) -> None:
    """Raise ValueError if a value is NaN or infinite; names its item."""
    # One fast pass; a sum of finite values may overflow, and then each is looked at.
    if math.isfinite(x.detach().sum(dtype=torch.float32).item()):
        return
    wrong = ~x.isfinite()
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise ValueError(f"{expected} of finite values, got {x[tuple(place)].item()} at {place}")


def check_range(x: Tensor, expected: str) -> None:
    """Warn if values are far beyond [-1, 1]: integers, most likely, that were only made floats."""
    largest = max(map(abs, torch.stack(x.detach().aminmax()).tolist())) if x.numel() else 0.0
    if largest > FAR_BEYOND_ONE:
        warnings.warn(
            f"{expected} with values in [-1, 1], got {largest:g}; int16 samples are to be divided "
            "by 32768, bytes of pixels by 127.5 less 1",
            stacklevel=4,
        )


def check_lengths(lengths: object, items: int) -> None:
    """Raise TypeError or ValueError unless these are integers, one for each item of a batch."""
    expected = f"lengths must be integer [{items}]"
    if not isinstance(lengths, Tensor):
        raise TypeError(f"{expected} as a torch.Tensor, got {described(lengths)}")
    kind = lengths.dtype
    if lengths.shape != (items,) or kind.is_floating_point or kind == torch.bool:
        raise ValueError(f"{expected}, got {described(lengths)}")


def check_latents(
    x: object, expected: str, dim: int, *, stride: int = 1, mask: object = None
) -> None:
    """Raise unless ``x`` is [batch, positions * stride, dim] and the mask is one of it."""
    if recording():
        return
    expected = f"{expected} takes floating-point latents [batch, positions, {dim}]"
    check_tensor(x, expected, (None, None, dim))
    assert isinstance(x, Tensor)
    if x.shape[1] % stride:
        raise ValueError(f"{expected} in multiples of {stride} positions, got {list(x.shape)}")
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        raise TypeError(f"a mask is a torch.Tensor, got {described(mask)}")
    if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
        raise ValueError(f"a mask is bool {list(x.shape[:2])}, got {described(mask)}")


def check_ids(
    ids: object, expected: str, vocab: Sequence[int], level_groups: Sequence[int]
) -> None:
    """Raise unless ``ids`` are int64 [batch, positions, groups] of the first levels, in range."""
    if recording():
        return
    groups = list(accumulate(level_groups))
    wanted = " or ".join(map(str, groups)) if len(groups) < 4 else f"1 to {groups[-1]}"
    expected = f"{expected} takes int64 ids [batch, positions, {wanted}]"
    check_tensor(ids, expected, (None, None, None), floating=False)
    assert isinstance(ids, Tensor)
    if ids.shape[2] not in groups:
        raise ValueError(f"{expected}, got {list(ids.shape)}")
    if ids.device.type != "cpu" or not ids.numel():
        return
    low, high = map(int, ids.aminmax())  # one fast pass; most ids need no look at their groups
    if 0 <= low and high < min(vocab):
        return
    for group, size in enumerate(vocab[: ids.shape[2]]):
        low, high = map(int, ids[..., group].aminmax())
        if low < 0 or high >= size:
            wrong = low if low < 0 else high
            raise ValueError(f"{expected} in [0, {size}), got {wrong} in group {group}")
