import pytest
import torch

from intaglio.codecs.quantizers import perturbation as module
from intaglio.codecs.quantizers.codebook import nearest
from intaglio.codecs.quantizers.perturbation import Perturbation
from intaglio.codecs.quantizers.vq import VectorQuantizer


def found(batch=10, positions=400, codes=64):
    """Vectors, codes and ids as a codebook finds them."""
    vectors, codebook = torch.randn(batch, positions, 6), torch.randn(codes, 6)
    return nearest(vectors.flatten(0, 1), codebook).view(batch, positions), vectors, codebook


@pytest.mark.parametrize(("rate", "strength"), [(1.0, 10), (0.4, 5), (0.9, 2)])
def test_so_many_positions_change_of_so_many_items(rate, strength):
    ids, vectors, codes = found()
    changed = Perturbation(rate, strength, share=0.55)(ids, vectors, codes) != ids
    assert changed.flatten(1).any(1).tolist() == [True] * 5 + [False] * 5
    expected = rate * (1 - 1 / strength)
    sigma = (expected * (1 - expected) / changed[:5].numel()) ** 0.5
    assert abs(changed[:5].float().mean().item() - expected) < 3 * sigma


def test_each_of_the_nearest_codes_is_drawn_as_often(monkeypatch):
    ids, vectors, codes = found()
    drawn = Perturbation(1.0, 5, share=1.0)(ids, vectors, codes)
    order = torch.cdist(vectors, codes.expand(len(vectors), -1, -1)).argsort(-1)
    ranks = (order == drawn.unsqueeze(-1)).float().argmax(-1)
    counts = torch.bincount(ranks.flatten(), minlength=5)
    assert len(counts) == 5
    assert (counts / counts.sum() - 0.2).abs().max() < 4 * (0.16 / 4000) ** 0.5
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 7 * 64)
    states = []
    for slices in (7 * 64, 1 << 22):
        monkeypatch.setattr(module, "SCORES_AT_ONCE", slices)
        generator = torch.Generator().manual_seed(3)
        states.append(Perturbation(1.0, 5, share=1.0)(ids, vectors, codes, generator))
    assert torch.equal(*states)


@pytest.mark.parametrize("off", [{"rate": 0.0}, {"strength": 1}, {"share": 0.0}, {"share": 0.09}])
def test_nothing_changes_when_it_is_off(off):
    ids, vectors, codes = found()
    changed = Perturbation(**({"rate": 1.0, "strength": 5, "share": 1.0} | off))
    assert torch.equal(changed(ids, vectors, codes), ids)


@pytest.mark.parametrize("cosine", [False, True])
def test_a_quantizer_gives_perturbed_values_and_clean_ids_and_losses(cosine):
    quantizer = VectorQuantizer(
        6,
        64,
        update="gradient",
        cosine=cosine,
        kmeans_iterations=0,
        dead_below=0.0,
        perturbation=Perturbation(strength=8, share=0.5),
    )
    latents = torch.randn(4, 50, 6, requires_grad=True)
    output = quantizer.train()(latents)
    clean = quantizer.decode_ids(output.ids)
    assert torch.equal(output.ids, quantizer.encode_ids(latents))
    differs = (output.values != clean).any(-1)
    assert differs[:2].float().mean() > 0.8 and not differs[2:].any()
    weight = torch.randn_like(clean)
    back = torch.autograd.grad((output.values * weight).sum(), [latents, quantizer.codebook],
                               allow_unused=True)  # fmt: skip
    assert back[0].abs().min() > 0 and back[1] is None
    quantizer.perturbation = None
    assert quantizer(latents).losses == output.losses
    quantizer.perturbation = Perturbation(strength=8, share=0.5)
    assert torch.equal(quantizer.eval()(latents).values, clean)


def test_impossible_draws_are_refused():
    with pytest.raises(ValueError, match="got 1.5"):
        Perturbation(1.5)
    with pytest.raises(ValueError, match="strength from 1 on"):
        Perturbation(strength=0)
    with pytest.raises(ValueError, match="100 of 64 codes"):
        Perturbation(share=1.0)(*found())
