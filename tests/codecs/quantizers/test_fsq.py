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


@pytest.mark.parametrize("half_precision", [False, True])
def test_six_and_seven_levels_lose_no_id_to_rounding(half_precision):
    """Thirds are no binary fractions: a sum that is cut off would be one too small."""
    fsq = FSQ(3, (6, 7, 5))
    digits = torch.cartesian_prod(*map(torch.arange, (5, 7, 6))).flip(1)  # the first one fastest
    ids = torch.arange(210).view(1, 210, 1)
    widths = torch.tensor([2.5, 3, 2]) * 1.001
    offset = torch.tensor([0.5, 0, 0])
    centres = digits - torch.tensor([3, 3, 2])
    latents = ((centres + offset) / widths).atanh() - (offset / widths).atanh()
    latents = latents.unsqueeze(0)
    given = latents.bfloat16() if half_precision else latents
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half_precision):
        values = fsq.decode_ids(ids)
        quantized = fsq(given)
        assert torch.equal(fsq.encode_ids(given), ids)
    torch.testing.assert_close(values[0], centres / torch.tensor([3.0, 3, 2]), atol=0, rtol=1e-7)
    assert torch.equal(quantized.ids, ids) and torch.equal(quantized.values, values)


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


@pytest.mark.parametrize(
    ("latents", "code", "index"),
    [
        ((-3, -0.7, 0.2, 2.5), (-1, -0.5, 0, 1), 888),
        ((0, 0, 0, 0), (0, 0, 0, 0), 500),
        ((0.4, -0.1, 0.9, -1.6), (0.25, 0, 0.5, -1), 141),
    ],
)
def test_golden_codes(latents, code, index):
    quantized = FSQ(4, (8, 5, 5, 5))(torch.tensor([[latents]], dtype=torch.float32))
    assert quantized.values.flatten().tolist() == list(code)
    assert quantized.ids.item() == index


def test_eight_levels_are_not_symmetric():
    values = FSQ(1, (8,)).decode_ids(torch.arange(8).view(1, 8, 1))
    assert values.flatten().tolist() == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]


def test_standardising_spreads_items_that_hardly_differ():
    latents = 0.3 * torch.randn(1, 10, 4) + 0.01 * torch.randn(64, 10, 4)
    plain, spread = FSQ(4), FSQ(4, standardise=10)
    alike, apart = plain(latents), spread(latents)
    distinct = [len(found.ids[:, 0].unique()) for found in (alike, apart)]
    assert distinct[0] < 4 and distinct[1] > 30
    assert not plain.state_dict()
    # the statistics start with the first batch, so that evaluation follows at once
    assert torch.equal(spread.eval()(latents).ids, apart.ids)
    later = spread.train()(latents + 1.0)
    assert torch.equal(later.ids, apart.ids)
    torch.testing.assert_close(spread.standard.mean, latents.mean(0) + 0.1)


def test_masked_items_and_single_items_do_not_enter_the_statistics():
    fsq = FSQ(4, standardise=3)
    latents = torch.randn(4, 3, 4)
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]] * 2)[:4]
    mask[3] = False
    other = latents.clone()
    other[~mask] = float("nan")
    quantized = fsq(other, mask)
    assert fsq.standard.initialised.flatten().tolist() == [True, True, False]
    torch.testing.assert_close(fsq.standard.mean[0], latents[:3, 0].mean(0))
    torch.testing.assert_close(fsq.standard.mean[1], latents[:2, 1].mean(0))
    assert fsq.standard.mean[2].tolist() == [0] * 4  # one item is no batch
    assert quantized.values[mask].isfinite().all()
    before = {name: value.clone() for name, value in fsq.state_dict().items()}
    fsq(torch.full((2, 3, 4), float("inf")))
    for name, value in fsq.state_dict().items():
        assert torch.equal(before[name], value), name


def test_gradients_pass_through_the_statistics():
    fsq = FSQ(4, standardise=3)
    latents = torch.randn(6, 3, 4, requires_grad=True)
    (fsq(latents).values * torch.randn(6, 3, 4)).sum().backward()
    torch.testing.assert_close(latents.grad.sum(0), torch.zeros(3, 4), atol=1e-5, rtol=0)
    assert latents.grad.abs().sum() > 0.1


def test_a_share_of_the_items_passes_without_rounding_in_training_only():
    fsq = FSQ(4, noise_dropout=0.3)
    latents = torch.randn(1000, 3, 4)
    quantized = fsq(latents)
    whole = (quantized.values != fsq.decode_ids(quantized.ids)).flatten(1).any(1)
    assert 0.25 < whole.float().mean() < 0.35
    assert torch.equal(quantized.ids, fsq.encode_ids(latents))
    half = torch.tensor([4.0, 2, 2, 2])
    torch.testing.assert_close(quantized.values[whole] * half, fsq._bound(latents)[whole])
    fsq.eval()
    assert torch.equal(fsq(latents).values, fsq.decode_ids(quantized.ids))


def test_other_numbers_of_positions_and_probabilities_are_refused():
    with pytest.raises(ValueError, match="10 positions do not fit 9"):
        FSQ(4, standardise=10)(torch.randn(2, 9, 4))
    with pytest.raises(ValueError, match="noise_dropout 1.5"):
        FSQ(4, noise_dropout=1.5)
