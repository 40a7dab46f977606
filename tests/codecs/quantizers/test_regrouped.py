"""Two codebooks that become one: the most used codes, when, and what evaluation sees."""

import pytest
import torch

from intaglio.codecs.quantizers.regrouped import RegroupedQuantizer

CENTRES = torch.tensor([-6.0, -2.0, 2.0, 6.0])


def vectors(seed, count=256):
    """Halves near one of four points, the second and the third of the points more often."""
    generator = torch.Generator().manual_seed(seed)
    often = torch.tensor([0.1, 0.4, 0.4, 0.1])
    chosen = torch.multinomial(often, 2 * count, replacement=True, generator=generator)
    noise = 0.05 * torch.randn(count, 2, generator=generator)
    return (CENTRES[chosen.view(count, 2)] + noise).unsqueeze(0)


def trained(batches, group_batches=30):
    torch.manual_seed(0)
    quantizer = RegroupedQuantizer(2, 4, kept=(2, 2), group_batches=group_batches, decay=0.8)
    return quantizer, [quantizer(vectors(seed)) for seed in range(batches)]


def test_the_first_stage_quantizes_the_halves_with_all_codes():
    quantizer, outputs = trained(20)
    assert (outputs[-1].values - vectors(19)).abs().max() < 0.5
    assert outputs[-1].ids.shape == (1, 256, 1) and int(quantizer.batches) == 20


@pytest.mark.parametrize("batches", [20, 29, 30])
def test_the_most_used_codes_of_both_groups_become_pairs(batches):
    quantizer, _ = trained(batches)
    codes = quantizer.eval().joint.codebook
    expected = torch.cartesian_prod(CENTRES[1:3], CENTRES[1:3])
    assert torch.cdist(expected, codes).min(1).values.max() < 0.3


def test_the_pairs_are_trained_on_after_so_many_batches():
    quantizer, outputs = trained(31)
    x = vectors(30)
    assert (outputs[30].values - x).abs().max() > 3  # the rare points have no code any more
    assert (outputs[29].values - vectors(29)).abs().max() < 0.5


def test_before_it_evaluation_has_the_pairs_of_the_moment():
    quantizer, _ = trained(20)
    quantizer.eval()
    x = vectors(50)
    ids = quantizer.encode_ids(x)
    assert torch.equal(quantizer(x).ids, ids)
    near = quantizer.decode_ids(ids).sub(x).abs().amax(-1) < 0.5
    frequent = (x.abs() < 4).all(-1)
    assert torch.equal(near, frequent)
    same = quantizer.train()(x).ids  # of the same moment
    assert torch.equal(same, ids)


def test_afterwards_the_one_codebook_learns_and_the_groups_stay():
    quantizer, _ = trained(31)
    groups = [part.codebook.clone() for part in quantizer.groups.parts]
    before = quantizer.joint.codebook.clone()
    moved = [quantizer(vectors(seed) + 0.5) for seed in range(31, 60)]
    assert all(
        torch.equal(a, b.codebook) for a, b in zip(groups, quantizer.groups.parts, strict=True)
    )
    assert not torch.equal(quantizer.joint.codebook, before)
    after = quantizer.joint.codebook.clone()
    assert torch.equal(quantizer.eval().joint.codebook, after)
    assert (
        torch.equal(moved[-1].values, quantizer.decode_ids(moved[-1].ids))
        or (moved[-1].values - quantizer.decode_ids(moved[-1].ids)).abs().max() < 0.2
    )  # the codes moved after the batch was quantized


def test_a_training_that_goes_on_regroups_at_the_same_batch():
    quantizer, _ = trained(29)
    resumed = RegroupedQuantizer(2, 4, kept=(2, 2), group_batches=30, decay=0.8)
    resumed.load_state_dict(quantizer.state_dict())
    for seed in range(29, 33):
        assert torch.equal(quantizer(vectors(seed)).values, resumed(vectors(seed)).values)
    assert int(resumed.batches) == 30


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"dim": 3}, "halves of 3 channels"),
        ({"group_batches": 0}, "0 batches"),
        ({"kept": (9, 2)}, r"of 8 codes of a group, \(9, 2\) cannot be kept"),
        ({"kept": (2, 0)}, "cannot be kept"),
    ],
)
def test_what_cannot_be_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        RegroupedQuantizer(
            **{"dim": 4, "group_size": 8, "kept": (2, 2), "group_batches": 5} | arguments
        )
