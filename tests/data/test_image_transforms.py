"""Images to one size: what stays in the middle, what reflection adds, what a generator draws."""

import pytest
import torch

from intaglio.data.image_transforms import (
    fitted,
    flipped,
    padded,
    resized,
    shifted,
    to_pixels,
    to_unit,
    view,
)


def ramp(height, width):
    """Columns of rising brightness."""
    return torch.arange(width, dtype=torch.uint8).mul(4).expand(3, height, width).contiguous()


def test_ten_views_are_the_middle_and_four_corners_with_their_mirrors():
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, 22, 22), dtype=torch.uint8)
    views = [view(pixels, 20, number) for number in range(10)]
    assert torch.equal(views[0], fitted(pixels, 20))
    assert torch.equal(views[2], pixels[:, :20, :20])
    assert torch.equal(views[4], pixels[:, :20, 2:])
    assert torch.equal(views[6], pixels[:, 2:, :20])
    assert torch.equal(views[8], pixels[:, 2:, 2:])
    for number in range(0, 10, 2):
        assert torch.equal(views[number + 1], views[number].flip(2))
    for wrong in (-1, 10):
        with pytest.raises(ValueError, match="views are 0 to 9"):
            view(pixels, 20, wrong)


def test_cropping_keeps_the_middle_of_the_longer_side():
    pixels = ramp(10, 30)
    assert torch.equal(fitted(pixels, 10), pixels[:, :, 10:20])
    tall = pixels.transpose(1, 2).contiguous()
    assert torch.equal(fitted(tall, 10), tall[:, 10:20])
    assert fitted(pixels, 7).shape == (3, 7, 7) and fitted(ramp(3, 200), 64).shape == (3, 64, 64)


def test_a_letterbox_keeps_everything_and_fills_with_the_background():
    pixels = torch.zeros(3, 10, 20, dtype=torch.uint8)
    square = fitted(pixels, 20, "letterbox", background=(1, 2, 3))
    assert square[:, 5:15].max() == 0
    outside = torch.cat([square[:, :5], square[:, 15:]], 1)
    assert outside.flatten(1).unique(dim=1).tolist() == [[1], [2], [3]]
    assert fitted(pixels, 15, "letterbox").shape == (3, 15, 15)


def test_resizing_does_not_alias():
    stripes = torch.zeros(3, 64, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 255  # the finest there are: they must become grey
    small = resized(stripes, 16, 16).float()
    assert small[:, :, 2:-2].std() < 2 and abs(small.mean() - 127.5) < 2
    assert resized(stripes, 64, 64) is stripes


@pytest.mark.parametrize("side", [1, 2, 3, 8, 9])
def test_padding_reflects_as_often_as_it_takes(side):
    pixels = torch.randint(0, 256, (3, side, side + 1), dtype=torch.uint8)
    whole = padded(pixels, 8)
    assert [size % 8 for size in whole.shape[1:]] == [0, 0]
    assert torch.equal(whole[:, :side, : side + 1], pixels)
    if side == 9:
        expected = torch.nn.functional.pad(pixels.float(), (0, 6, 0, 7), mode="reflect")
        assert torch.equal(whole.float(), expected)
    if side == 2:
        assert torch.equal(whole[:, 2:4], whole[:, 0:2]) and torch.equal(whole[:, 1], whole[:, 3])


def test_padding_leaves_what_fits():
    pixels = ramp(8, 16)
    assert padded(pixels, 8) is pixels


def test_shifts_stay_within_reach_and_reflect():
    pixels = ramp(9, 9)
    seen = set()
    for seed in range(60):
        moved = shifted(pixels, 2, torch.Generator().manual_seed(seed))
        offset = next(
            d for d in range(-2, 3) if torch.equal(moved[0, 0, 2:-2], pixels[0, 0, 2 - d : 7 - d])
        )
        seen.add(offset)
        assert moved.shape == pixels.shape
    assert seen == {-2, -1, 0, 1, 2}
    still = torch.Generator().manual_seed(0)
    assert torch.equal(shifted(pixels, 0, still), pixels)
    one = shifted(pixels, 2, torch.Generator().manual_seed(1))
    assert torch.equal(one, shifted(pixels, 2, torch.Generator().manual_seed(1)))


def test_flips_mirror_their_share():
    pixels = ramp(2, 5)
    generator = torch.Generator().manual_seed(0)
    count = sum(not torch.equal(flipped(pixels, 0.3, generator), pixels) for _ in range(400))
    assert 90 <= count <= 150  # 120 expected, 9 standard deviation
    assert torch.equal(flipped(pixels, 1.0, generator), pixels.flip(2))
    assert torch.equal(flipped(pixels, 0.0, generator), pixels)


def test_all_256_values_survive_the_unit_range():
    pixels = torch.arange(256, dtype=torch.uint8)
    values = to_unit(pixels)
    assert values.min() == -1 and values.max() == 1
    assert torch.equal(to_pixels(values), pixels)
    assert to_pixels(torch.tensor([-7.0, 7.0, 1.001, float(values[3]) + 0.003])).tolist() == [
        *(0, 255, 255, 3)
    ]
