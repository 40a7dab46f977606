"""Several next positions in one pass, of a sequence that is drawn in any order of its positions."""

import torch
from torch import Tensor

from intaglio.generators.backbone import Backbone
from intaglio.generators.orders.permuted import PermutedOrder
from intaglio.generators.orders.raster_windows import RasterWindows


class PermutedWindows(RasterWindows):
    """Passes over windows; positions here and below are places in the order of each item.

    Args:
        backbone: see `RasterWindows`.
        condition: see `RasterWindows`.
        order: of the generator.
        sequence: the order of each item, int64 [rows, positions]; see `PermutedOrder.sequence`.
        window: tokens behind the last that is certain, at most.
    """

    def __init__(
        self,
        backbone: Backbone,
        condition: Tensor,
        order: PermutedOrder,
        sequence: Tensor,
        window: int,
    ) -> None:
        super().__init__(backbone, condition, sequence.shape[1], window)
        self.order, self.sequence = order, sequence

    def guesses(self, tokens: Tensor, positions: Tensor, count: int) -> Tensor:
        """Hidden vectors of the next positions, each as if it came next, [rows, count, dim].

        Args:
            tokens: the last that are certain, [rows, tokens, width]; all before the first are in
                the cache, and these enter it.
            positions: where they stand, int64 [rows, tokens].
            count: of the positions.
        """
        last, ahead = positions[:, -1:], torch.arange(count, device=positions.device)
        known = self._known(tokens, positions)
        known = torch.cat([known[:, :-1], known[:, -1:].expand(-1, count, -1)], 1)
        aims = torch.cat([positions[:, :-1], last + ahead], 1) + 1
        slots = aims - 1 + self.backbone.prefix
        mask = self.cache.attention_mask_at(slots)  # each sees what is certain, and itself
        keys = torch.arange(mask.shape[-1], device=slots.device)
        certain = torch.minimum(slots, last + self.backbone.prefix).unsqueeze(-1)
        mask = ((keys < certain) | (keys == slots.unsqueeze(-1))).unsqueeze(1)
        x = known + self._aims(aims)
        return self.flat(x, aims, mask)[:, -count:]

    def _beginning(self, tokens: Tensor) -> Tensor:
        return self.order.entries(self.backbone, tokens, self.condition, self.sequence)

    def _embedded(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self._known(tokens, positions) + self._aims(positions + 1)

    def _known(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.backbone.embed(tokens, self._places(positions))

    def _aims(self, positions: Tensor) -> Tensor:
        return self.order.next[self._places(positions)]

    def _places(self, positions: Tensor) -> Tensor:
        return self.sequence.gather(1, positions.clamp_max(self.positions - 1))
