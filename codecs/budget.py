"""What a recipe from a file may make: limits that are checked before it costs memory or time.

A stranger's recipe may ask for a million layers or for one of a terabyte. Its numbers are looked at
first. Then the part is made on torch's meta device, where tensors have shapes but no memory, and
stopped as soon as it exceeds what its weights can fill.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_leaves, tree_map

MAX_DEPTH = 64  # of lists and parts in one another
MAX_VALUES = 100_000
MAX_TEXT = 4096  # characters
MAX_NUMBER = 2**31 - 1
CALLS = 50  # of torch, for each tensor of the weights; the systems of this package take up to 18
ELEMENTS = 40  # of all tensors that come and go, for each that is kept; up to 13
SPARE = (10_000, 1 << 26)  # calls and elements besides, for tables that are computed
SMALL = 1 << 12  # elements of a tensor that is made as it is; tables of pairs are small, too
FACTORIES = frozenset(_device_constructors())
T = TypeVar("T")


class BudgetError(ValueError):
    """A recipe asks for more than its weights can fill."""


def check_values(recipe: Any) -> None:
    """Look at all values of a recipe, whatever it is and however deep.

    Raises:
        ValueError: it is too deep, too large, contains itself, or has a value that no recipe has.
    """
    waiting: list[tuple[Any, int]] = [(recipe, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise ValueError("the recipe is too large or too deep to be one")
        if isinstance(value, Mapping):
            waiting += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            waiting += [(item, depth + 1) for item in value]
        elif isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise ValueError(f"the recipe has a text of {len(value)} characters")
        elif isinstance(value, int | float):
            if not abs(value) <= MAX_NUMBER:  # nor is what is no number
                raise ValueError(f"the recipe has a number that is not within ±{MAX_NUMBER}")
        elif value is not None:
            raise ValueError(f"a recipe holds plain data, not {type(value).__name__}")


def _same(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tensor


def _norm(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    return v.new_empty([size if axis == dim else 1 for axis, size in enumerate(v.shape)])


def _eye(n: int, m: int | None = None, **kwargs: Any) -> Tensor:
    return torch.empty(n, n if m is None else m, **kwargs)


def _like(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tensor.new_empty(tensor.shape)


def _product(one: Any, other: Any) -> Tensor:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.new_empty(torch.broadcast_shapes(one.shape, other.shape))
    return _like(one if isinstance(one, Tensor) else other)


def _empty(*args: Any, generator: Any = None, **kwargs: Any) -> Tensor:
    return torch.empty(*args, **kwargs)


# Functions for which torch, on the meta device, imports its compiler, which takes seconds: others
# that give the same shapes.
STAND_INS: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"), _same),
    **dict.fromkeys(("erfinv_", "mul_", "add_", "clamp_", "_weight_norm"), _same),
    **dict.fromkeys(("empty_like", "zeros_like", "ones_like", "normalize", "tril"), _like),
    **dict.fromkeys(("randn", "rand"), _empty),
    "norm_except_dim": _norm,
    "eye": _eye,
    "mul": _product,
}


class Meter(TorchFunctionMode):
    """Counts calls of torch and the elements of what they give, and stops above a limit.

    Tensors that may be large are made on the meta device. Small ones, of which tables are computed,
    are made as they are.

    Args:
        calls: of torch.
        elements: of all tensors together.
    """

    def __init__(self, calls: int, elements: int) -> None:
        super().__init__()
        self.limits = calls, elements
        self.calls = self.elements = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.calls += 1
        kwargs = dict(kwargs or {})
        made = [*args, *kwargs.values()]
        if func in FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = "meta" if func is not torch.tensor and _size(made) > SMALL else "cpu"
        found = tree_leaves((args, kwargs))
        if kwargs.get("device") == "meta" or any(
            isinstance(x, Tensor) and x.is_meta for x in found
        ):
            func = STAND_INS.get(getattr(func, "__name__", ""), func)
            args, kwargs = tree_map(_on_meta, (args, kwargs))
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self.elements += result.numel()
        if self.calls > self.limits[0] or self.elements > self.limits[1]:
            raise BudgetError("it asks for more than its weights can fill")
        return result


def _size(arguments: list[Any]) -> int:
    """A bound of the elements of what a function makes from these sizes or limits."""
    product = 1
    for arg in arguments:
        for value in arg if isinstance(arg, list | tuple) else [arg]:
            if isinstance(value, int | float):
                product *= max(1, math.ceil(abs(value)))
    return product


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def on_meta(make: Callable[[], T], *, tensors: int, elements: int) -> T:
    """What ``make`` gives, on the meta device, within the budget of a file of weights.

    Args:
        make: makes a part.
        tensors: in the file.
        elements: of these together.

    Raises:
        BudgetError: it is more than the weights can fill.
    """
    calls = SPARE[0] + CALLS * tensors
    with Meter(calls, SPARE[1] + ELEMENTS * elements):
        return make()
