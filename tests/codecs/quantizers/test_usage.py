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


def test_a_large_codebook_is_counted_alike():
    ids = torch.randint(0, 50, (9, 100))
    torch.testing.assert_close(perplexity(ids, 2**40), perplexity(ids, 50))
    assert perplexity(torch.tensor([2**39, 5]), 2**40).item() == pytest.approx(2)
    assert perplexity(ids[:0], 2**18).item() == pytest.approx(1)
