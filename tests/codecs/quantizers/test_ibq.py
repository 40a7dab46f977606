import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.quantizers import ibq as module
from intaglio.codecs.quantizers.ibq import IndexBackpropagationQuantizer


def test_the_largest_inner_product_is_chosen_not_the_nearest_code():
    quantizer = IndexBackpropagationQuantizer(2, 3).eval()
    with torch.no_grad():
        quantizer.codebook.copy_(torch.tensor([[1.0, 0.0], [5.0, 1.0], [-1.0, 0.0]]))
    latents = torch.tensor([[[1.0, 0.0], [-1.0, 0.1]]])
    assert quantizer.encode_ids(latents).flatten().tolist() == [1, 2]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_values_and_losses_are_those_of_the_formula(mode):
    quantizer = IndexBackpropagationQuantizer(6, 40, temperature=0.3).train(mode == "train")
    latents = torch.randn(2, 9, 6)
    scores = latents @ quantizer.codebook.t()
    codes = quantizer.codebook[scores.argmax(-1)]
    quantized = quantizer(latents)
    assert torch.equal(quantized.values, codes)
    p = (scores / 0.3).softmax(-1)
    entropy = torch.special.entr(p).sum(-1).mean()
    entropy = entropy - torch.special.entr(p.mean((0, 1))).sum()
    torch.testing.assert_close(quantized.losses["entropy"], entropy, atol=1e-5, rtol=1e-5)
    for name in ("index", "commitment", "codebook"):
        torch.testing.assert_close(quantized.losses[name], F.mse_loss(codes, latents))


@pytest.mark.parametrize("floor", [0.0, 1e-2])
def test_the_floor_of_the_logarithm_is_added_to_the_mean_probabilities(floor):
    options = {"log_floor": floor} if floor else {}
    quantizer = IndexBackpropagationQuantizer(6, 40, temperature=0.3, token_weight=0.0, **options)
    latents = torch.randn(2, 9, 6, requires_grad=True)
    loss = quantizer(latents).losses["entropy"]
    p = (latents @ quantizer.codebook.t() / 0.3).softmax(-1).mean((0, 1))
    expected = (p * (p + floor).log()).sum()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad(one, latents)[0] for one in (loss, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    assert (loss - (p * (p + 1e-2 - floor).log()).sum()).abs() > 1e-2


def test_gradients_are_those_of_the_one_hot_formula_and_reach_every_code():
    quantizer = IndexBackpropagationQuantizer(6, 40).train()
    latents = torch.randn(2, 9, 6, requires_grad=True)
    weight = torch.randn(2, 9, 6)
    found = torch.autograd.grad(
        (quantizer(latents).values * weight).sum() + quantizer(latents).losses["index"],
        [latents, quantizer.codebook],
    )
    scores = latents @ quantizer.codebook.t()
    p = scores.softmax(-1)
    hard = F.one_hot(scores.argmax(-1), 40).float()
    values = (hard - p.detach() + p) @ quantizer.codebook
    expected = torch.autograd.grad(
        (values * weight).sum() + F.mse_loss(values, latents), [latents, quantizer.codebook]
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert len(scores.argmax(-1).unique()) < 40
    assert (found[1].abs().sum(1) > 0).all()


def test_each_loss_moves_what_its_name_says():
    quantizer = IndexBackpropagationQuantizer(6, 40).train()
    latents = torch.randn(2, 9, 6, requires_grad=True)
    moved = {}
    for name in ("index", "commitment", "codebook", "entropy"):
        loss = quantizer(latents).losses[name]
        grads = torch.autograd.grad(loss, [latents, quantizer.codebook], allow_unused=True)
        moved[name] = [g is not None and bool(g.abs().sum() > 0) for g in grads]
    assert moved == {
        "index": [True, True],
        "commitment": [True, False],
        "codebook": [False, True],
        "entropy": [True, True],
    }


def test_evaluation_works_in_slices(monkeypatch):
    quantizer = IndexBackpropagationQuantizer(4, 64, temperature=1.0).eval()
    latents = torch.randn(3, 20, 4)
    expected = quantizer(latents)
    rows = []
    sums = quantizer._sums
    monkeypatch.setattr(quantizer, "_sums", lambda scores: rows.append(len(scores)) or sums(scores))
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 7 * 64)
    got = quantizer(latents)
    assert max(rows) == 7
    torch.testing.assert_close(got.losses, expected.losses)


def test_masked_positions_have_no_influence():
    quantizer = IndexBackpropagationQuantizer(4, 64, temperature=1.0).train()
    mask = torch.arange(20) < torch.tensor([[20], [7]])
    latents = torch.randn(2, 20, 4)
    before = quantizer(latents, mask)
    latents[1, 7:] = 1e3
    after = quantizer(latents, mask)
    torch.testing.assert_close(after.losses, before.losses)
    torch.testing.assert_close(after.stats, before.stats)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="positive, got 0"):
        IndexBackpropagationQuantizer(4, 8, temperature=0.0)
