import pytest
import torch

from intaglio.codecs.layers.transposed1d import ConvTranspose1d


@pytest.mark.parametrize("stride", [1, 2, 5, 8])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("norm", ["weight", "group", "none"])
def test_every_step_becomes_stride_steps(stride, causal, norm):
    layer = ConvTranspose1d(3, 2, stride, causal=causal, norm=norm)
    for size in (1, 2, 9):
        assert layer(torch.randn(1, 3, size)).shape == (1, 2, size * stride)


def test_a_causal_output_does_not_see_later_steps():
    layer = ConvTranspose1d(1, 1, 3, causal=True)
    x = torch.randn(1, 1, 8)
    before = layer(x)
    x[..., 4] += 1
    changed = (layer(x) != before)[0, 0].nonzero().flatten().tolist()
    assert changed == list(range(12, 18))


@pytest.mark.parametrize("norm", ["weight", "group"])
def test_items_of_a_batch_equal_single_ones(norm):
    layer = ConvTranspose1d(3, 2, 4, norm=norm)
    x = torch.randn(3, 3, 9)
    lengths = torch.tensor([9, 5, 1])
    batch = layer(x, lengths)
    for item, length in enumerate(lengths.tolist()):
        alone = layer(x[item : item + 1, :, :length])[0]
        torch.testing.assert_close(batch[item, :, : 4 * length], alone)
