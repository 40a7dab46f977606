import pytest
import torch
from vector_quantize_pytorch import ResidualFSQ as LibraryResidualFSQ

from intaglio.codecs.quantizers.residual_fsq import ResidualFSQ


@pytest.mark.parametrize("levels", [(5, 5, 5), (8, 6, 5), (4, 3), (2, 9)])
def test_ids_and_values_are_the_librarys(levels):
    ours = ResidualFSQ(len(levels), levels, depth=4)
    theirs = LibraryResidualFSQ(levels=list(levels), num_quantizers=4, dim=len(levels)).eval()
    latents = 1.5 * torch.randn(3, 400, len(levels))
    values, ids = theirs(latents)
    assert torch.equal(ours.encode_ids(latents), ids)
    torch.testing.assert_close(ours.decode_ids(ids.long()), values)


def test_each_grid_lies_inside_the_cells_of_the_one_before():
    quantizer = ResidualFSQ(1, (4,), depth=5)
    latents = torch.linspace(-2, 2, 999).view(1, -1, 1)
    bent = quantizer._bent(latents)
    ids = quantizer.encode_ids(latents)
    for depth in range(1, 6):
        error = (quantizer.decode_ids(ids[..., :depth]) - bent).abs().max()
        assert error < 4.0**-depth * 4 / 3 * 1.001  # half a cell
    assert len(ids[..., 0].unique()) == 4


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="levels from 2 on"):
        ResidualFSQ(4, (5, 1))
    with pytest.raises(ValueError, match="and a depth, got"):
        ResidualFSQ(4, (5,), depth=0)
