"""Classic image codecs at their sizes, and rows of a codec at every number of positions."""

import pytest
import torch

from intaglio.data.formats.image import decode_image, encode_image
from intaglio.data.image_transforms import resized, to_pixels
from intaglio.data.synthetic.images import shapes_image
from intaglio.recipes.evaluation.figures.images import picture_grid
from intaglio.recipes.evaluation.image.baselines import (
    QUALITIES,
    ImageBaseline,
    image_baselines,
)


@pytest.fixture(scope="module")
def shape():
    return to_pixels(shapes_image(48, 0, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_a_matched_file_is_as_large_as_allowed(kind, shape):
    small, large = (ImageBaseline(kind, quality).roundtrip(shape, 0).bits for quality in (20, 80))
    target = (small + large) // 2
    matched = ImageBaseline(kind).roundtrip(shape, target)
    assert 0.75 * target < matched.bits <= target
    assert matched.decoded.shape == shape.shape and matched.decoded.dtype == torch.uint8


def test_an_image_is_coded_smaller_where_the_lowest_quality_is_too_large(shape):
    lowest = ImageBaseline("webp", 0).roundtrip(shape, 0)
    reduced = ImageBaseline("webp").roundtrip(shape, lowest.bits - 8)
    half = resized(shape, 24, 24)
    files = [encode_image(half, "WEBP", quality=quality) for quality in range(101)]
    assert 0.75 * lowest.bits < reduced.bits < lowest.bits
    found = [coded for coded in files if 8 * len(coded) == reduced.bits]
    enlarged = (resized(decode_image(coded), 48, 48) for coded in found)
    assert any(torch.equal(reduced.decoded, one) for one in enlarged)
    assert reduced.decoded.shape == shape.shape
    nothing = ImageBaseline("jpeg").roundtrip(shape, 8)
    sides = (48, 24, 12, 6)
    least = min(len(encode_image(resized(shape, n, n), "JPEG", quality=0)) for n in sides)
    assert nothing.bits == 8 * least


def test_baselines_by_name():
    names = [one.name for one in image_baselines(["webp", "jpeg-q30"])]
    assert names == ["webp-matched", *(f"webp-q{q}" for q in QUALITIES), "jpeg-q30"]
    for wrong in ("gif", "jpeg-q101", "opus-6k"):
        with pytest.raises(ValueError, match="there are jpeg|qualities"):
            image_baselines([wrong])


def test_grids_hold_every_picture(shape):
    other = 255 - shape
    grid = decode_image(picture_grid([[shape, other], [other, shape]]))
    assert grid.shape == (3, 200, 200)  # twice as large, with a gap around
    assert torch.equal(grid[:, 2:98:2, 2:98:2], shape)
    assert torch.equal(grid[:, 2:98:2, 102:198:2], other)
    assert grid[:, :2].min() == 255
    with pytest.raises(ValueError, match="equal length"):
        picture_grid([[shape], []])


def test_labels_stand_before_their_rows(shape):
    labelled = decode_image(picture_grid([[shape], [shape]], ["a red apple", ""]))
    assert labelled.shape == (3, 200, 130 + 100)
    assert torch.equal(labelled[:, :, 130:], decode_image(picture_grid([[shape], [shape]])))
    assert labelled[:, :100, :130].min() < 50 and labelled[:, 100:, :130].min() == 255
