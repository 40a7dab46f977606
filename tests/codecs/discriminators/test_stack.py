"""The body of the discriminators."""

import torch
from torch import nn

from intaglio.codecs.discriminators.stack import ConvStack


def test_every_activation_by_hand():
    """Two 1 x 1 convolutions, 2 x - 1 and 10 x, each behind a leaky ReLU of slope 0.1."""
    convs = [nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)]
    with torch.no_grad():
        for conv, weight, bias in zip(convs, (2.0, 10.0), (-1.0, 0.0), strict=True):
            conv.weight.fill_(weight)
            conv.bias.fill_(bias)
    first, second = ConvStack(convs)(torch.tensor([[[[1.0, 0.0]]]]))
    torch.testing.assert_close(first, torch.tensor([[[[1.0, -0.1]]]]))
    torch.testing.assert_close(second, torch.tensor([[[[10.0, -0.1]]]]))
