"""A class as one or more tokens before the sequence."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.generators.conditioning.base import Condition
from intaglio.generators.provenance import Provenance

NO_CLASS = -1


class ClassCondition(Condition):
    """An embedding table of classes, with a row for no class.

    Args:
        num_classes: number of classes.
        prefix: number of tokens of a class: copies of its row, with a learned position embedding
            if there are several (MAR; Li et al., 2024).
    """

    def __init__(self, num_classes: int, *, prefix: int = 1) -> None:
        super().__init__()
        self.num_classes, self.prefix = num_classes, prefix

    def create_weights(self, dim: int) -> None:
        """See `Condition.create_weights`."""
        self.table = nn.Embedding(self.num_classes + 1, dim)
        nn.init.normal_(self.table.weight, std=0.02)
        self.position_embedding = (
            nn.Parameter(0.02 * torch.randn(self.prefix, dim)) if self.prefix > 1 else None
        )

    def check(self, provenance: Provenance) -> None:
        """See `Condition.check`."""
        if len(provenance.classes) > self.num_classes:
            raise ValueError(
                f"the data have {len(provenance.classes)} classes, the generator "
                f"{self.num_classes}; "
                "set num_classes"
            )
        if self.num_classes and provenance.counts is not None and not sum(provenance.counts):
            raise ValueError(
                "no item for training has a class, and the generator is conditioned on classes: "
                "give data with labels, or num_classes 0 for an unconditional generator"
            )

    def of_batch(self, batch: Mapping[str, Any]) -> Tensor:
        """Labels."""
        return batch["label"]

    def forward(self, condition: Tensor) -> Tensor:
        """Tokens of labels, int64 [batch], from 0 to ``num_classes - 1``, or `NO_CLASS`.

        Raises:
            ValueError: a label is out of range.
        """
        low, high = (int(bound) for bound in condition.aminmax())
        if low < NO_CLASS or high >= self.num_classes:
            wrong = low if low < NO_CLASS else high
            raise ValueError(
                f"classes are 0 to {self.num_classes - 1}, or {NO_CLASS} for none, got {wrong}"
            )
        tokens = self.table(condition % (self.num_classes + 1)).unsqueeze(1)
        return tokens if self.position_embedding is None else tokens + self.position_embedding

    def dropped(self, condition: Tensor, drop: Tensor) -> Tensor:
        """See `Condition.dropped`."""
        return condition.masked_fill(drop, NO_CLASS)
