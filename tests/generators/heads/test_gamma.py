"""The inverse of the gamma distribution, against the distribution and against known quantiles."""

import torch

from intaglio.generators.heads.gamma import gamma_quantile

SHAPES = [1.0, 1.0 + 1e-6, 1.3, 2.5, 5.0, 20.0, 300.0, 1e4, 1e6]
SHARES = [1e-12, 1e-6, 1e-3, 0.05, 0.3, 0.5, 0.50001, 0.9, 0.999, 1 - 1e-6]


def test_it_inverts_the_distribution():
    shape, uniform = torch.meshgrid(
        torch.tensor(SHAPES).double(), torch.tensor(SHARES).double(), indexing="ij"
    )
    x = gamma_quantile(shape.float(), uniform)
    assert x.dtype == torch.float64 and bool((x.diff(dim=1) > 0).all())
    shape = shape.float().double()
    torch.testing.assert_close(torch.special.gammainc(shape, x), uniform, rtol=1e-9, atol=0)
    upper = torch.special.gammaincc(shape, x)
    torch.testing.assert_close(upper, 1 - uniform, rtol=1e-9, atol=0)


def test_quantiles_of_the_exponential_distribution_to_the_last_bits():
    uniform = torch.tensor([2.0**-53, 1e-9, 0.3, 0.7, 1 - 1e-9, 1 - 2.0**-53]).double()
    uniform = torch.cat([uniform, torch.tensor([1 - 2.0**-53], dtype=torch.float64)])
    inside = (uniform > 0) & (uniform < 1)
    x = gamma_quantile(torch.ones_like(uniform[inside]), uniform[inside])
    torch.testing.assert_close(x, -(-uniform[inside]).log1p(), rtol=1e-12, atol=0)


def test_known_quantiles_of_chi_square():
    """Twice a gamma number of half the degrees of freedom; 2 and 5 degrees, 5 and 99 per cent."""
    shape = torch.tensor([1.0, 1.0, 2.5, 2.5]).double()
    uniform = torch.tensor([0.05, 0.99, 0.05, 0.99], dtype=torch.float64)
    known = torch.tensor([0.102587, 9.210340, 1.145476, 15.086272], dtype=torch.float64)
    torch.testing.assert_close(2 * gamma_quantile(shape, uniform), known, rtol=1e-5, atol=0)
