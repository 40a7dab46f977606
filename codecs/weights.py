"""Weights in files, which are looked at before they are believed: kind, size, names and shapes.

A file of weights may be a pipe, a device or one of terabytes that hold nothing, and its recipe may
ask for any size. Only what agrees is read: see `fitting`.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from intaglio.codecs.budget import check_values, on_meta
from intaglio.codecs.trust import trusts_others

VARIABLE = "INTAGLIO_MAX_WEIGHTS"
MAX_GIB = 16.0  # of weights; a checkpoint, which has the optimizers, may have four times as much
MAX_HEADER_BYTES = 4 << 20
MAX_TENSORS = 10_000

EXTRA = "_extra_state"  # what a module adds to its weights, of any size

Shapes = dict[str, tuple[int, ...]]


def checked_size(path: Path, *, largest: float = 1.0) -> int:
    """Bytes of a file that may be read.

    Args:
        path: of the file.
        largest: times the most that weights may have.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a folder, a pipe or a device, or too large.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing")
    if not path.is_file():
        raise ValueError(f"{path} is a folder, a device or a pipe, not a file")
    size = path.stat().st_size
    try:
        limit = largest * float(os.environ.get(VARIABLE) or MAX_GIB)
    except ValueError as error:
        raise ValueError(f"{VARIABLE} is a number of GiB, not {os.environ[VARIABLE]!r}") from error
    if size > limit * 2**30:
        raise ValueError(
            f"{path} has {size / 2**30:.1f} GiB, more than {limit:g}; if you expect so much, set "
            f"{VARIABLE} to more GiB than {MAX_GIB:g}"
        )
    return size


def stored_shapes(path: Path, what: str = "bundle") -> Shapes:
    """Shapes in a safetensors file by name, of which only the header is read.

    Args:
        path: of the file.
        what: to copy again if it is damaged.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, too large, or no such file.
    """
    if checked_size(path) < 8:
        raise ValueError(f"{path} is damaged: it has no header; copy the {what} again")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"{path} is damaged: it has no sensible header; copy the {what} again")
    try:
        with safe_open(path, framework="pt") as stored:
            names = list(stored.keys())
            if len(names) > MAX_TENSORS:
                raise ValueError(f"{path} has {len(names)} tensors, more than {MAX_TENSORS}")
            return {name: tuple(stored.get_slice(name).get_shape()) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}; copy the {what} again") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a training checkpoint: tensors, which stay on the disk until used, and plain data.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no checkpoint, or holds more than that.
    """
    checked_size(path, largest=4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, for tensors that are refused later
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if type(error).__name__ == "UnpicklingError":  # torch says how to read it all the same
            reason = (
                "it holds more than tensors and plain data, which is not read, because it could "
                "run code"
            )
        elif not is_zipfile(path):
            reason = "it is cut short or something else"
        raise ValueError(f"{path} is no readable training checkpoint: {reason[:200]}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no training checkpoint")
    return content


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name that a part of a checkpoint should be.

    Raises:
        ValueError: it is something else, or claims more than the file holds.
    """
    named = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) and _is_plain(value)
        for name, value in content.items()
    )
    if not named or len(content) > MAX_TENSORS:
        raise ValueError(f"{path} is damaged or foreign: its weights are no tensors by name")
    claimed = sum(value.numel() * value.element_size() for value in content.values())
    if claimed > path.stat().st_size:
        raise ValueError(f"{path} is damaged or foreign: its tensors are larger than the file")
    return dict(content)


def _is_plain(tensor: Tensor) -> bool:
    here = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return here and not tensor.is_quantized


def fitting(recipe: Any, shapes: Shapes, make: Callable[[Any], Any], source: str) -> None:
    """Compare what a recipe makes with weights, without the memory for it.

    If the user trusts modules of others, only the values of the recipe are looked at.

    Args:
        recipe: of the part.
        shapes: of the weights.
        make: makes the part of a recipe.
        source: of both, for messages.

    Raises:
        ValueError: the recipe does not make a part with such weights.
    """
    check_values(recipe)
    if trusts_others():  # their parts may need real tensors
        return
    elements = sum(torch.Size(shape).numel() for shape in shapes.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, for sizes of 0
        part = on_meta(lambda: make(recipe), tensors=len(shapes), elements=elements)
    wanted = shapes_of(part.state_dict())
    found = {name: shape for name, shape in shapes.items() if not name.endswith(EXTRA)}
    differ = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if differ:
        name = differ[0]
        raise ValueError(
            f"the weights in {source} do not fit its recipe, one of them is damaged or foreign: "
            f"{name[:80]!r} is {_shown(found.get(name))}, not {_shown(wanted.get(name))}"
        )
    empty = [name for name, value in part.named_parameters() if not value.numel()]
    if empty:
        raise ValueError(f"the recipe in {source} makes weights of size 0, such as {empty[0]!r}")


def filled(part: Any, state: dict[str, Tensor], source: str) -> Any:
    """A part that is given its weights, of which the shapes are known to fit.

    Raises:
        ValueError: they do not, or a parameter has NaN.
    """
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the weights in {source} do not fit its recipe: {reason}") from error
    for name, weight in part.named_parameters():
        if bool(weight.isnan().any()):
            raise ValueError(
                f"the weights in {source} are damaged, or of a training that failed: {name} holds "
                "NaN; take an earlier checkpoint"
            )
    return part


def shapes_of(state: Mapping[str, Any]) -> Shapes:
    """Shapes of the tensors of a state by name."""
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if isinstance(value, Tensor) and not name.endswith(EXTRA)
    }


def _shown(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))
