"""Distances of drawn from real items, and copies: identities and what must differ."""

import pytest
import torch

from intaglio.recipes.evaluation.generators.distances import (
    Neighbours,
    PrincipalAxes,
    distinct_share,
    exact_copies,
    independent_kernel_distance,
    num_components,
)


def normal(items, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, dim, dtype=torch.float64, generator=generator)


def test_components_are_a_fifth_of_the_fewest_items():
    assert num_components(1000, 92, 1800) == 18
    assert num_components(5000, 4000, 3000) == 64 and num_components(100, 4) == 0


def test_distance_is_along_the_directions_of_the_training_items():
    spread = torch.tensor([5.0, 3.0, 0.1, 0.1], dtype=torch.float64)
    axes = PrincipalAxes(normal(4000, 4) * spread, 2)
    x = normal(4000, 4, seed=1) * spread
    along, across = torch.eye(4, dtype=torch.float64)[[0, 3]]
    assert axes.distance(x, x + 2 * along) == pytest.approx(4, rel=0.01)
    assert axes.distance(x, x + 2 * across) == pytest.approx(0, abs=0.01)
    assert axes.distance(x, x) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_for_sets_drawn_apart():
    x, y = normal(7, 3), normal(5, 3, seed=1)

    def kernel(one, other):
        return (float(one @ other) / 3 + 1) ** 3

    within = [
        sum(kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j)
        / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    between = sum(kernel(a, b) for a in x for b in y) / 35
    assert independent_kernel_distance(x, y) == pytest.approx(sum(within) - 2 * between)
    same = [
        independent_kernel_distance(normal(40, 3, seed=2 * n), normal(60, 3, seed=2 * n + 1))
        for n in range(300)
    ]
    error = torch.tensor(same).std() / len(same) ** 0.5
    assert abs(sum(same) / len(same)) < 4 * error
    assert independent_kernel_distance(x, y + 3) > 1


def test_copies_are_near_and_fresh_items_are_not():
    train = normal(500)
    near = Neighbours(train)
    assert near.copies(train[:50]) == [1.0] * 50
    assert near.copies(train[:50] + 1e-9) == [1.0] * 50
    assert sum(near.copies(normal(500, seed=1))) / 500 < 0.04
    assert sum(near.copies(normal(50, seed=1) + 9)) == 0
    share = float((near.within <= near.threshold).double().mean())
    assert share == pytest.approx(0.01, abs=0.003)
    distance, index = near.nearest(train[[7, 3]] + 1e-3)
    assert index.tolist() == [7, 3]
    torch.testing.assert_close(distance, torch.full((2,), 1e-3 * 8**0.5, dtype=torch.float64))


def test_an_item_is_not_its_own_neighbour():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    assert Neighbours(line).within.tolist() == [1, 1, 2, 4]


def test_twins_in_the_training_do_not_hide_copies():
    train = torch.cat([normal(100, 50) * 1000, normal(100, 50) * 1000])
    near = Neighbours(train)
    assert near.threshold == 0
    assert near.copies(train[:20]) == [1.0] * 20
    assert sum(near.copies(normal(100, 50, seed=1) * 1000)) == 0


def test_many_items_are_compared_in_parts(monkeypatch):
    whole = Neighbours(normal(50)).within
    monkeypatch.setattr("intaglio.recipes.evaluation.generators.distances.CHUNK", 7)
    torch.testing.assert_close(Neighbours(normal(50)).within, whole)


def test_distinct_items_and_exact_copies():
    views = torch.arange(24).view(4, 3, 2)
    drawn = torch.stack([views[0], views[3], views[0], views[1].flip(0)])
    assert distinct_share(drawn) == 0.75 and distinct_share(views) == 1
    assert distinct_share(torch.zeros(5, 3, 2)) == 0.2
    assert exact_copies(drawn, views) == [1.0, 1.0, 1.0, 0.0]
    assert exact_copies(drawn[:1], views[1:]) == [0.0]


def test_equal_marginals_of_another_joint_distribution_differ():
    """Equal marginals, another joint distribution: what a linear probe can miss."""
    joint, apart = normal(2000, 1).expand(-1, 4), normal(2000, 4, seed=1)
    again = normal(2000, 1, seed=2).expand(-1, 4)
    assert PrincipalAxes(joint, 1).distance(joint, apart) == pytest.approx(1, abs=0.2)
    control = abs(independent_kernel_distance(joint, again))
    assert independent_kernel_distance(joint, apart) > 1 > 3 * control
