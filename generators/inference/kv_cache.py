"""Keys and values of the tokens so far, in memory of a fixed size.

Nothing is moved: going back moves a pointer, and what stands behind it is overwritten.
"""

import torch
from torch import Tensor

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.inference.cuda_graph import is_near


class KVCache:
    """Keys and values of all blocks of a transformer.

    Args:
        backbone: the transformer.
        batch: items.
        max_length: tokens of an item, at most.
        static: return the whole memory at every step, with a mask of the tokens that count, so that
            all shapes stay the same (for CUDA graphs); otherwise only the tokens that are kept.

    Attributes:
        rows: items of a batch.
        length: tokens that are kept.
        used: tokens that passes over items of different lengths look at, whatever the mask says.
        layer_caches: of each block, for `Transformer.forward`.
        positions: where the next keys and values are written, int64 [count], or [batch, count] of
            items that have different numbers of tokens; set by `attention_mask` of a static cache.
    """

    def __init__(
        self, backbone: Transformer, batch: int, max_length: int, *, static: bool = False
    ) -> None:
        weight = next(backbone.parameters())
        shape = (2, batch, backbone.kv_heads, max_length, backbone.head_size)
        self.rows, self.max_length, self.static = batch, max_length, static
        self.length, self.used = 0, max_length
        self.positions = torch.zeros(1, dtype=torch.int64, device=weight.device)
        self.layer_caches = [
            _LayerMemory(self, torch.zeros(shape, dtype=weight.dtype, device=weight.device))
            for _ in range(backbone.depth)
        ]

    def attention_mask(self, count: int) -> Tensor | None:
        """Mask of the next tokens: each attends to those that are kept, those before it and itself.

        Returns:
            bool [count, keys]; None for a single token that attends to all keys.

        Raises:
            ValueError: they would exceed ``max_length``.
        """
        stop = self.length + count
        if stop > self.max_length:
            raise ValueError(f"the cache holds at most {self.max_length} tokens, not {stop}")
        if self.static:
            positions = torch.arange(self.length, stop, device=self.positions.device)
            return self.attention_mask_at(positions)
        if count == 1:
            return None
        mask = torch.ones(count, stop, dtype=torch.bool, device=self.positions.device)
        return mask.tril(self.length)

    def attention_mask_at(self, positions: Tensor) -> Tensor:
        """As `attention_mask`, for a static cache, of tokens at positions, int64 [count].

        Items may have positions of their own, int64 [batch, count], and a mask, bool [batch, 1,
        count, keys]. Then nothing needs to be kept or rolled back: whatever stands behind a token's
        position is not attended to, and is overwritten.
        """
        self.positions = positions
        if positions.dim() == 1:
            return torch.arange(self.max_length, device=positions.device) <= positions.unsqueeze(1)
        if is_near(positions.device):  # shorter products cost less
            self.used = int(positions.max()) + 1
        keys = torch.arange(self.used, device=positions.device)
        return (keys <= positions.unsqueeze(-1)).unsqueeze(1)

    def attention_mask_of(self, positions: Tensor, ancestors: Tensor) -> Tensor:
        """As `attention_mask_at`, of the last tokens of a tree, where not all follow each other.

        Args:
            positions: of all tokens of the tree, int64 [batch, entries], one behind the other,
                whatever their order in an item is. Each attends to all that stands before them.
            ancestors: which of the tree each of the last tokens attends to, bool [batch, count,
                entries]; batch 1 for all items.
        """
        count = ancestors.shape[1]
        mask = self.attention_mask_at(positions[:, -count:])[:, 0]
        before = torch.arange(self.used, device=positions.device) < positions[:, :1]
        mask = before.unsqueeze(1).expand_as(mask)
        index = positions.unsqueeze(1).expand(-1, count, -1)
        return mask.scatter(2, index, ancestors.expand_as(index)).unsqueeze(1)

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy the keys and values of some positions to others, int64 [batch, count] each."""
        for layer in self.layer_caches:
            memory = layer.memory
            heads, size = memory.shape[2], memory.shape[4]
            index = [
                one[None, :, None, :, None].expand(2, -1, heads, -1, size)
                for one in (source, target)
            ]
            memory.scatter_(3, index[1], memory.gather(3, index[0]))

    def copy(self, other: "KVCache", rows: Tensor) -> None:
        """Take what another cache holds as the first tokens of some rows, int64 [count]."""
        for mine, theirs in zip(self.layer_caches, other.layer_caches, strict=True):
            mine.memory[:, rows, :, : other.max_length] = theirs.memory

    def advance(self, count: int) -> None:
        """Keep the tokens that were last given to the layer caches."""
        self.length += count

    def clear(self) -> None:
        """Forget all tokens, and what stood behind them."""
        self.length = 0
        for layer in self.layer_caches:
            layer.memory.zero_()


class _LayerMemory:
    def __init__(self, cache: KVCache, memory: Tensor) -> None:
        self.cache, self.memory = cache, memory

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.memory[0], self.memory[1]
        positions = self.cache.positions
        if positions.dim() == 2:
            index = positions[:, None, :, None].expand_as(k)
            used = slice(self.cache.used)
            return keys.scatter_(2, index, k)[:, :, used], values.scatter_(2, index, v)[:, :, used]
        if self.cache.static:
            return keys.index_copy_(2, positions, k), values.index_copy_(2, positions, v)
        start, count = self.cache.length, k.shape[2]
        stop = start + count
        if stop > self.cache.max_length:
            raise ValueError(f"the cache holds at most {self.cache.max_length} tokens, not {stop}")
        keys.narrow(2, start, count).copy_(k)
        values.narrow(2, start, count).copy_(v)
        return keys.narrow(2, 0, stop), values.narrow(2, 0, stop)
