"""Probes of classes and captions: on features that contain them, and on features that do not."""

import pytest
import torch

from intaglio.recipes.evaluation.generators.probes import (
    CaptionProbe,
    ClassProbe,
    bags_of,
    draw_candidates,
)

WORDS = "apple bear cat dog eel fox goat hen ibis jay kiwi lion mole newt owl pig".split()


def clusters(items, seed=0, classes=3, dim=20):
    torch.manual_seed(9)
    centres = 3 * torch.randn(classes, dim, dtype=torch.float64)
    torch.manual_seed(seed)
    labels = torch.arange(items) % classes
    return centres[labels] + torch.randn(items, dim, dtype=torch.float64), labels


def test_classes_that_features_contain_are_predicted():
    probe = ClassProbe(*clusters(120))
    features, labels = clusters(60, seed=1)
    assert probe.correct(features, labels) == [1.0] * 60
    assert sum(probe.correct(features, labels.roll(1))) == 0
    noise = torch.randn(600, 20, dtype=torch.float64)
    assert sum(probe.correct(noise, torch.arange(600) % 3)) / 600 == pytest.approx(1 / 3, abs=0.07)


def test_features_of_any_scale_are_classified_alike():
    features, labels = clusters(120)
    others, wanted = clusters(60, seed=1)
    noisy = others + 9 * torch.randn(60, 20, dtype=torch.float64)
    scale = torch.logspace(-4, 4, 20, dtype=torch.float64)
    plain = ClassProbe(features, labels).correct(noisy, wanted)
    assert ClassProbe(features * scale + 7, labels).correct(noisy * scale + 7, wanted) == plain
    assert 0 < sum(plain) < 60


def test_items_without_a_class_are_left_out():
    features, labels = clusters(120)
    strange = torch.cat([features, 50 + torch.zeros(300, 20, dtype=torch.float64)])
    probe = ClassProbe(strange, torch.cat([labels, torch.full((300,), -1)]))
    assert torch.equal(probe.weight, ClassProbe(features, labels).weight)
    assert probe.correct(features[:4], torch.tensor([0, -1, 2, -1])) == [1.0, 1.0]
    with pytest.raises(ValueError, match="two classes"):
        ClassProbe(features, torch.zeros(120, dtype=torch.int64))


def captions(items, seed):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(len(WORDS), (items, 2), generator=generator).tolist()
    return [f"{WORDS[one]} and {WORDS[other]}" for one, other in numbers]


def pictured(texts, noise=0.0):
    """Features that contain the words."""
    torch.manual_seed(5)
    look = torch.randn(bags_of([""]).shape[1], 60, dtype=torch.float64)
    return bags_of(texts) @ look + noise * torch.randn(len(texts), 60, dtype=torch.float64)


def test_captions_that_features_contain_are_retrieved():
    train, held = captions(400, 0), sorted(set(captions(60, 1)))
    probe = CaptionProbe(pictured(train, 0.3), train)
    candidates = draw_candidates(range(len(held)), len(held), candidates=10)
    found = probe.retrieved(pictured(held, 0.3), held, candidates)
    assert sum(found) / len(found) > 0.9
    shuffled = probe.retrieved(pictured(held, 0.3).roll(1, 0), held, candidates)
    assert sum(shuffled) / len(shuffled) < 0.3


def test_features_without_captions_are_at_chance():
    train, held = captions(200, 0), sorted(set(captions(90, 1)))
    probe = CaptionProbe(torch.randn(200, 10, dtype=torch.float64), train)
    rates = []
    for seed in range(10):
        candidates = draw_candidates(range(len(held)), len(held), candidates=5, seed=seed)
        noise = torch.randn(len(held), 10, dtype=torch.float64)
        rates += probe.retrieved(noise, held, candidates)
    assert sum(rates) / len(rates) == pytest.approx(0.2, abs=0.06)


def test_candidates_hold_the_right_caption_once():
    right = [3, 0, 9, 3]
    candidates = draw_candidates(right, 10, candidates=5, seed=2)
    assert candidates.shape == (4, 5) and candidates[:, 0].tolist() == right
    for row in candidates.tolist():
        assert len(set(row)) == 5 and min(row) >= 0 and max(row) <= 9
    many = draw_candidates([0] * 400, 10, candidates=5)[:, 1:]
    assert sorted(set(many.flatten().tolist())) == list(range(1, 10))  # all others, evenly
    assert (many.flatten().bincount()[1:] > 100).all()
    assert draw_candidates(right, 10, candidates=50).shape == (4, 10)


def test_bags_count_parts_of_words_whatever_the_case():
    one, two, other = bags_of(["Red fox", "red red FOX", "green owl"])
    assert torch.equal(one > 0, two > 0) and two.sum() > one.sum() > 0
    assert not torch.equal(one > 0, other > 0)
    assert bags_of(["?"]).sum() == 0
