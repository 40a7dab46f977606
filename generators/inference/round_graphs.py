"""Rounds of a sampler as CUDA graphs: all kernels of a round start at once, without the host."""

import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

LEAST_BUCKET = 64  # tokens


class _Recording(NamedTuple):
    """A function that was recorded.

    Attributes:
        graph: its kernels.
        inputs: where they read the tensors that they were given.
        outputs: what it gave, whose tensors every replay overwrites.
    """

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Any


class RoundGraphs:
    """Functions that are called again and again, each with arguments of some forms.

    The first call with a form is a plain one, in which libraries and tables set themselves up. The
    second is recorded, and it and all later ones are replayed: what a function does besides
    starting kernels, it does no more. Tensors that are not among its arguments must stay at their
    addresses.

    Attributes:
        recorded: whether calls are; otherwise all are plain ones, as after a recording that has
            failed, which is said in a warning.
    """

    def __init__(self, recorded: bool) -> None:
        self.recorded = recorded
        self._stream: torch.cuda.Stream | None = None
        self._recordings: dict[Hashable, _Recording | None] = {}

    def call(self, key: Hashable, function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        """What the function gives, and whether the call took as long as others of its form.

        Args:
            key: of the function, and of all that it depends on besides tensors.
            function: of the arguments, without any look at the numbers of a tensor.
            args: tensors and others, in lists and tuples. Tensors of what was given by another call
                may be among them: they are copied.
        """
        if not self.recorded:
            return function(*args), True
        leaves, spec = tree_flatten(args)
        tensors = [one for one in leaves if isinstance(one, Tensor)]
        form = key, repr(spec), tuple(_form(one) for one in leaves)
        if form not in self._recordings:
            self._recordings[form] = None
            return self._prepared(function, args), False
        recording = self._recordings[form]
        is_new = recording is None
        if recording is None:
            kept = [one.clone(memory_format=torch.contiguous_format) for one in tensors]
            rest = iter(kept)
            copied = [next(rest) if isinstance(one, Tensor) else one for one in leaves]
            try:
                graph, outputs = self._record(function, tree_unflatten(copied, spec))
            except RuntimeError as error:
                problem = " ".join(str(error).split())
                warnings.warn(
                    f"a round could not be recorded as a CUDA graph: {problem}. Rounds go on "
                    "without, more slowly, with the same tokens.",
                    stacklevel=2,
                )
                self.recorded = False
                return function(*args), False
            recording = self._recordings[form] = _Recording(graph, kept, outputs)
        for mine, new in zip(recording.inputs, tensors, strict=True):
            mine.copy_(new)
        recording.graph.replay()
        return recording.outputs, not is_new

    def clear(self) -> None:
        """Forget all recordings, since a tensor has moved."""
        self._recordings.clear()

    def _prepared(self, function: Callable[..., Any], args: Any) -> Any:
        """A plain call on a stream of its own, as libraries want it before they are recorded."""
        current = torch.cuda.current_stream()
        stream = self._stream = self._stream or torch.cuda.Stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            outputs = function(*args)
        current.wait_stream(stream)
        for one in tree_leaves(outputs):
            if isinstance(one, Tensor):
                one.record_stream(current)
        return outputs

    def _record(self, function: Callable[..., Any], args: Any) -> tuple[torch.cuda.CUDAGraph, Any]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(*args)
        return graph, outputs


def bucket(tokens: int) -> int:
    """Length of a cache that passes over so many tokens look at: a power of 2."""
    return max(LEAST_BUCKET, 1 << (tokens - 1).bit_length())


def _form(leaf: Any) -> Hashable:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else leaf
