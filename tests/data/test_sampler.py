"""The order of clips is a function of seed and epoch, and uses every clip equally often."""

from collections import Counter

import pytest
from torch.utils.data import DataLoader

from intaglio.data.sampler import PassSampler


def test_an_epoch_is_one_shuffled_pass():
    sampler = PassSampler(20, seed=3)
    first, second = list(sampler), list(sampler)
    assert {number for number, _ in first} == {0} and {number for number, _ in second} == {1}
    for pairs in (first, second):
        assert sorted(index for _, index in pairs) == list(range(20))
    assert [index for _, index in first] != [index for _, index in second] != list(range(20))
    assert list(PassSampler(20, seed=4)) != first
    assert len(sampler) == 20


def test_epochs_can_be_named_and_repeated():
    sampler = PassSampler(7, seed=1)
    epochs = [list(sampler) for _ in range(4)]
    sampler.set_epoch(2)
    assert [list(sampler), list(sampler)] == epochs[2:]
    assert list(PassSampler(7, seed=1, epoch=3)) == epochs[3]


def test_naming_an_epoch_does_not_change_the_iteration_under_way():
    sampler = PassSampler(6, seed=1)
    expected = list(PassSampler(6, seed=1))
    under_way = iter(sampler)
    got = [next(under_way)]
    sampler.set_epoch(5)
    assert got + list(under_way) == expected


@pytest.mark.parametrize("size", [3, 8, 25])
def test_epochs_of_any_size_go_on_where_the_last_ended(size):
    sampler = PassSampler(8, seed=0, size=size)
    drawn = [pair for _ in range(16) for pair in sampler]
    assert len(set(drawn)) == len(drawn)  # no clip twice in a pass: never the same crop again
    counts = Counter(index for _, index in drawn)
    assert max(counts.values()) - min(counts.get(index, 0) for index in range(8)) <= 1


def test_a_loader_with_living_workers_gives_the_passes_in_order():
    loader = DataLoader(
        _Echo(), 2, sampler=PassSampler(4, seed=0), num_workers=1, persistent_workers=True
    )
    numbers = [number for _ in range(3) for batch in loader for number in batch[0].tolist()]
    assert numbers == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(("count", "size"), [(0, None), (0, 4), (4, 0)])
def test_nothing_to_draw_is_refused(count, size):
    with pytest.raises(ValueError, match="cannot draw"):
        PassSampler(count, size=size)


class _Echo:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, pair: tuple[int, int]) -> tuple[int, int]:
        return pair
