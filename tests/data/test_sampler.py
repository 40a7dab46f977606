"""The order of clips is a function of seed and epoch, and uses every clip equally often."""

from collections import Counter

import pytest
from torch.utils.data import DataLoader

from intaglio.data.sampler import PassLoader, PassSampler, ShareSampler


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


@pytest.mark.parametrize(("size", "batch", "processes"), [(20, 2, 3), (7, 1, 2), (25, 4, 2)])
def test_processes_share_the_batches_of_one(size, batch, processes):
    """Together they read what one process with the whole batch reads, each an equal part."""
    whole = PassSampler(11, seed=3, size=size, batch_size=batch * processes)
    parts = [
        PassSampler(11, seed=3, size=size, batch_size=batch, rank=rank, num_processes=processes)
        for rank in range(processes)
    ]
    for _ in range(3):
        rows = [list(part) for part in parts]
        assert {len(row) for row in rows} == {len(parts[0])}
        starts = range(0, len(parts[0]), batch)
        assert [pair for at in starts for row in rows for pair in row[at : at + batch]] == list(
            whole
        )


def test_seeking_gives_the_rest_and_then_whole_epochs():
    whole = PassSampler(10, seed=1, batch_size=2)
    epochs = [list(whole) for _ in range(4)]
    sampler = PassSampler(10, seed=1, batch_size=2)
    sampler.seek(2, 3)
    assert list(sampler) == epochs[2][6:]
    assert list(sampler) == epochs[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_the_training_was_not_the_workers(workers):
    def loader(trained):
        return PassLoader(
            _Echo(),
            PassSampler(4, seed=0),
            collate_fn=list,
            trained=lambda: trained,
            num_workers=workers,
        )

    first = loader((1, 1))
    expected = [batch for _ in range(3) for batch in first]
    under_way = iter(first)
    next(under_way)  # what the loader has given, or prepared, is not what was trained on
    again = loader((0, 0))
    again.load_state_dict(first.state_dict())
    assert [batch for _ in range(2) for batch in again] == expected[5:12]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shares_are_disjoint_and_none_is_empty(count):
    shares = [list(ShareSampler(count, rank=rank, num_processes=3)) for rank in range(3)]
    drawn = Counter(index for share in shares for index in share)
    assert set(drawn) == set(range(count)) and all(shares)
    assert count < 3 or max(drawn.values()) == 1


def test_too_few_samples_for_every_process_are_refused():
    with pytest.raises(ValueError, match="epoch of 7 samples holds no batch of 4 for each of 2"):
        PassSampler(7, batch_size=4, num_processes=2)


class _Echo:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, pair: tuple[int, int]) -> tuple[int, int]:
        return pair
