import math

import pytest
import torch

from intaglio.codecs.layers.positions import sine_grid, sine_time


def test_a_grid_row_by_row():
    """Half of each half encodes the row, the other the column; slower by powers of 10000."""
    rows, columns, dim = 3, 4, 8
    table = sine_grid(rows, columns, dim)
    assert table.shape == (12, 8) and table.dtype == torch.float32
    for row in range(rows):
        for column in range(columns):
            angles = [row, row / 100, column, column / 100]
            expected = [*map(math.sin, angles), *map(math.cos, angles)]
            assert table[row * columns + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_times_are_cosines_first():
    times = torch.tensor([0.0, 0.25, 1.0])
    waves = sine_time(times, 8)
    assert waves.shape == (3, 8) and waves.dtype == torch.float32
    for time, wave in zip(times.tolist(), waves.tolist(), strict=True):
        angles = [1000 * time * 256 ** -(i / 4) for i in range(4)]
        expected = [*map(math.cos, angles), *map(math.sin, angles)]
        assert wave == pytest.approx(expected, abs=1e-4)
    assert waves[0].tolist() == [1] * 4 + [0] * 4


def test_half_precision_times_give_float32_waves():
    assert sine_time(torch.tensor([0.5]).bfloat16(), 4).dtype == torch.float32


def test_channels_that_cannot_be_shared_are_refused():
    with pytest.raises(ValueError, match="multiple of 4 channels, got 6"):
        sine_grid(2, 2, 6)
