"""One direction of a live stream: an encoder or a decoder, and what waits in front of it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.streaming.state import State, Stepper

Rows = list[int] | None  # of a batch; None for all of them


class StreamChunk(NamedTuple):
    """Part of the output of a stream.

    Attributes:
        values: [batch, channels, steps], zero behind the end of a row.
        lengths: int64 [batch], steps of each row.
    """

    values: Tensor
    lengths: Tensor


class _Part(NamedTuple):
    """Rows that are equally far, and so step together.

    Attributes:
        rows: which.
        state: theirs.
        waiting: steps that wait in front.
        begun: whether the layers have seen anything.
        skip: steps of output that are still to be dropped.
        size: new steps of each.
    """

    rows: Rows
    state: State
    waiting: int
    begun: bool
    skip: int
    size: int


class Direction:
    """Rows of input of any size to rows of output, in whole frames.

    The state is that of the layers, and for each row ``waiting``, the steps that do not fill a
    frame, their number ``waiting_steps``, whether it has ``begun``, and how many steps of its
    output to ``skip``.

    Args:
        module: encoder or decoder.
        function: calls it: [batch, channels, steps] to [batch, other channels, other steps].
        channels: of the input and of the output.
        frame: steps that are taken together.
        first: frames that a row has to begin with.
        delay: steps that the output of the layers comes late by; they are dropped at the start.
        rest: of a state of the layers: the output that is still due at the end, of ``delay`` steps.
    """

    def __init__(
        self,
        module: nn.Module,
        function: Callable[[Tensor], Tensor],
        *,
        channels: tuple[int, int],
        frame: int = 1,
        first: int = 1,
        delay: int = 0,
        rest: Callable[[State], Tensor] | None = None,
    ) -> None:
        self.stepper = Stepper(module)
        self.function, self.frame, self.first = function, frame, first
        self.channels, self.delay, self.rest = channels, delay, rest
        self.like = next(module.parameters()).detach()

    def start(self, batch: int) -> State:
        """State of ``batch`` rows before their first chunk."""
        count = torch.zeros(batch, dtype=torch.int64, device=self.like.device)
        return self.stepper.start(batch) | {
            "waiting": self.like.new_zeros(batch, self.channels[0], self.first * self.frame - 1),
            "waiting_steps": count,
            "begun": count.bool(),
            "skip": count + self.delay,
        }

    def push(self, state: State, x: Tensor, lengths: Tensor) -> tuple[StreamChunk, State]:
        """Output of the frames that are complete, and the state afterwards.

        Args:
            state: of `start` or an earlier chunk, which is used up.
            x: [batch, channels, steps].
            lengths: int64 [batch], steps of each row.
        """
        given = []
        for part in _parts(state, lengths.tolist()):
            own, new = part.state, x if part.rows is None else x[part.rows]
            new = new[..., : part.size]
            inputs = torch.cat([own["waiting"][..., : part.waiting], new], dim=-1)
            frames = inputs.shape[-1] // self.frame
            if not part.begun and frames < self.first:
                frames = 0
            y = self._nothing(len(inputs))
            if frames:
                y, layers = self.stepper(self.function, inputs[..., : frames * self.frame], own)
                own |= layers | {
                    "begun": torch.ones_like(own["begun"]),
                    "skip": (own["skip"] - y.shape[-1]).clamp(min=0),
                }
                y = y[..., part.skip :]
            inputs = inputs[..., frames * self.frame :]
            room = own["waiting"].shape[-1] - inputs.shape[-1]
            own["waiting"] = F.pad(inputs, (0, room))
            own["waiting_steps"] = torch.full_like(own["waiting_steps"], inputs.shape[-1])
            state = _with_rows(state, part.rows, own)
            given.append((part.rows, y))
        return self._joined(given, len(x)), state

    def finish(self, state: State, rows: list[int]) -> tuple[StreamChunk, State]:
        """Output that is still due in rows that end, and a state in which they begin again.

        Args:
            state: as of `push`.
            rows: which end.
        """
        ends = [int(row in rows) for row in range(len(state["begun"]))]
        given = []
        for part in _parts(state, ends):
            if not part.size:
                continue
            layers, inputs = part.state, part.state["waiting"][..., : part.waiting]
            y = self._nothing(len(inputs))
            if not part.begun:
                y = self.function(inputs) if part.waiting else y  # the whole signal
            else:
                if part.waiting:
                    y, layers = self.stepper(self.function, inputs, layers)
                if self.rest is not None:
                    y = torch.cat([y, self.rest(layers)], dim=-1)[..., part.skip :]
            given.append((part.rows, y))
            state = _with_rows(state, part.rows, self.start(len(inputs)))
        return self._joined(given, len(ends)), state

    def _nothing(self, batch: int) -> Tensor:
        return self.like.new_zeros(batch, self.channels[1], 0)

    def _joined(self, given: list[tuple[Rows, Tensor]], batch: int) -> StreamChunk:
        """Outputs of groups of rows, put together."""
        device = self.like.device
        if len(given) == 1 and given[0][0] is None:
            y = given[0][1]
            return StreamChunk(y, torch.full((batch,), y.shape[-1], device=device))
        size = max((y.shape[-1] for _, y in given), default=0)
        values = self.like.new_zeros(batch, self.channels[1], size)
        lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        for rows, y in given:
            values[rows, :, : y.shape[-1]] = y
            lengths[rows] = y.shape[-1]
        return StreamChunk(values, lengths)


def _parts(state: State, sizes: list[int]) -> Iterator[_Part]:
    """The rows, in groups that are equally far."""
    counts = [state[name].tolist() for name in ("waiting_steps", "begun", "skip")]
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, key in enumerate(zip(*counts, sizes, strict=True)):
        groups.setdefault(key, []).append(row)
    for (waiting, begun, skip, size), found in groups.items():
        rows: Rows = None if len(groups) == 1 else found
        own = state if rows is None else {name: value[rows] for name, value in state.items()}
        yield _Part(rows, dict(own), waiting, bool(begun), skip, size)


def _with_rows(state: State, rows: Rows, new: State) -> State:
    """A state with some rows replaced."""
    if rows is None:
        return new
    index = torch.tensor(rows, device=new["begun"].device)
    return {name: value.index_copy(0, index, new[name]) for name, value in state.items()}
