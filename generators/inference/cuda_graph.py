"""A function of tensors of fixed shapes, recorded once as a CUDA graph and then replayed.

A replay starts all kernels of the function at once, and the host waits for none of them. Kernels,
shapes and addresses are those of the recording; only the contents of the inputs change.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def is_near(device: torch.device) -> bool:
    """Whether it costs nothing to look at a number on a device. Elsewhere the host would wait for
    all kernels that it has started."""
    return device.type == "cpu"


class CudaGraph:
    """A recorded function; on other devices than CUDA it is called anew each time.

    Args:
        function: of the inputs; all other tensors that it reads must stay at their addresses.
        inputs: examples of the inputs, whose memory the recording keeps.
    """

    @torch.no_grad()
    def __init__(self, function: Callable[..., Tensor], *inputs: Tensor) -> None:
        self._inputs = inputs
        self._function: Callable[..., Tensor] | None = function
        if inputs[0].device.type != "cuda":
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up outside of the recording
            for _ in range(3):
                function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*inputs)
        self._function = None  # nor is anything that it refers to kept alive

    @torch.no_grad()
    def replay(self, *inputs: Tensor) -> Tensor:
        """The function's value for new inputs, of the shapes and types of the examples."""
        for kept, new in zip(self._inputs, inputs, strict=True):
            kept.copy_(new)
        if self._function is not None:
            return self._function(*self._inputs)
        self._graph.replay()
        return self._output.clone()
