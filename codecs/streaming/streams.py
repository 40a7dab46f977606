"""Streams: a layer, an encoder or a decoder fed block by block, with the output of the whole.

A stream takes the next block of a signal and gives all output that can be known by then, maybe
none; its state is what later output still needs, so memory does not grow with the signal. Layers
that look ahead answer later, nothing else changes: blocks of any sizes give, joined, what the layer
gives for the whole signal, up to the rounding of sums.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Stream:
    """Base of all streams; this one gives back what it takes."""

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """Output that block ``x`` [batch, channels, time] makes known, maybe of no steps.

        Args:
            x: the next block, of any number of steps, also none.
            last: whether the signal ends with it; nothing may be pushed afterwards.
        """
        return x


class Apply(Stream):
    """A function that treats every step alone and keeps the number of channels."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """The function of the block."""
        return self.function(x) if x.shape[-1] else x


class Chain(Stream):
    """Streams in a row."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = list(streams)

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """Output of the last stream."""
        for stream in self.streams:
            x = stream.push(x, last)
        return x


class Sum(Stream):
    """Two streams of one input, added; the faster one waits for the other."""

    def __init__(self, first: Stream, second: Stream) -> None:
        self.streams = (first, second)
        self.waiting: list[Tensor | None] = [None, None]

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """Sum of the steps that both have given."""
        ready = [
            joined(old, stream.push(x, last))
            for old, stream in zip(self.waiting, self.streams, strict=True)
        ]
        size = min(y.shape[-1] for y in ready)
        self.waiting = [y[..., size:] for y in ready]
        return self.combined(ready[0][..., :size], ready[1][..., :size])

    def combined(self, first: Tensor, second: Tensor) -> Tensor:
        """What the outputs of both, of the same steps, give."""
        return first + second


class SideBySide(Sum):
    """Two streams of one input, the channels of the first before those of the second."""

    def combined(self, first: Tensor, second: Tensor) -> Tensor:
        """[batch, channels of both, steps]."""
        return torch.cat([first, second], dim=1)


class Blocks(Stream):
    """A function of whole blocks of ``size`` steps; the last block may be shorter.

    Args:
        function: [batch, channels, a multiple of size] to the same number of steps or a fixed
            multiple or share of it.
        size: steps of a block.
        pad: whether zeros fill up the last block.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], size: int, *, pad: bool = False
    ) -> None:
        self.function, self.size, self.pad = function, size, pad
        self.waiting: Tensor | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """Output of the blocks that are complete."""
        x = joined(self.waiting, x)
        if last and self.pad:
            x = torch.nn.functional.pad(x, (0, -x.shape[-1] % self.size))
        whole = x.shape[-1] if last else x.shape[-1] - x.shape[-1] % self.size
        self.waiting = x[..., whole:]
        return self.function(x[..., :whole])


def joined(old: Tensor | None, new: Tensor) -> Tensor:
    """``old``, if there is any, and ``new`` behind it in time."""
    return new if old is None or old.shape[-1] == 0 else torch.cat([old, new], dim=-1)


def chain(*parts: Stream | Callable[..., Tensor]) -> Chain:
    """Streams, layers that have a ``stream``, and functions of single steps, in a row."""
    return Chain([_stream_of(part) for part in parts])


def _stream_of(part: Stream | Callable[..., Tensor]) -> Stream:
    if isinstance(part, Stream):
        return part
    make: Callable[[], Stream] | None = getattr(part, "stream", None)
    return Apply(part) if make is None else make()
