"""Classic image codecs to compare with, at several qualities and at the size of a codec's tokens.

JPEG, WebP and AVIF as Pillow writes them; charged is the whole file. "Matched" is the best quality
whose file is no larger than the tokens; where even the lowest quality is larger, the image is coded
at a half, a quarter or an eighth of its sides and enlarged again. Headers are most of a very small
file: a JPEG has some 600 bytes of them and may stay larger whatever is done. A row has its real
size.
"""

from PIL import features
from torch import Tensor

from intaglio.data.formats.image import decode_image, encode_image
from intaglio.data.image_transforms import resized
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.rows import RoundTrip

KINDS = {"jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
MODULES = {"jpeg": "jpg", "webp": "webp", "avif": "avif"}
QUALITIES = (5, 30, 80)
HIGHEST = 100
REDUCTIONS = (1, 2, 4, 8)


class ImageBaseline:
    """A classic codec at a quality, or at a size.

    Args:
        kind: one of `KINDS`.
        quality: 0 to 100; None matches the size that is given to `roundtrip`.

    Raises:
        ValueError: there is no such codec or quality.

    Attributes:
        name: such as ``jpeg-q20``.
    """

    def __init__(self, kind: str, quality: int | None = None) -> None:
        if kind not in KINDS:
            raise WrongUsage(f"unknown baseline {kind!r}; of images there are {', '.join(KINDS)}")
        if quality is not None and not 0 <= quality <= HIGHEST:
            raise WrongUsage(f"{kind} has qualities from 0 to {HIGHEST}, not {quality}")
        self.kind, self.quality = kind, quality
        self.name = f"{kind}-matched" if quality is None else f"{kind}-q{quality}"

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        if features.check(MODULES[self.kind]):
            return ""
        return f"absent: Pillow without {KINDS[self.kind]}; pip install -U pillow"

    def roundtrip(self, pixels: Tensor, bits: float) -> RoundTrip:
        """Encode and decode an image, uint8 [3, height, width]; ``bits`` is the size to match."""
        if self.quality is not None:
            coded = self._coded(pixels, self.quality)
        else:
            coded = self._matched(pixels, bits)
        decoded = resized(decode_image(coded), *pixels.shape[1:])
        return RoundTrip(decoded, 8 * len(coded))

    def _matched(self, pixels: Tensor, bits: float) -> bytes:
        smaller = [
            resized(pixels, max(1, pixels.shape[1] // by), max(1, pixels.shape[2] // by))
            for by in REDUCTIONS
        ]
        for one in smaller:
            if 8 * len(self._coded(one, 0)) <= bits:
                return self._best(one, bits)
        return min((self._coded(one, 0) for one in smaller), key=len)

    def _best(self, pixels: Tensor, bits: float) -> bytes:
        """The file of the best quality that is not too large; the lowest is not."""
        low, high = 0, HIGHEST
        best = self._coded(pixels, low)
        while low < high:  # sizes grow with quality, but for a byte here and there
            middle = (low + high + 1) // 2
            coded = self._coded(pixels, middle)
            if 8 * len(coded) <= bits:
                low, best = middle, coded
            else:
                high = middle - 1
        return best

    def _coded(self, pixels: Tensor, quality: int) -> bytes:
        return encode_image(pixels, KINDS[self.kind], quality=quality)


def image_baselines(names: list[str]) -> list[ImageBaseline]:
    """For each kind the matched row and those of `QUALITIES`; ``jpeg-q30`` is that quality alone.

    Raises:
        ValueError: there is no such codec.
    """
    found = []
    for name in names:
        kind, _, quality = name.partition("-q")
        if quality.isdigit():
            found.append(ImageBaseline(kind, int(quality)))
        else:
            found += [ImageBaseline(name), *(ImageBaseline(name, one) for one in QUALITIES)]
    return found
