import torch

from intaglio.codecs.layers.lstm import ResidualLSTM


def test_the_input_is_added_and_later_steps_have_no_influence():
    layer = ResidualLSTM(4, 2)
    x = torch.randn(2, 4, 9)
    y = layer(x)
    expected = layer.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0) + x
    torch.testing.assert_close(y, expected)
    x[..., 5:] = 9
    torch.testing.assert_close(layer(x)[..., :5], y[..., :5])
