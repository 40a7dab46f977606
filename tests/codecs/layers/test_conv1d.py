import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import Conv1d, mask_time, pad


@pytest.mark.parametrize("stride", [1, 2, 5, 8])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_the_output_has_one_step_for_each_begun_stride(stride, causal, pad_mode):
    kernel = 2 * stride if stride > 1 else 7
    conv = Conv1d(1, 2, kernel, stride=stride, causal=causal, pad_mode=pad_mode)
    for size in (1, 2, 3, stride, stride + 1, 4 * stride - 1, 57):
        assert conv(torch.randn(1, 1, size)).shape[-1] == -(-size // stride)


@pytest.mark.parametrize(("size", "left", "right"), [(9, 4, 3), (9, 8, 8), (30, 6, 0)])
def test_reflection_is_torchs_where_torch_can(size, left, right):
    x = torch.randn(2, 3, size)
    ours = pad(x, left, right, stride=1, mode="reflect")
    assert torch.equal(ours, F.pad(x, (left, right), mode="reflect"))
    by_length = pad(x, left, right, stride=1, mode="reflect", lengths=torch.tensor([size, size]))
    assert torch.equal(by_length, ours)


def test_short_input_gets_zeros_on_the_right_before_it_is_reflected():
    x = torch.tensor([[[1.0, 2.0]]])
    # up to five steps: 1 2 0 0 0, reflected by four on the left; the three zeros are those on the
    # right
    assert pad(x, 4, 3, stride=1, mode="reflect").tolist() == [[[0, 0, 0, 2, 1, 2, 0, 0, 0]]]


def test_the_last_window_is_filled_up_by_reflection_too():
    x = torch.arange(1.0, 8.0).view(1, 1, 7)
    assert pad(x, 1, 1, stride=4, mode="reflect").tolist() == [[[2, 1, 2, 3, 4, 5, 6, 7, 6, 5]]]


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 4), (10, 5, 1)])
def test_items_of_a_batch_are_padded_at_their_own_ends(pad_mode, kernel, stride, dilation):
    conv = Conv1d(2, 3, kernel, stride=stride, dilation=dilation, pad_mode=pad_mode)
    lengths = torch.tensor([40, 39, 21, 9, 4, 1])
    x = torch.randn(6, 2, 40)
    batch = conv(x, lengths)
    for item, length in enumerate(lengths.tolist()):
        single = conv(x[item : item + 1, :, :length])[0]
        torch.testing.assert_close(batch[item, :, : single.shape[-1]], single)


def test_a_causal_output_does_not_see_later_steps():
    conv = Conv1d(1, 1, 6, stride=3, causal=True, pad_mode="constant")
    x = torch.randn(1, 1, 30)
    y = conv(x)
    x[0, 0, 12] += 1
    changed = (conv(x) != y)[0, 0].nonzero().flatten().tolist()
    assert changed == [4, 5]


def test_masking_keeps_an_items_own_steps_only():
    x = torch.ones(2, 1, 3)
    assert mask_time(x, torch.tensor([1, 3])).tolist() == [[[1, 0, 0]], [[1, 1, 1]]]
    assert mask_time(x, None) is x
