"""Pictures to tokens and back: sizes restored, prefixes, and headers that lie."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from intaglio.codecs import ImageCodec
from intaglio.codecs.decoders.base import ImageDecoder
from intaglio.codecs.encoders.base import ImageEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.data.formats.image import probe_image, read_image, write_image
from intaglio.data.formats.tokens import Extent, read_tokens, write_tokens
from intaglio.data.image_transforms import fitted, to_pixels, to_unit
from intaglio.recipes.evaluation.image.comparison import compare_images, lengths_of
from intaglio.recipes.evaluation.image.metrics import PSNR
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.tokenization.image_file import (
    ImageDecoding,
    ImageEncoding,
    decode_image_file,
    encode_image_file,
    tokens_of_file,
)


class Quarters(ImageEncoder):
    """The mean colours of four quarters, as a sequence."""

    dim, positions = 3, 4

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(2 * x, 2).flatten(2).transpose(1, 2)


class Mosaic(ImageDecoder):
    """Four squares; black where there is no position."""

    dim, takes_prefixes = 3, True

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, latents, mask=None, *, grid, generator=None):
        if mask is not None:
            latents = torch.where(mask.unsqueeze(-1), latents, -torch.ones(()))
        squares = latents.transpose(1, 2).unflatten(2, (2, 2)) * self.gain
        sides = [side * self.hop_length for side in grid]
        return torch.nn.functional.interpolate(squares, sides)


@pytest.fixture
def flexible() -> ImageCodec:
    """A codec of pictures of 16 pixels, in four positions, of which the first suffice."""
    parts = Quarters(8), FSQ(3, (9, 9, 9)), Mosaic(8)
    return ImageCodec(*parts, image_size=16, prefixes="uniform", name="mosaic")


@pytest.fixture
def picture(tmp_path) -> Path:
    """A picture of four colours, 20 x 40; the outer columns are of a fifth."""
    colours = torch.tensor([[[240, 20], [60, 130]], [[10, 200], [60, 130]], [[90, 90], [9, 250]]])
    pixels = torch.full((3, 20, 40), 128)
    pixels[:, :, 10:30] = colours.repeat_interleave(10, 1).repeat_interleave(10, 2)
    write_image(tmp_path / "a.png", pixels.to(torch.uint8))
    return tmp_path / "a.png"


def coded(codec, source, **options):
    target = source.with_suffix(".intaglio")
    encode_image_file(codec, FileJob(source, target), ImageEncoding(**options))
    with target.open("rb") as file:
        return target, *read_tokens(file)


def decoded(codec, tokens, **options):
    target = tokens.with_name("decoded.png")
    decode_image_file(codec, FileJob(tokens, target), ImageDecoding(**options))
    return read_image(target)


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_a_codec_of_one_size_is_given_a_square(flexible, picture, fit):
    tokens, header, ids = coded(flexible, picture, fit=fit)
    assert header.picture == Extent(20, 40) and header.extras == {"fit": fit}
    assert (header.positions, header.hop_length, header.vocab) == (4, 8, (729,))
    square = to_unit(fitted(read_image(picture), 16, fit))
    expected = flexible.encode(square.unsqueeze(0))
    assert torch.equal(ids, expected.ids[0])
    back = decoded(flexible, tokens)
    assert torch.equal(back, to_pixels(flexible.decode(expected)[0]))
    if fit == "crop":
        assert (back.float() - fitted(read_image(picture), 16)).abs().mean() < 25


def test_a_prefix_is_kept_or_decoded(flexible, picture):
    tokens, header, ids = coded(flexible, picture)
    whole = decoded(flexible, tokens)
    first = decoded(flexible, tokens, positions=2)
    assert torch.equal(first[:, :8], whole[:, :8])
    assert first[:, 8:].max() == 0 < whole[:, 8:].max()
    short, said, kept = coded(flexible, picture, positions=2)
    assert said.positions == 2 and torch.equal(kept, ids[:2])
    assert torch.equal(decoded(flexible, short), first)
    for positions in (0, 5):
        with pytest.raises(ValueError, match=f"not {positions}"):
            coded(flexible, picture, positions=positions)
    coded(flexible, picture, positions=2)
    with pytest.raises(ValueError, match=r"a\.intaglio: it has 2 positions, not 3"):
        decoded(flexible, short, positions=3)


def test_entropy_coding_changes_no_token(flexible, picture):
    pytest.importorskip("constriction")
    _, plain, ids = coded(flexible, picture)
    _, said, again = coded(flexible, picture, entropy=True)
    assert torch.equal(again, ids) and said._replace(coding="packed") == plain


@pytest.mark.parametrize(
    "changes",
    [
        {"picture": Extent(16, 16, 2, 2)},
        {"hop_length": 4},
        {"vocab": (730,)},
        {"positions": 5},
        {"fingerprint": "ab" * 16},
    ],
    ids=str,
)
def test_headers_that_contradict_the_codec_are_refused(flexible, picture, tmp_path, changes):
    _, header, ids = coded(flexible, picture)
    ids = torch.cat([ids, ids])[: changes.get("positions", 4)]
    with (tmp_path / "b").open("wb") as file:
        write_tokens(file, header._replace(**changes), ids)
    with pytest.raises(ValueError, match=r"/b: (refused|made with the codec mosaic)"):
        decoded(flexible, tmp_path / "b")
    assert not (tmp_path / "decoded.png").exists()


def test_tokens_of_a_file_are_those_of_the_codec(flexible, picture):
    _, header, ids = coded(flexible, picture, positions=3)
    tokens = tokens_of_file(flexible, header, ids)
    assert tokens.ids.shape == (1, 4, 1) and tokens.mask.tolist() == [[True, True, True, False]]
    assert probe_image(picture) == (20, 40)


def test_an_evaluation_has_a_row_for_every_power_of_two(flexible, picture):
    pixels = fitted(read_image(picture), 16)
    results = list(compare_images({"mosaic": flexible}, [Item("a", pixels)] * 3, metrics=[PSNR()]))
    assert [result.row.system for result in results] == ["mosaic", "mosaic@2", "mosaic@1"]
    bits = [result.row.bits for result in results]
    assert bits[1] == 2 * bits[2] == bits[0] / 2
    scores = [result.row.scores["psnr"].mean for result in results]
    assert scores[0] > scores[1] > scores[2]
    assert (
        results[2].output.decoded[0][:, 8:].max() == 0 < results[0].output.decoded[0][:, 8:].max()
    )
    flexible.prefixes = "none"  # it decodes prefixes, but was not trained to
    assert lengths_of(flexible, 4) == [None]
