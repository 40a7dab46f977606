"""Counting ids block by block agrees with counting them at once, for small and large codebooks."""

import pytest
import torch

from intaglio.recipes.tokenization.id_counts import IdCounts


@pytest.mark.parametrize("vocab", [(5, 1, 300), (1 << 20, 1), (1 << 32, 1 << 20, 2)], ids=str)
def test_blocks_are_counted_as_the_whole(vocab):
    generator = torch.Generator().manual_seed(0)
    columns = [torch.randint(0, size, (300_000,), generator=generator) for size in vocab]
    ids = torch.stack(columns, 1)
    ids[::2] = 0
    counts = IdCounts(vocab)
    for block in ids.split(7_001):
        counts.add(block)
    for column, (distinct, perplexity) in zip(ids.T, counts.use(), strict=True):
        shares = column.unique(return_counts=True)[1].double() / len(column)
        assert distinct == len(shares)
        assert perplexity == pytest.approx(float(torch.special.entr(shares).sum().exp()))


def test_no_ids_use_nothing():
    assert IdCounts((3, 1 << 20)).use() == [(0, 0.0), (0, 0.0)]
