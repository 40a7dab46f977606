import torch
from torch import nn

from intaglio.codecs.layers.snake import Snake, start_small


def test_the_formula_for_each_channel():
    snake = Snake(2)
    snake.alpha.data.copy_(torch.tensor([[1.0], [3.0]]))
    x = torch.linspace(-4, 4, 50).expand(1, 2, 50)
    y = snake(x)
    torch.testing.assert_close(y[0, 0], x[0, 0] + x[0, 0].sin() ** 2)
    torch.testing.assert_close(y[0, 1], x[0, 1] + (3 * x[0, 1]).sin() ** 2 / 3)


def test_half_precision_is_computed_in_full():
    snake = Snake(1)
    snake.alpha.data.fill_(40.0)
    x = torch.linspace(-2, 2, 100).view(1, 1, -1).bfloat16()
    expected = snake(x.float()).bfloat16()
    assert snake(x).dtype == torch.bfloat16
    assert torch.equal(snake(x), expected)
    assert torch.equal(snake.bfloat16()(x), expected)


def test_double_precision_stays():
    x = torch.linspace(-4, 4, 50, dtype=torch.float64).view(1, 1, 50)
    torch.testing.assert_close(Snake(1).double()(x), x + x.sin() ** 2, atol=1e-8, rtol=0)


def test_the_small_start_reaches_normalised_weights():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(64, 64, 7))
    conv.apply(start_small)
    assert 0.015 < conv.weight.std() < 0.021
    assert conv.weight.abs().max() < 2.01
