import itertools

import pytest
import torch

from intaglio.codecs.quantizers import entropy as entropies
from intaglio.codecs.quantizers.binary import BinaryQuantizer

KINDS = ("lfq", "bsq", "bounded")


def plain(bits, groups=1, **options):
    return BinaryQuantizer(bits * groups, bits, groups, **options)


def enumerated(vectors, bits, temperature, scale=1.0):
    """Probabilities of all codes by the softmax, [vectors, 2 ** bits], first bit lowest."""
    rows = [combination[::-1] for combination in itertools.product((-1.0, 1.0), repeat=bits)]
    codes = scale * torch.tensor(rows, dtype=torch.float64)
    return (2 * vectors.double() @ codes.t() / temperature).softmax(-1)


def entropy_of(p):
    return torch.special.entr(p).sum(-1)


def test_the_first_bit_is_the_least_significant_and_zero_is_minus_one():
    quantizer = plain(4)
    latents = torch.tensor([[[0.3, -0.2, 0.1, -0.9], [0.0, -0.0, 1e-9, 0.0]]])
    assert quantizer.encode_ids(latents).flatten().tolist() == [5, 4]
    assert quantizer(latents).ids.flatten().tolist() == [5, 4]
    assert quantizer.decode_ids(torch.tensor([[[5]]])).flatten().tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_id_comes_back(kind):
    quantizer = plain(3, 2, kind=kind)
    ids = torch.cartesian_prod(torch.arange(8), torch.arange(8)).unsqueeze(0)
    values = quantizer.decode_ids(ids)
    assert values.unique(dim=1).shape[1] == 64
    torch.testing.assert_close(values.abs(), torch.full_like(values, quantizer.scale))
    assert torch.equal(quantizer.encode_ids(values), ids)


def test_codes_of_a_sphere_have_length_one_and_its_ids_do_not_depend_on_length():
    quantizer = plain(18, kind="bsq")
    latents = torch.randn(2, 5, 18)
    quantized = quantizer(latents)
    torch.testing.assert_close(quantized.values.norm(dim=-1), torch.ones(2, 5))
    assert torch.equal(quantizer.encode_ids(100 * latents), quantized.ids)


def test_128_bits_are_16_ids_of_8():
    quantizer = BinaryQuantizer(128, 8, 16, kind="bounded")
    assert quantizer.vocab == (256,) * 16
    latents = torch.randn(1, 3, 128)
    ids = quantizer.encode_ids(latents)
    bits = (latents > 0).long().view(3, 16, 8)
    assert torch.equal(ids[0], (bits * 2 ** torch.arange(8)).sum(-1))


def test_the_largest_group_has_ids_of_62_bits():
    quantizer = plain(62)
    latents = torch.randn(1, 9, 62)
    ids = quantizer.encode_ids(latents)
    assert ids.min() >= 0 and torch.equal(quantizer.decode_ids(ids), latents.sign())
    assert quantizer(latents).stats["perplexity"].item() == pytest.approx(9, rel=1e-4)


INPUTS = {
    "lfq": lambda x: x,
    "bsq": lambda x: x / x.norm(dim=-1, keepdim=True),
    "bounded": lambda x: 2 * x.sigmoid() - 1,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("temperature", [0.01, 0.5, 2.0])
def test_the_token_entropy_is_that_of_the_softmax_over_all_codes(kind, groups, temperature):
    quantizer = plain(4, groups, kind=kind, temperature=temperature, batch_weight=0.0)
    latents = torch.randn(2, 20, 4 * groups)
    vectors = INPUTS[kind](latents).reshape(-1, 4)
    length = (4 * groups) ** -0.5 if kind == "bsq" else 1.0
    expected = entropy_of(enumerated(vectors, 4, temperature, length)).mean().float()
    found = quantizer(latents).losses["entropy"]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("bits", [1, 5, 6])
def test_the_batch_entropy_is_that_of_the_mean_probabilities(bits):
    quantizer = plain(bits, temperature=0.5, token_weight=0.0)
    latents = torch.randn(2, 20, bits)
    mean = enumerated(latents.flatten(0, 1), bits, 0.5).mean(0)
    got = quantizer(latents).losses["entropy"]
    torch.testing.assert_close(-got, entropy_of(mean).float(), atol=1e-5, rtol=1e-5)


def test_the_entropy_of_the_bits_alone_is_an_upper_bound():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 40, 6, generator=generator)
    options = {"temperature": 0.5, "token_weight": 0.0}
    exact = -plain(6, **options)(latents).losses["entropy"]
    bound = -plain(6, enumerated_bits=5, **options)(latents).losses["entropy"]
    p = (4 * latents[0] / 0.5).sigmoid().mean(0)
    expected = (entropy_of(torch.stack([p, 1 - p], -1))).sum()
    torch.testing.assert_close(bound, expected)
    assert exact < bound - 0.01


def test_one_histogram_for_all_groups_or_one_for_each():
    latents = torch.tensor([[[1.0, -1.0], [1.0, -1.0]]])  # each group always says the same
    options = {"token_weight": 0.0, "temperature": 0.01}
    shared = BinaryQuantizer(2, 1, 2, **options)(latents).losses["entropy"]
    apart = BinaryQuantizer(2, 1, 2, batch_entropy="per_group", **options)(latents)
    assert -shared.item() == pytest.approx(0.6931, abs=1e-4)
    assert apart.losses["entropy"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("enumerated_bits", [0, 18])
def test_large_latents_at_a_low_temperature_give_finite_gradients(enumerated_bits):
    quantizer = plain(8, 2, enumerated_bits=enumerated_bits)
    latents = torch.randn(1, 9, 16) * torch.logspace(-9, 30, 9).view(1, 9, 1)
    latents = latents.requires_grad_()
    loss = quantizer(latents).losses["entropy"]
    loss.backward()
    assert loss.isfinite() and latents.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("enumerated_bits", [0, 18])
def test_half_precision_leaves_the_entropy_as_it_is(kind, enumerated_bits):
    """Probabilities in bfloat16 would be 0 and 1, and their logarithms infinite."""
    quantizer = plain(8, 2, kind=kind, enumerated_bits=enumerated_bits)
    latents = torch.randn(1, 9, 16) * torch.logspace(-9, 30, 9).view(1, 9, 1)
    latents = latents.bfloat16().requires_grad_()
    expected = quantizer(latents.float()).losses["entropy"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = quantizer(latents).losses["entropy"]
    found.backward()
    assert torch.equal(found, expected) and found.isfinite()
    assert latents.grad.isfinite().all()


def test_18_bits_need_no_table_of_all_codes_for_every_vector(monkeypatch):
    sizes = []
    real = entropies.corners
    monkeypatch.setattr(
        "intaglio.codecs.quantizers.binary.corners",
        lambda logits: sizes.append(real(logits).numel()) or real(logits),
    )
    quantizer = plain(18)
    latents = torch.randn(1, 50, 18)
    quantized = quantizer(latents)
    assert sizes == [50 * 512] * 2
    # saturated, each vector is one code: both perplexities count the different codes
    assert quantized.stats["perplexity"].item() == pytest.approx(50, rel=1e-4)
    mean = enumerated(latents[0, :4, :10], 10, 0.3).mean(0)
    small = plain(10, temperature=0.3, token_weight=0.0)(latents[:, :4, :10])
    torch.testing.assert_close(-small.losses["entropy"], entropy_of(mean).float())


def test_only_lfq_has_a_commitment_and_it_draws_to_the_codes():
    losses = {kind: set(plain(4, kind=kind)(torch.randn(1, 3, 4)).losses) for kind in KINDS}
    assert losses == {
        "lfq": {"commitment", "entropy"},
        "bsq": {"entropy"},
        "bounded": {"entropy"},
    }
    latents = torch.tensor([[[0.5, -3.0]]], requires_grad=True)
    loss = plain(2)(latents).losses["commitment"]
    assert loss.item() == pytest.approx((0.25 + 4) / 2)
    loss.backward()
    assert latents.grad.flatten().tolist() == pytest.approx([-0.5, -2.0])


def test_the_gradient_passes_straight_through_the_sign():
    latents = torch.randn(2, 5, 8, requires_grad=True)
    weight = torch.randn(2, 5, 8)
    (plain(8)(latents).values * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)
    bounded = torch.randn(2, 5, 8, requires_grad=True)
    (plain(8, kind="bounded")(bounded).values * weight).sum().backward()
    slope = (1 - (bounded / 2).tanh().square()) / 2
    torch.testing.assert_close(bounded.grad, weight * slope.detach())


def test_masked_positions_have_no_influence():
    mask = torch.arange(20) < torch.tensor([[20], [7]])
    latents = torch.randn(2, 20, 12)
    quantizer = plain(4, 3, temperature=1.0)
    before = quantizer(latents, mask)
    latents[1, 7:] = 1e3
    after = quantizer(latents, mask)
    torch.testing.assert_close(
        [*after.losses.values(), *after.stats.values()],
        [*before.losses.values(), *before.stats.values()],
    )
    empty = quantizer(latents, torch.zeros_like(mask))
    assert all(loss.isfinite() for loss in empty.losses.values())


def test_layers_lead_to_the_bits_only_where_sizes_differ():
    assert not list(BinaryQuantizer(12, 4, 3).parameters())
    quantizer = BinaryQuantizer(16, 4, 3)
    assert quantizer.project_in.weight.shape == (12, 16)
    assert quantizer.project_out.weight.shape == (16, 12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 63}, "1 groups of 63 bits"),
        ({"bits": 0}, "1 groups of 0 bits"),
        ({"groups": 0}, "0 groups of 18 bits"),
        ({"enumerated_bits": 21}, "21 enumerated"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"kind": "ternary"}, "'ternary'"),
        ({"batch_entropy": "mean"}, "batch entropy 'mean'"),
    ],
)
def test_sizes_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        BinaryQuantizer(16, **changes)


@pytest.mark.parametrize("floor", [0.0, 1e-5])
def test_the_floor_of_the_logarithm_is_that_of_the_release_or_none(floor):
    """-sum p log(p + floor) over the mean probabilities of all codes, and its gradient."""
    options = {"log_floor": floor} if floor else {}
    quantizer = BinaryQuantizer(14, 14, temperature=1.0, token_weight=0.0, **options)
    latents = (0.5 * torch.randn(1, 64, 14)).requires_grad_()
    (found,) = torch.autograd.grad(quantizer(latents).losses["entropy"], latents)
    codes = 2.0 * (torch.arange(2**14).unsqueeze(1) >> torch.arange(14) & 1) - 1
    loss = _log_floored(latents, codes, floor)
    (expected,) = torch.autograd.grad(loss, latents)
    torch.testing.assert_close(quantizer(latents).losses["entropy"], loss, atol=1e-4, rtol=1e-4)
    assert (found - expected).norm() < 1e-3 * expected.norm()
    (other,) = torch.autograd.grad(_log_floored(latents, codes, 1e-5 - floor), latents)
    assert (found - other).norm() > 1e-2 * expected.norm()


def _log_floored(latents, codes, floor):
    p = (2 * latents[0] @ codes.t()).softmax(-1).mean(0)
    return (p * (p + floor).log()).sum()
