"""Waveform loss by hand."""

import torch

from intaglio.codecs.losses.waveform import WaveformLoss


def test_mean_absolute_difference():
    output = torch.tensor([[[0.0, 0.5, -1.0]], [[0.25, 0.25, 0.25]]])
    target = torch.tensor([[[0.5, 0.5, 1.0]], [[0.25, 0.0, -0.75]]])
    expected = (0.5 + 0 + 2 + 0 + 0.25 + 1) / 6
    torch.testing.assert_close(WaveformLoss()(output, target), torch.tensor(expected))
