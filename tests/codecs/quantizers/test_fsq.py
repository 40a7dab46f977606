import pytest
import torch
from vector_quantize_pytorch import FSQ as LibraryFSQ

from intaglio.codecs.quantizers.fsq import FSQ

LEVELS = [(8, 5, 5, 5), (3,) * 8, (4, 6), (7,)]


@pytest.mark.parametrize("levels", LEVELS)
def test_ids_and_values_are_the_librarys(levels):
    ours, theirs = FSQ(len(levels), levels), LibraryFSQ(list(levels))
    latents = 3 * torch.randn(4, 50, len(levels))
    values, ids = theirs(latents)
    got = ours(latents)
    assert torch.equal(got.ids[..., 0], ids.long())
    torch.testing.assert_close(got.values, values)
    assert torch.equal(ours.encode_ids(latents), got.ids)
    torch.testing.assert_close(ours.decode_ids(got.ids), values)


@pytest.mark.parametrize("levels", LEVELS)
def test_every_id_comes_back(levels):
    fsq = FSQ(len(levels), levels)
    ids = torch.arange(fsq.vocab[0]).view(1, -1, 1)
    values = fsq.decode_ids(ids)
    assert values.unique(dim=1).shape == values.shape
    # a code is a point of the bounded space; its inverse image under the bound leads back to it
    half = (torch.tensor(levels) - 1) * 1.001 / 2
    offset = torch.where(torch.tensor(levels) % 2 == 0, 0.5, 0.0)
    digits = values * (torch.tensor(levels) // 2)
    latents = ((digits + offset) / half).atanh() - (offset / half).atanh()
    assert torch.equal(fsq.encode_ids(latents), ids)


def test_gradients_pass_the_rounding_and_projections_learn():
    fsq = FSQ(6, (5, 5))
    latents = torch.randn(2, 9, 6, requires_grad=True)
    output = fsq(latents)
    output.values.square().sum().backward()
    assert latents.grad.abs().sum() > 0
    assert fsq.project_in.weight.grad.abs().sum() > 0
    assert output.losses == {}


def test_half_precision_input_gives_the_same_ids():
    fsq = FSQ(4, (8, 8, 8, 8))
    latents = torch.randn(1, 200, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ids = fsq(latents).ids
    assert torch.equal(ids, fsq.encode_ids(latents.float()))


@pytest.mark.parametrize("levels", [(), (2, 5), (1,)])
def test_too_few_levels_are_refused(levels):
    with pytest.raises(ValueError, match="at least 3 levels"):
        FSQ(4, levels)
