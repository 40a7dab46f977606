import pytest
import torch

from intaglio.codecs.layers.local_attention import LocalAttention


def test_a_window_sees_itself_only():
    layer = LocalAttention(64, 4)
    x = torch.randn(1, 64, 12)
    before = layer(x)
    x[..., 5] += torch.randn(64)
    changed = (layer(x) - before).abs().amax(1)[0] > 1e-6
    assert changed.tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_the_last_window_may_be_short_and_items_end_where_they_end():
    layer = LocalAttention(64, 4)
    x = torch.randn(2, 64, 11)
    batch = layer(x, torch.tensor([11, 6]))
    torch.testing.assert_close(batch[0], layer(x[:1])[0])
    torch.testing.assert_close(batch[1, :, :6], layer(x[1:, :, :6])[0])
    assert batch.isfinite().all()


def test_only_distances_matter_within_a_window():
    """Rotary positions: the scores of a window do not change when it stands elsewhere."""
    layer = LocalAttention(64, 8)
    x = torch.randn(1, 64, 8)
    twice = layer(torch.cat([x, x], dim=-1))
    torch.testing.assert_close(twice[..., :8], twice[..., 8:])
    swapped = layer(x.flip(-1)).flip(-1)
    assert not torch.allclose(swapped, layer(x), atol=1e-4)


def test_other_widths_are_refused():
    with pytest.raises(ValueError, match="multiple of 64 channels, not 96"):
        LocalAttention(96, 4)
