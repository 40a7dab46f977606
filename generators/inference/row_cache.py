"""Keys and values of a batch whose items have different numbers of tokens."""

import torch
from torch import Tensor

from intaglio.codecs.layers.transformer import Transformer


class RowCache:
    """Keys and values of all blocks of a transformer, with a length for each item.

    New tokens of an item are written at their positions. Going back is to write there again: a
    token attends to the positions up to its own, whatever stands behind them.

    Args:
        transformer: whose keys and values they are.
        rows: items of a batch.
        max_length: tokens of an item, at most.

    Attributes:
        layer_caches: of each block, for `Transformer.forward`.
    """

    def __init__(self, transformer: Transformer, rows: int, max_length: int) -> None:
        weight = next(transformer.parameters())
        shape = (2, rows, transformer.kv_heads, max_length, transformer.head_size)
        self.rows, self.stop = rows, max_length
        self.positions = torch.zeros(rows, 1, dtype=torch.int64, device=weight.device)
        self.layer_caches = [
            _LayerMemory(self, torch.zeros(shape, dtype=weight.dtype, device=weight.device))
            for _ in range(transformer.depth)
        ]

    def attention_mask(self, positions: Tensor) -> Tensor:
        """Mask of the next tokens, bool [rows, 1, count, keys].

        Args:
            positions: where they stand, int64 [rows, count]; their keys and values go there.
        """
        self.positions = positions
        if not positions.is_cuda:  # where looking at a number costs nothing, shorter products do
            self.stop = int(positions.max()) + 1
        keys = torch.arange(self.stop, device=positions.device)
        return (keys <= positions.unsqueeze(-1)).unsqueeze(1)


class _LayerMemory:
    def __init__(self, cache: RowCache, memory: Tensor) -> None:
        self.cache, self.memory = cache, memory

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        positions = self.cache.positions
        index = positions[:, None, :, None].expand(-1, k.shape[1], -1, k.shape[3])
        keys = self.memory[0].scatter_(2, index, k).narrow(2, 0, self.cache.stop)
        return keys, self.memory[1].scatter_(2, index, v).narrow(2, 0, self.cache.stop)
