import pytest
import torch

from intaglio.codecs.quantizers.usage import perplexity


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([3, 3, 3], 1.0), ([0, 1, 2, 3], 4.0), ([0, 0, 0, 1], 1.7548), ([], 1.0)],
)
def test_perplexity_is_the_exponential_of_the_entropy(ids, expected):
    value = perplexity(torch.tensor(ids, dtype=torch.int64), 8)
    assert value.item() == pytest.approx(expected, abs=1e-4)
