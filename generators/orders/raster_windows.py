"""Several next positions of each item in one pass, with tokens that may be taken back."""

import torch
from torch import Tensor

from intaglio.generators.backbone import Backbone
from intaglio.generators.inference.kv_cache import KVCache


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
        self.cache = KVCache(backbone.transformer, rows, max_length, static=True)
        self.is_empty = True

    def begin(self, tokens: Tensor) -> Tensor:
        """Hidden vectors of the position behind the first tokens of all items, [rows, 1, dim].

        Args:
            tokens: [rows, count, width]; they are certain.
        """
        self.is_empty = False
        start = -self.backbone.prefix
        positions = torch.arange(start, tokens.shape[1], device=tokens.device)
        x = self.backbone.embed(tokens, positions[self.backbone.prefix :])
        x = torch.cat([self.backbone.condition(self.condition), x], dim=1)
        return self._pass(x, positions.expand(len(x), -1))[:, -1:]

    def hidden(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Hidden vectors of the positions behind some tokens, [rows, count, dim].

        Args:
            tokens: [rows, count, width]; all before the first are in the cache.
            positions: where they stand, int64 [rows, count]; those behind an item count for
                nothing.
        """
        inside = positions.clamp_max(self.positions - 1)
        return self._pass(self.backbone.embed(tokens, inside), positions)

    def _pass(self, x: Tensor, positions: Tensor) -> Tensor:
        mask = self.cache.attention_mask_at(positions + self.backbone.prefix)
        inside = positions.clamp_max(self.positions - 1)
        return self.backbone(x, inside, mask=mask, layer_caches=self.cache.layer_caches)
