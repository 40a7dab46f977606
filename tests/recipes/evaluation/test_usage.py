"""Token statistics of known histograms."""

import pytest
import torch

from intaglio.codecs.tokens import Tokens
from intaglio.recipes.evaluation.usage import entropy_rate, reached, usage, usage_of


@pytest.mark.parametrize(
    ("counts", "share", "entropy", "perplexity"),
    [
        ([5, 5, 5, 5], 1.0, 2.0, 4.0),
        ([7, 0, 0, 0], 0.25, 0.0, 1.0),
        ([2, 1, 1, 0], 0.75, 1.5, 2**1.5),
    ],
)
def test_known_histograms(counts, share, entropy, perplexity):
    found = usage(torch.tensor(counts))
    assert found.share == share
    assert found.entropy == pytest.approx(entropy, abs=1e-12)
    assert found.perplexity == pytest.approx(perplexity)


def test_few_tokens_cannot_use_many_codes():
    many = usage(torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]))
    few = usage(torch.tensor([6, 2, 0, 0]))
    assert reached([many]) == 1
    assert reached([many, few]) == 0.75


def test_groups_are_counted_apart_and_padding_not_at_all():
    ids = torch.tensor([[[0, 3], [1, 3], [1, 1]]])
    mask = torch.tensor([[True, True, False]])
    other = Tokens(torch.tensor([[[0, 3], [1, 3]]]), torch.ones(1, 2, dtype=torch.bool), (2, 4))
    first, second = usage_of([Tokens(ids, mask, (2, 4)), other])
    assert first.counts.tolist() == [2, 2] and second.counts.tolist() == [0, 0, 0, 4]
    assert entropy_rate([first, second], 75.0) == pytest.approx(75.0)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="no codes in a histogram of 3"):
        usage(torch.zeros(3, dtype=torch.int64))
    tokens = Tokens(torch.zeros(1, 1, 1, dtype=torch.int64), torch.ones(1, 1).bool(), (2,))
    with pytest.raises(ValueError, match="one vocabulary"):
        usage_of([tokens, tokens._replace(vocab=(4,))])
