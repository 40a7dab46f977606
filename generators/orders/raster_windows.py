"""Several next positions of each item in one pass, with tokens that may be taken back."""

import torch
from torch import Tensor

from intaglio.generators.backbone import Backbone
from intaglio.generators.inference.cuda_graph import is_near
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.inference.round_graphs import bucket
from intaglio.generators.orders.flat_pass import FlatPass


class RasterWindows:
    """Passes over windows of a sequence that is drawn row by row; each item has its own window.

    Args:
        backbone: of the generator, in evaluation mode.
        condition: of each item, or of both halves of a guided batch.
        positions: of an item.
        window: tokens behind the last that is certain, at most.

    Attributes:
        is_empty: whether `begin` comes first.
    """

    def __init__(self, backbone: Backbone, condition: Tensor, positions: int, window: int) -> None:
        self.backbone, self.condition, self.positions = backbone, condition, positions
        rows, max_length = len(condition), backbone.prefix + positions + window
        self.cache = KVCache(backbone.transformer, rows, max_length)
        self.flat = FlatPass(backbone, self.cache, windows=window > 0)
        self.is_empty = True
        self.last: Tensor | None = None  # of the condition, where items begin anew

    def begin(self, tokens: Tensor) -> Tensor:
        """Hidden vectors of the position behind the first tokens of all items, [rows, 1, dim].

        Args:
            tokens: [rows, count, width]; they are certain.
        """
        self.is_empty = False
        start, x = -self.backbone.prefix, self._beginning(tokens)
        if not is_near(x.device):  # where passes are recorded, they do not change
            self._starts(x)
        positions = torch.arange(start, tokens.shape[1], device=tokens.device)
        return self._pass(x, positions, start=0)[:, -1:]

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor,
        *,
        ancestors: Tensor | None = None,
        root: Tensor | None = None,
    ) -> Tensor:
        """Hidden vectors of the positions behind some tokens, [rows, count, dim].

        Args:
            tokens: [rows, count, width]; all before the first are in the cache.
            positions: where they stand, int64 [rows, count], or [count] if that is the same for
                all rows; those behind an item count for nothing.
            ancestors: if they are the last tokens of a tree, which of its tokens each is or
                follows, bool [rows, count, entries]; rows 1 for all items. What remains of a tree
                has to be moved by `keep`. None if each follows the one before it.
            root: where the tree begins, int64 [rows, 1]; with the first of the tokens if None.
        """
        inside = positions.clamp_max(self.positions - 1)
        x = self._embedded(tokens, positions)
        if self.last is not None:
            is_condition = (positions < 0).unsqueeze(-1)
            x = torch.where(is_condition, self.last, x)
        if ancestors is None:
            return self._pass(x, positions)
        start = (positions[:, :1] if root is None else root) + self.backbone.prefix
        slots = start + torch.arange(ancestors.shape[2], device=x.device)
        mask = self.cache.attention_mask_of(slots, ancestors)
        return self.flat(x, inside, mask)

    def restart(self, rows: Tensor, condition: Tensor) -> None:
        """Begin other items in some rows. The first of their tokens follows position -1, which
        `hidden` then takes for the last of the condition.

        Args:
            rows: int64 [count].
            condition: of the items.
        """
        vectors, prefix = self.backbone.condition(condition), self.backbone.prefix
        self._starts(vectors)[rows] = vectors[:, -1:]
        if prefix > 1:
            cache = KVCache(self.backbone.transformer, len(rows), prefix - 1)
            mask = cache.attention_mask(prefix - 1)
            positions = torch.arange(-prefix, -1, device=rows.device)
            self.backbone(vectors[:, :-1], positions, mask=mask, layer_caches=cache.layer_caches)
            self.cache.copy(cache, rows)

    def reserve(self, tokens: int) -> None:
        """Look at so many tokens of an item, or some more, where the host does not know how many
        the passes are about."""
        self.cache.used = min(self.cache.max_length, bucket(self.backbone.prefix + tokens))

    def keep(self, root: Tensor, path: Tensor) -> None:
        """Move a path of a tree to where a chain would stand.

        Args:
            root: as in `hidden`.
            path: numbers of its tokens in the tree, int64 [rows, levels], the first one 0.
        """
        start = root + self.backbone.prefix
        self.cache.move(start + path, start + torch.arange(path.shape[1], device=path.device))

    def _starts(self, x: Tensor) -> Tensor:
        """Memory for the last vectors of conditions, of the type of some embedded tokens."""
        if self.last is None:
            self.last = x.new_zeros(self.cache.rows, 1, x.shape[-1])
        return self.last

    def _beginning(self, tokens: Tensor) -> Tensor:
        """The condition and the first tokens, embedded."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.backbone.embed(tokens, positions)
        return torch.cat([self.backbone.condition(self.condition), x], dim=1)

    def _embedded(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.backbone.embed(tokens, positions.clamp_max(self.positions - 1))

    def _pass(self, x: Tensor, positions: Tensor, *, start: int | None = None) -> Tensor:
        cache, slots = self.cache, positions + self.backbone.prefix
        if slots.dim() == 1:  # one behind the other
            cache.positions, cache.length = slots, int(slots[0]) if start is None else start
            mask = cache.attention_mask(len(slots))
        else:
            mask = cache.attention_mask_at(slots)
        return self.flat(x, positions.clamp_max(self.positions - 1), mask)
