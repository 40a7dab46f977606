import pytest
import torch

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.vq import VectorQuantizer
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


@pytest.fixture
def codec():
    """With the segments of EnCodec at 48 kHz."""
    torch.manual_seed(0)
    return AudioCodec(
        SEANetEncoder(8, (2, 4, 5, 8), channels=2, width=4, causal=False, norm="group"),
        VectorQuantizer(8, 16),
        SEANetDecoder(8, (2, 4, 5, 8), channels=2, width=4, causal=False, norm="group"),
        sample_rate=48_000,
        channels=2,
        normalise=True,
        segment=48_000,
        overlap=480,
    ).eval()


def of(codec, positions, scales, length=None):
    tokens = codec.tokens(torch.zeros(1, positions, 1, dtype=torch.int64))
    lengths = None if length is None else torch.tensor([length])
    return tokens._replace(scale=torch.ones(1, scales), lengths=lengths)


@pytest.mark.parametrize("rest", [1, 100, 480])
@pytest.mark.parametrize("positions", [149, 150, 151, 152])
@pytest.mark.parametrize("scales", [0, 1, 2, 3])
def test_scales_that_do_not_match_the_positions_are_refused(codec, rest, positions, scales):
    """The release adds a piece within the overlap at these lengths; here there is none."""
    for length in (47_520 + rest, None):
        tokens = of(codec, positions, scales, length)
        if scales == (1 if positions <= 150 else 2):
            if length is None or length <= codec._ends(tokens):
                assert codec.decode(tokens).isfinite().all()
                continue
            with pytest.raises(ValueError, match="outside what the positions hold"):
                codec.decode(tokens)
            continue
        with pytest.raises(ValueError, match="need a scale of"):
            codec.decode(tokens)
        with pytest.raises(ValueError, match="need a scale of"):
            list(codec.decode_blocks([tokens]))


def test_an_item_without_positions_is_silent(codec):
    tokens = codec.tokens(
        torch.zeros(2, 160, 1, dtype=torch.int64), torch.arange(160) < torch.tensor([[160], [0]])
    )
    decoded = codec.decode(tokens._replace(scale=torch.ones(2, 2)))
    assert decoded[0].abs().sum() > 0 and not decoded[1].any()


@pytest.mark.parametrize("lengths", [[1, 2], [1.0], [[3]], [-4], [10**6]])
def test_lengths_that_the_positions_do_not_hold_are_refused(codec, lengths):
    tokens = of(codec, 150, 1)._replace(lengths=torch.tensor(lengths))
    with pytest.raises(ValueError, match="lengths"):
        codec.decode(tokens)


def test_blocks_end_with_the_last_position_whatever_the_lengths(codec):
    tokens = of(codec, 299, 2, 95_140)
    assert sum(block.shape[-1] for block in codec.decode_blocks([tokens])) == 95_200
