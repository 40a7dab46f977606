"""Which ids are alike: codes of quantizers, their neighbours, and groups of them."""

import pytest
import torch

from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.product import ProductQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.generators.samplers.acceptance.codes import (
    code_vectors,
    nearest_codes,
    overlapping,
    partition,
)
from intaglio.generators.samplers.acceptance.neighbours import LatentNeighbour
from intaglio.generators.samplers.acceptance.relaxed import TVBudget


def differences(codes):
    return codes.unsqueeze(0) - codes.unsqueeze(1)


def test_codes_are_those_that_the_decoder_gets():
    torch.manual_seed(0)
    learned = VectorQuantizer(6, 12, update="gradient", cosine=True)
    with torch.no_grad():
        learned.codebook.mul_(torch.arange(1, 13).unsqueeze(1))
    assert not torch.allclose(learned.codebook.norm(dim=1), torch.ones(12))
    (codes,) = code_vectors(learned)
    assert torch.allclose(codes.norm(dim=1), torch.ones(12), atol=1e-6)
    plain = VectorQuantizer(6, 12)
    assert torch.equal(code_vectors(plain)[0], plain.codebook)


def test_groups_of_a_token_have_codes_of_their_own():
    torch.manual_seed(0)
    parts = [VectorQuantizer(3, 5), VectorQuantizer(2, 7)]
    found = code_vectors(ProductQuantizer(parts))
    for codes, part in zip(found, parts, strict=True):
        wanted = differences(part.codebook).norm(dim=-1)
        assert torch.allclose(differences(codes).norm(dim=-1), wanted, atol=1e-5)
    levels = [VectorQuantizer(3, 5), VectorQuantizer(3, 7)]
    found = code_vectors(ResidualQuantizer(levels))
    assert torch.allclose(differences(found[1]), differences(levels[1].codebook), atol=1e-5)


def test_digits_of_an_id_have_codes_of_their_own():
    quantizer = FSQ(2, (3, 5))
    (whole,) = code_vectors(quantizer)
    first, second = code_vectors(quantizer, (3, 5))
    assert torch.equal(first, whole[:3]) and torch.equal(second, whole[::3])


@pytest.mark.parametrize("at_once", [1 << 24, 40])
def test_neighbours_are_the_nearest_others(monkeypatch, at_once):
    monkeypatch.setattr("intaglio.generators.samplers.acceptance.codes.AT_ONCE", at_once)
    codes = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    table = nearest_codes(codes, 4)
    for x in range(20):
        apart = sorted((float((codes[v] - codes[x]).norm()), v) for v in range(20) if v != x)
        assert table[x].tolist() == [v for _, v in apart[:4]]
    assert nearest_codes(codes, 100).shape == (20, 19)
    same = nearest_codes(torch.zeros(4, 2), 3)  # equal codes are no reason to be one's own
    assert same.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_groups_hold_codes_that_are_alike_and_every_id_once():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    codes = centres.repeat(6, 1) + 0.1 * torch.randn(24, 2)
    weights = partition(codes, 4)
    assert bool(((weights == 0) | (weights == 1)).all()) and weights.sum(0).eq(1).all()
    owner = weights.argmax(0)
    assert bool((owner.view(6, 4) == owner[:4]).all()) and owner[:4].unique().numel() == 4
    shared = overlapping(codes, 4, shared=2)
    assert torch.allclose(shared.sum(0), torch.ones(24)) and (shared > 0).sum(0).eq(2).all()
    assert bool((shared.gather(0, owner[None]) == 0.5).all())
    assert torch.equal(shared, overlapping(codes, 4, shared=2))
    assert torch.equal(partition(codes, 100).sum(1), torch.ones(24))  # alone, in a group each


def test_rules_of_other_ids_are_refused():
    rule = LatentNeighbour([nearest_codes(torch.randn(6, 2), 2)], factor=2.0)
    p, x = torch.zeros(1, 1, 7).log_softmax(-1), torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"which of \(6,\) ids are alike.*group 0.*out of 7"):
        rule.judge(p, p, x, group=0)
    with pytest.raises(ValueError, match="group 1 of a token"):
        rule.judge(p[..., :6], p[..., :6], x, group=1)
    assert TVBudget(0.1).judge(p, p, x, group=1).keep == 1


def test_vectors_have_no_codes():
    class Vectors(FSQ):
        vocab = ()

    quantizer = Vectors(2, (3, 5))
    quantizer.vocab = ()
    with pytest.raises(ValueError, match="vectors, which have no codes"):
        code_vectors(quantizer)
