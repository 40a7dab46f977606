"""Numbers of a counter: known answers, any batch, uniform and normal distributions."""

import pytest
import torch

from intaglio.generators.inference.counter_rng import Ahead, Draws, Role, gumbel, philox, splitmix

ANSWERS = [  # of the authors' library, for Philox4x32-10: counter, key, words
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS, ids=["zeros", "ones", "pi"])
def test_known_answers(counter, key, words):
    k0, k1 = (torch.tensor([word]) for word in key)
    found = philox([torch.tensor([word]) for word in counter], (k0, k1))
    assert [int(word) for word in found] == words


def draws(seeds, positions, round=0):
    return Draws(torch.tensor(seeds), torch.tensor(positions), round)


def test_an_item_has_its_numbers_in_any_batch_and_order():
    whole = draws([5, 2**40 + 3, -1], [[0, 1, 2, 7]] * 3).uniform(Role.NOISE, 5)
    assert whole.shape == (3, 4, 5) and whole.dtype == torch.float64
    alone = draws([2**40 + 3], [[7, 1]]).uniform(Role.NOISE, 5)
    assert torch.equal(alone[0], whole[1][[3, 1]])
    assert torch.equal(draws([5], [[2]]).uniform(Role.NOISE, 2)[0, 0], whole[0, 2, :2])
    shared = draws([5, 2**40 + 3, -1], [[0, 1, 2, 7]]).uniform(Role.NOISE, 5)
    assert torch.equal(shared, whole)
    assert len(whole.unique()) == whole.numel()


@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 3), (2, 5), (5, 1), (6, 2)])
def test_a_row_of_numbers_is_read_from_any_place(first, count):
    base = draws([3, 8], [[4, 2, 9]])
    row = base.uniform(Role.NOISE, 12)[..., first : first + count]
    assert torch.equal(base.uniform(Role.NOISE, count, first=first), row)
    normal = base.normal(Role.NOISE, 12)[..., first : first + count]
    assert torch.equal(base.normal(Role.NOISE, count, first=first), normal)


def test_seed_position_role_and_turn_each_change_everything():
    base = draws([3], [[4]])
    others = [
        base,
        draws([4], [[4]]),
        draws([3 + 2**32], [[4]]),
        draws([3], [[5]]),
        draws([3], [[4]], round=1),
    ]
    found = [one.uniform(Role.TOKEN, 8) for one in others]
    found.append(base.uniform(Role.ORDER, 8))
    assert len(torch.stack(found).unique()) == 8 * len(found)


def test_distributions():
    """Kolmogorov's distance of 40,000 numbers stays below that of one test in ten thousand."""
    limit = 2.23 / 200  # sqrt(-ln(1e-4 / 2) / 2) over the root of the count
    many = draws(list(range(10)), [list(range(40))] * 10)
    ramp = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    uniform = many.uniform(Role.TOKEN, 100).flatten().sort().values
    assert float((uniform - ramp).abs().max()) < limit
    normal = many.normal(Role.TOKEN, 100)
    assert normal.dtype == torch.float32 and bool(normal.isfinite().all())
    ranked = torch.special.ndtr(normal.double().flatten().sort().values)
    assert float((ranked - ramp).abs().max()) < limit
    pairs = many.uniform(Role.TOKEN, 100) - 0.5
    assert abs(float((pairs[..., :-1] * pairs[..., 1:]).mean()) * 12) < 4 / 200


def test_numbers_of_all_positions_ahead_are_those_of_each():
    seeds, places = torch.tensor([5, -3]), torch.arange(4)
    ahead = Ahead(0, Draws(seeds, places.unsqueeze(0)), {})
    for number in (2, 0, 3):
        alone = Draws(seeds, torch.tensor([[number]]))
        found = alone._replace(ahead=ahead._replace(number=number))
        for role, count in ((Role.TOKEN, 1), (Role.TOKEN, 3), (Role.NOISE, 3)):
            assert torch.equal(found.uniform(role, count), alone.uniform(role, count))
            assert torch.equal(found.keys(role, count), alone.keys(role, count))
        assert torch.equal(found.normal(Role.NOISE, 100), alone.normal(Role.NOISE, 100))
        assert torch.equal(
            found.uniform(Role.NOISE, 2, first=3), alone.uniform(Role.NOISE, 2, first=3)
        )
    assert {count for _, count in ahead.kept} == {1, 3}  # many are not kept


def test_items_have_positions_and_rounds_of_their_own():
    seeds, positions = torch.tensor([3, 8]), torch.tensor([[4, 2, 7], [0, 1, 9]])
    rounds = torch.tensor([0, 5])
    ahead = Ahead(None, Draws(seeds, torch.arange(10).unsqueeze(0)), {})
    found = Draws(seeds, positions, rounds, ahead)
    for row in range(2):
        alone = Draws(seeds[row : row + 1], positions[row : row + 1], int(rounds[row]))
        assert torch.equal(found.uniform(Role.TOKEN, 2)[row], alone.uniform(Role.TOKEN, 2)[0])
        first = alone._replace(round=0).keys(Role.TOKEN, 2)[0]
        assert torch.equal(found._replace(round=0).keys(Role.TOKEN, 2)[row], first)
    assert list(ahead.kept) == [(Role.TOKEN, 2)]  # of round 0 alone


def test_known_answers_of_splitmix():
    """Of the authors' program, for the seed 1234567."""
    words = splitmix(torch.tensor(1234567), torch.arange(1, 6))
    assert [int(word) % 2**64 for word in words] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_gumbel_numbers():
    """Kolmogorov's distance as above; neighbours and equal indices of other keys do not agree."""
    limit = 2.23 / 200
    keys = draws(list(range(10)), [list(range(40))] * 10).keys(Role.TOKEN)[..., 0]
    found = gumbel(keys, 100)
    assert found.shape == (10, 40, 100) and found.dtype == torch.float32
    assert torch.equal(gumbel(keys[3, 7], 100), found[3, 7])
    assert torch.equal(gumbel(keys, 30), found[..., :30])
    uniform = (-(-found.double()).exp()).exp()
    ramp = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    assert float((uniform.flatten().sort().values - ramp).abs().max()) < limit
    centred = uniform - 0.5
    for shifted in (centred.roll(1, -1), centred.roll(1, 0), centred.roll(1, 1)):
        assert abs(float((centred * shifted).mean()) * 12) < 4 / 200
