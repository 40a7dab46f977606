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
        max_length: tokens of an item, at most.
        static: give all places to every token, with a mask of those that count, so that all shapes
            stay the same (for CUDA graphs); otherwise only those that are kept.

    Attributes:
        length: tokens that are kept.
        layer_caches: of each block, for `Transformer.forward`.
        places: of the tokens that the layer caches are given next, int64 [count]; set by
            `attention_mask` where all places are given.
    """

    def __init__(
        self, backbone: Transformer, batch: int, max_length: int, *, static: bool = False
    ) -> None:
        weight = next(backbone.parameters())
        shape = (2, batch, backbone.kv_heads, max_length, backbone.head_size)
        self.max_length, self.static = max_length, static
        self.length = 0
        self.places = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self.layer_caches = [
            _Store(self, torch.zeros(shape, dtype=weight.dtype, device=weight.device))
            for _ in range(backbone.depth)
        ]

    def attention_mask(self, count: int) -> Tensor | None:
        """Mask of the next tokens: each sees those that are kept, those before it and itself.

        Returns:
            bool [count, keys]; None for a single token that attention_mask all keys.

        Raises:
            ValueError: there is no max_length for them.
        """
        stop = self.length + count
        if stop > self.max_length:
            raise ValueError(f"there is max_length for {self.max_length} tokens, not for {stop}")
        if self.static:
            return self.attention_mask_at(
                torch.arange(self.length, stop, device=self.places.device)
            )
        if count == 1:
            return None
        mask = torch.ones(count, stop, dtype=torch.bool, device=self.places.device)
        return mask.tril(self.length)

    def attention_mask_at(self, places: Tensor) -> Tensor:
        """As `attention_mask`, of tokens at given places, int64 [count], for a static cache."""
        self.places = places
        return torch.arange(self.max_length, device=places.device) <= places.unsqueeze(1)

    def advance(self, count: int) -> None:
        """Keep the tokens that were last given to all layer_caches."""
        self.length += count

    def rollback(self, length: int) -> None:
        """Forget all tokens but the first ones.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"{self.length} tokens are kept, {length} of them cannot be")
        self.length = length

    def clear(self) -> None:
        """Forget all tokens, and what stood behind them."""
        self.length = 0
        for store in self.layer_caches:
            store.memory.zero_()


class _Store:
    def __init__(self, cache: KVCache, memory: Tensor) -> None:
        self.cache, self.memory = cache, memory

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.memory[0], self.memory[1]
        if self.cache.static:
            return (
                keys.index_copy_(2, self.cache.places, k),
                values.index_copy_(2, self.cache.places, v),
            )
        start, count = self.cache.length, k.shape[2]
        stop = start + count
        if stop > self.cache.max_length:
            raise ValueError(
                f"there is max_length for {self.cache.max_length} tokens, not for {stop}"
            )
        keys.narrow(2, start, count).copy_(k)
        values.narrow(2, start, count).copy_(v)
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)
