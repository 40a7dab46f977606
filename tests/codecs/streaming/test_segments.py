import pytest
import torch

from intaglio.codecs.streaming.segments import Segments


@pytest.mark.parametrize(
    ("samples", "pieces"), [(1, 1), (99, 1), (100, 1), (101, 2), (190, 2), (191, 3), (280, 3)]
)
def test_a_piece_begins_only_where_the_one_before_does_not_reach(samples, pieces):
    assert int(Segments(100, 10).pieces(torch.tensor(samples))) == pieces


def test_pieces_that_are_left_alone_join_to_the_signal():
    """Whatever the triangular weights, equal overlaps fade into themselves."""
    segments = Segments(40, 12)
    x = torch.randn(2, 3, 150)
    pieces = segments._cut(x)
    lengths = torch.tensor([[40, 40, 40, 40, 38]] * 2)
    joined = segments._join(pieces, lengths)
    torch.testing.assert_close(joined[..., :150], x)


def test_two_pieces_give_way_linearly():
    segments = Segments(40, 12)
    pieces = torch.stack([torch.zeros(1, 1, 40), torch.ones(1, 1, 40)], dim=1)
    fade = segments._join(pieces, torch.full((1, 2), 40))[0, 0, 28:40]
    torch.testing.assert_close(fade, torch.arange(1.0, 13.0) / 13)
