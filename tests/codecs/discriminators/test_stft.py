"""Discriminators of spectrograms."""

import json

import pytest
import torch

from intaglio.codecs.discriminators.stft import (
    MultiBandDiscriminator,
    MultiResolutionDiscriminator,
)
from intaglio.codecs.part import build, describe


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_number_of_parameters_of_the_resolutions():
    """Three sub-discriminators of six weight-normed convolutions each.

    | layer         | kernel | directions | magnitudes | biases |
    |---------------|--------|------------|------------|--------|
    | 1 → 64        | 7 · 5  | 2 240      | 64         | 64     |
    | 64 → 64 twice | 5 · 3  | 122 880    | 128        | 128    |
    | 64 → 64 twice | 3 · 3  | 73 728     | 128        | 128    |
    | 64 → 1        | 3 · 3  | 576        | 1          | 1      |
    | sum           |        | 199 424    | 321        | 321    |
    """
    assert count(MultiResolutionDiscriminator()) == 3 * (199_424 + 2 * 321) == 600_198


def test_number_of_parameters_of_the_bands():
    """Three sub-discriminators of five bands each, and one convolution that joins the bands.

    | layer               | kernel | directions | magnitudes | biases |
    |---------------------|--------|------------|------------|--------|
    | 2 → 32              | 3 · 9  | 1 728      | 32         | 32     |
    | 32 → 32 three times | 3 · 9  | 82 944     | 96         | 96     |
    | 32 → 32             | 3 · 3  | 9 216      | 32         | 32     |
    | sum of a band       |        | 93 888     | 160        | 160    |
    | 32 → 1              | 3 · 3  | 288        | 1          | 1      |
    """
    bands = 5 * (93_888 + 2 * 160)
    assert count(MultiBandDiscriminator()) == 3 * (bands + 288 + 2) == 1_413_990


def test_published_resolutions():
    amplitudes = [part.stft for part in MultiResolutionDiscriminator(channels=1).sub_discriminators]
    assert [(s.n_fft, s.hop_length) for s in amplitudes] == [(1024, 256), (2048, 512), (512, 128)]
    assert all(s.taps.min() == 1 and not s.match_stride for s in amplitudes)
    complexes = [part.stft for part in MultiBandDiscriminator(channels=1).sub_discriminators]
    assert [(s.n_fft, s.hop_length) for s in complexes] == [(2048, 512), (1024, 256), (512, 128)]
    assert all(s.taps[0] == 0 and s.match_stride for s in complexes)


def test_shapes_of_the_resolutions():
    """1000 samples, 128 / 32: 65 bins, 32 frames; bins are halved five times, frames thrice."""
    output = MultiResolutionDiscriminator([128], channels=4)(torch.randn(3, 1, 1000))
    shapes = [tuple(f.shape) for f in output.features[0]]
    assert shapes == [(3, 4, 33, 16), (3, 4, 17, 16), (3, 4, 9, 8), (3, 4, 5, 8), (3, 4, 3, 4)]
    assert output.logits[0].shape == (3, 1, 3, 4)


@pytest.mark.parametrize("match_stride, frames", [(True, 16), (False, 16)])
def test_shapes_of_the_bands(match_stride, frames):
    """1000 samples, 256 / 64, 16 frames: 129 bins; each band is halved three times, rounded up."""
    discriminator = MultiBandDiscriminator([256], channels=4, match_stride=match_stride)
    output = discriminator(torch.randn(3, 1, 1000))
    assert discriminator.sub_discriminators[0].bands == [
        (0, 12),
        (12, 32),
        (32, 64),
        (64, 96),
        (96, 129),
    ]
    widths = [12, 6, 3, 2, 2, 20, 10, 5, 3, 3, 32, 16, 8, 4, 4, 32, 16, 8, 4, 4, 33, 17, 9, 5, 5]
    assert [tuple(f.shape) for f in output.features[0]] == [(3, 4, frames, w) for w in widths]
    assert output.logits[0].shape == (3, 1, frames, 2 + 3 + 4 + 4 + 5)


def test_first_maps_are_the_spectra():
    """What the convolutions see: amplitudes over frequency and time; real and imaginary bands."""
    x = torch.randn(2, 1, 600, generator=torch.Generator().manual_seed(0))
    spectra = torch.stft(x[:, 0], 64, 16, window=torch.ones(64), return_complex=True)
    seen = []

    def remember(_, inputs):
        seen.append(inputs[0])

    amplitudes = MultiResolutionDiscriminator([64], channels=2)
    amplitudes.sub_discriminators[0].stack.convs[0].register_forward_pre_hook(remember)
    amplitudes(x)
    torch.testing.assert_close(seen.pop(), spectra.abs().unsqueeze(1))

    bands = MultiBandDiscriminator(
        [64], channels=2, edges=(0.0, 0.5, 1.0), window="rectangular", match_stride=False
    )
    for stack in bands.sub_discriminators[0].stacks:
        stack.convs[0].register_forward_pre_hook(remember)
    bands(x)
    maps = torch.stack([spectra.real, spectra.imag], dim=1).transpose(2, 3)
    torch.testing.assert_close(torch.cat(seen, dim=-1), maps)


def test_bands_have_weights_of_their_own():
    """A change of a high frequency leaves the features of the low bands alone."""
    discriminator = MultiBandDiscriminator([256], channels=4)
    x = 0.1 * torch.randn(1, 1, 2048, generator=torch.Generator().manual_seed(0))
    tone = torch.sin(3.0 * torch.arange(2048)) * torch.hann_window(2048)
    low, high = (discriminator(signal).features[0] for signal in (x, x + tone))
    moved = [float((a - b).detach().abs().max()) for a, b in zip(low, high, strict=True)]
    assert max(moved[:15]) < 1e-2 < 0.1 < moved[20]


@pytest.mark.parametrize(
    "discriminator",
    [
        MultiResolutionDiscriminator([64, 128], channels=4),
        MultiBandDiscriminator([64], channels=4, edges=[0.1, 0.5, 1.0]),
    ],
)
class TestBoth:
    def test_channels_are_judged_one_by_one(self, discriminator):
        x = torch.randn(2, 2, 500)
        stereo, mono = discriminator(x), discriminator(x.reshape(4, 1, 500))
        torch.testing.assert_close(stereo.logits, mono.logits)

    def test_one_item_is_judged_as_in_a_batch(self, discriminator):
        x = torch.randn(3, 1, 500)
        torch.testing.assert_close(
            discriminator(x[:1]).logits, [s[:1] for s in discriminator(x).logits]
        )

    def test_every_convolution_is_weight_normed(self, discriminator):
        x = torch.randn(1, 1, 300)
        before = discriminator(x).logits
        with torch.no_grad():
            for name, parameter in discriminator.named_parameters():
                if name.endswith("original1"):
                    parameter.mul_(3)
        torch.testing.assert_close(discriminator(x).logits, before)

    def test_the_recipe_builds_an_equal_discriminator(self, discriminator):
        again = build(json.loads(json.dumps(describe(discriminator))))
        again.load_state_dict(discriminator.state_dict())
        x = torch.randn(1, 1, 300)
        torch.testing.assert_close(again(x), discriminator(x))

    def test_too_short_a_waveform(self, discriminator):
        with pytest.raises(ValueError, match="too short for an STFT"):
            discriminator(torch.zeros(1, 1, 20))


@pytest.mark.parametrize("edges", [(0.0, 0.25, 1.0), (0.0, 0.5, 0.4), (0.0, 1.5)])
def test_bands_too_narrow_or_out_of_order(edges):
    with pytest.raises(ValueError, match="cut 33 bins into"):
        MultiBandDiscriminator([64], channels=2, edges=edges)
