"""Keys and values of tokens that were seen, in memory of a fixed size.

Nothing is moved: to go back is to move a pointer, after which the places behind it are written
again.
"""

import torch
from torch import Tensor

from intaglio.codecs.layers.transformer import Transformer


class KVCache:
    """Keys and values of all blocks of a transformer.

    Args:
        backbone: the transformer.
        batch: items.
        room: tokens of an item, at most.

    Attributes:
        length: tokens that are kept.
        stores: of each block, for `Transformer.forward`.
    """

    def __init__(self, backbone: Transformer, batch: int, room: int) -> None:
        weight = next(backbone.parameters())
        shape = (2, batch, backbone.kv_heads, room, backbone.head_size)
        self.room = room
        self.length = 0
        self.stores = [
            _Store(self, torch.zeros(shape, dtype=weight.dtype, device=weight.device))
            for _ in range(backbone.depth)
        ]

    def advance(self, count: int) -> None:
        """Keep the tokens that were last given to all stores."""
        self.length += count

    def rollback(self, length: int) -> None:
        """Forget all tokens but the first ones.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"{self.length} tokens are kept, {length} of them cannot be")
        self.length = length


class _Store:
    def __init__(self, cache: KVCache, memory: Tensor) -> None:
        self.cache, self.memory = cache, memory

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        start, stop = self.cache.length, self.cache.length + k.shape[2]
        if stop > self.cache.room:
            raise ValueError(f"there is room for {self.cache.room} tokens, not for {stop}")
        self.memory[0, :, :, start:stop] = k
        self.memory[1, :, :, start:stop] = v
        keys, values = self.memory[:, :, :, :stop].unbind(0)
        return keys, values
