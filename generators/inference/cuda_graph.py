"""The way of one new token through a generator, recorded once as a CUDA graph and then replayed.

A replay starts all kernels of a step at once, and the host waits for none of them. Kernels, shapes
and places in memory are those of the recording; token, position and cache change.
"""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from intaglio.generators.inference.kv_cache import KVCache

if TYPE_CHECKING:
    from intaglio.generators.generator import Generator


class Recording:
    """A step of a generator that draws one token after the other.

    Args:
        generator: in evaluation mode; it must stay where it is.
        rows: of a batch, of both halves of a guided one.
        max_length: tokens of an item that are kept.

    Attributes:
        cache: of all places, which the first tokens are given to by hand.
    """

    @torch.no_grad()
    def __init__(self, generator: "Generator", rows: int, max_length: int) -> None:
        device = next(generator.parameters()).device
        self.weights = _addresses(generator)
        self.cache = KVCache(generator.backbone, rows, max_length, static=True)
        dtype = torch.int64 if generator.vocab else torch.float32
        width = generator.embedding.width
        self.tokens = torch.zeros(rows, 1, width, dtype=dtype, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.hidden = self._pass(generator)
        if device.type == "cuda":
            self._record(generator)
        self.cache.clear()

    @torch.no_grad()
    def replay(self, generator: "Generator", tokens: Tensor, position: Tensor) -> Tensor:
        """Hidden vectors behind new tokens, [rows, 1, dim].

        Args:
            generator: that of the recording.
            tokens: [rows, 1, width].
            position: where they stand, int64 [1].
        """
        self.tokens.copy_(tokens)
        self.position.copy_(position)
        if self.graph is None:
            return self._pass(generator)
        self.graph.replay()
        return self.hidden.clone()

    def _record(self, generator: "Generator") -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up outside of the recording
            for _ in range(3):
                self._pass(generator)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.hidden = self._pass(generator)

    def _pass(self, generator: "Generator") -> Tensor:
        x = generator.embed(self.tokens, self.position)
        mask = self.cache.attention_mask_at(self.position + generator.condition.prefix)
        return generator.hidden_states(
            x, self.position, mask=mask, layer_caches=self.cache.layer_caches
        )


_idle: WeakKeyDictionary["Generator", Recording] = WeakKeyDictionary()


def recorded(device: torch.device) -> bool:
    """Whether steps on a device are recorded."""
    return device.type == "cuda"


def take(generator: "Generator", rows: int, max_length: int) -> Recording:
    """A recording for one session: the last one that was given back, if it fits, or a new one."""
    last = _idle.pop(generator, None)
    fits = last is not None and (len(last.tokens), last.cache.max_length) == (rows, max_length)
    if last is None or not fits or last.weights != _addresses(generator):
        return Recording(generator, rows, max_length)
    last.cache.clear()
    return last


def give_back(generator: "Generator", recording: Recording) -> None:
    """Keep a recording for the next session."""
    _idle[generator] = recording


def _addresses(generator: "Generator") -> list[tuple[int, torch.dtype]]:
    return [(weight.data_ptr(), weight.dtype) for weight in generator.parameters()]
