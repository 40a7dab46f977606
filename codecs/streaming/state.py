"""Explicit state of causal layers: modules fed chunk by chunk, with the output of the whole.

A layer that looks back, such as a causal convolution, is a `StreamingLayer`: it says what it has to
remember, and how a chunk changes that. Everything between such layers treats each step alone and
needs nothing: `Stepper` runs the module's own forward pass, in which these layers step instead.

The state is a flat dictionary of tensors whose first axis is the batch. With chunks of one size all
its shapes stay, so that it can be input and output of an exported graph.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

State = dict[str, Tensor]

_stepping: ContextVar[Callable[["StreamingLayer", Tensor], Tensor] | None] = ContextVar(
    "stepping", default=None
)


class StreamingLayer(nn.Module):
    """Base of the layers whose output depends on earlier input."""

    def start(self, batch: int) -> State:
        """What the layer remembers before the first step of ``batch`` signals: tensors of zeros.

        Each has memory of its own.

        Raises:
            ValueError: the layer looks ahead, or needs the whole signal.
        """
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Output of the next chunk, and what the layer remembers afterwards.

        Args:
            x: the chunk, whose steps are a multiple of the layer's stride unless the signal ends
                with it.
            state: of `start` or an earlier step; its tensors may be changed.
        """
        raise NotImplementedError

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """`forward`; inside a `Stepper`, `step`."""
        stepping = _stepping.get()
        return super().__call__(x, *args, **kwargs) if stepping is None else stepping(self, x)


class Stepper:
    """The streaming layers of a module, at any depth.

    Args:
        module: whose forward pass runs each of them once.

    Raises:
        ValueError: a layer looks ahead, or needs the whole signal.
    """

    def __init__(self, module: nn.Module) -> None:
        self.layers = {
            layer: {key: f"{name}.{key}" for key in layer.start(1)}
            for name, layer in module.named_modules()
            if isinstance(layer, StreamingLayer)
        }

    def start(self, batch: int) -> State:
        """State before the first chunk of ``batch`` signals."""
        return {
            names[key]: value
            for layer, names in self.layers.items()
            for key, value in layer.start(batch).items()
        }

    def __call__(
        self, function: Callable[[Tensor], Tensor], x: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Output of the next chunk, and the state afterwards.

        Args:
            function: calls the module.
            x: the chunk.
            state: of `start` or an earlier chunk; its tensors may be changed.
        """
        new: State = {}

        def step(layer: StreamingLayer, x: Tensor) -> Tensor:
            names = self.layers[layer]
            y, own = layer.step(x, {key: state[name] for key, name in names.items()})
            new.update({names[key]: value for key, value in own.items()})
            return y

        token = _stepping.set(step)
        try:
            y = function(x)
        finally:
            _stepping.reset(token)
        return y, new
