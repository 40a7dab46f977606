import pytest
import torch

from intaglio.codecs import Tokens
from intaglio.codecs.tokens import concatenated


def tokens(**changes):
    ids = torch.tensor([[[0, 4], [3, 0], [0, 0]]])
    mask = torch.tensor([[True, True, False]])
    return Tokens(ids, mask, (4, 5))._replace(**changes)


def test_good_tokens_pass_and_count_their_bits():
    assert tokens().check().bits_per_position == pytest.approx(2 + 2.321928)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ids": torch.zeros(1, 3, 2)}, "int64"),
        ({"ids": torch.zeros(1, 3, dtype=torch.int64)}, "int64"),
        ({"vocab": (4,)}, "2 groups"),
        ({"mask": torch.ones(1, 3)}, "mask"),
        ({"mask": torch.ones(1, 2, dtype=torch.bool)}, "mask"),
        ({"vocab": (3, 5)}, "id 3 at position 1, group 0"),
        ({"ids": torch.tensor([[[0, -1], [0, 0], [0, 0]]])}, "id -1 at position 0, group 1"),
    ],
)
def test_each_broken_rule_is_named(changes, reason):
    with pytest.raises(ValueError, match=reason):
        tokens(**changes).check()


def test_ids_behind_the_end_of_an_item_do_not_count():
    ids = tokens().ids.clone()
    ids[0, 2, 0] = 99
    tokens(ids=ids).check()


def test_blocks_of_positions_are_joined_in_time():
    blocks = [
        Tokens(
            torch.randint(0, 9, (2, n, 1)), torch.ones(2, n, dtype=torch.bool), (9,), scale=scale
        )
        for n, scale in ((3, torch.ones(2, 2)), (1, None), (2, torch.zeros(2, 1)))
    ]
    joined = concatenated(blocks).check()
    assert torch.equal(joined.ids, torch.cat([block.ids for block in blocks], dim=1))
    assert joined.mask.shape == (2, 6) and joined.scale.tolist() == [[1, 1, 0]] * 2
    assert concatenated(blocks[1:2]).scale is None
