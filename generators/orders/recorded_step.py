"""The pass of one new token through a backbone, recorded for the sampler that owns it."""

from weakref import ref

import torch
from torch import Tensor, nn

from intaglio.generators.backbone import Backbone
from intaglio.generators.inference.cuda_graph import CudaGraph
from intaglio.generators.inference.kv_cache import KVCache


class RecordedStep:
    """A step of a generator that draws one token after the other.

    Args:
        backbone: in evaluation mode; its weights must stay where they are.
        rows: of a batch, of both halves of a guided one.
        max_length: tokens that are kept, those of the condition included.

    Attributes:
        cache: of all positions; the first tokens are given to it by hand.
    """

    def __init__(self, backbone: Backbone, rows: int, max_length: int) -> None:
        self.backbone, self.weights = ref(backbone), addresses(backbone)
        cache = self.cache = KVCache(backbone.transformer, rows, max_length, static=True)

        def step(tokens: Tensor, position: Tensor) -> Tensor:
            x = backbone.embed(tokens, position)
            mask = cache.attention_mask_at(position + backbone.prefix)
            return backbone(x, position, mask=mask, layer_caches=cache.layer_caches)

        device = next(backbone.parameters()).device
        dtype = torch.int64 if backbone.embedding.vocab else torch.float32
        tokens = torch.zeros(rows, 1, backbone.embedding.width, dtype=dtype, device=device)
        position = torch.zeros(1, dtype=torch.int64, device=device)
        self._graph = CudaGraph(step, tokens, position)
        self.cache.clear()

    def replay(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Hidden vectors of new tokens, [rows, 1, dim].

        Args:
            tokens: [rows, 1, width].
            position: where they stand, int64 [1].
        """
        return self._graph.replay(tokens, position)

    def fits(self, backbone: Backbone, rows: int, max_length: int) -> bool:
        """Whether the recording is of this backbone, with its weights where they are now."""
        return (
            self.backbone() is backbone
            and (self.cache.rows, self.cache.max_length) == (rows, max_length)
            and self.weights == addresses(backbone)
        )


class StepRecorder:
    """The recorded steps of one sampler; each serves one batch at a time, and one waits idle."""

    def __init__(self) -> None:
        self._idle: RecordedStep | None = None

    def take(self, backbone: Backbone, rows: int, max_length: int) -> RecordedStep:
        """A recorded step for one batch: the idle one with its cache emptied, or a new one."""
        step, self._idle = self._idle, None
        if step is None or not step.fits(backbone, rows, max_length):
            return RecordedStep(backbone, rows, max_length)
        step.cache.clear()
        return step

    def give_back(self, step: RecordedStep) -> None:
        """Keep a recorded step for the next batch, however far this one came."""
        self._idle = step


def is_recorded(device: torch.device) -> bool:
    """Whether steps on a device are recorded."""
    return device.type == "cuda"


def addresses(module: nn.Module) -> list[tuple[int, torch.dtype]]:
    """Where the weights of a module are, and of which types."""
    return [(weight.data_ptr(), weight.dtype) for weight in module.parameters()]
