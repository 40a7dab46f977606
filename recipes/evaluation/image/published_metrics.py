"""The distances of publications, on networks whose weights the user has: rFID and LPIPS.

rFID: the Frechet distance (Heusel et al., 2017) between originals and reconstructions on the 2048
features of Inception, at 299 pixels by the resize of TensorFlow 1, as torch-fidelity computes it.
lpips: version 0.1 on VGG-16 (Zhang et al., 2018), images in [-1, 1] at their own size. Nothing is
fetched: the files are named, or lie in the folder of torch.hub. Only with the published file, by
its checksum, has a metric the plain name; with other weights of the same shape these are named too.
"""

from pathlib import Path

import torch
from torch import Tensor

from intaglio.codecs.losses import lpips
from intaglio.codecs.losses.pretrained import checksum, hub_folder, kept
from intaglio.data.image_transforms import to_unit
from intaglio.recipes.evaluation.image import inception
from intaglio.recipes.evaluation.image.metrics import (
    IMAGES_PER_DIMENSION,
    FrechetDistance,
    PerceptualDistance,
    frechet_distance,
)
from intaglio.recipes.evaluation.items import ItemSet
from intaglio.recipes.evaluation.scores import Score

DIGITS = 8  # of a checksum, in a name
MIN_IMAGES = IMAGES_PER_DIMENSION * inception.DIMENSIONS


class FrechetInceptionDistance(FrechetDistance):
    """Frechet distance of Inception's features, all 2048 of them.

    Args:
        file: the ported weights; None if they are missing.
        biased: give the number also where too few images make it too large, and say so.
        device: where the network runs.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is another file.
    """

    packages = ()

    def __init__(
        self, file: Path | None, *, biased: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(None)
        self.name = self.label = "rFID" + _marked(file, inception.FILES[0])
        self.biased = biased
        self.network = inception.Inception(file).to(device) if file else None

    def absence(self) -> str:
        """What is missing and where it belongs; "" if nothing is."""
        return "" if self.network else _absent("inception", " or ".join(inception.FILES))

    def score(self, originals: ItemSet, decoded: ItemSet, seed: int = 0) -> Score:
        """One number for the whole set."""
        count = len(originals)
        if self.network is None:
            return Score.absent(self.absence())
        reason = ""
        if count < MIN_IMAGES:
            reason = f"biased upwards with fewer than {MIN_IMAGES:,} images, here {count}"
            if not self.biased or count < 2:
                return Score.absent(f"absent: {reason}")
        x, y = (one.features(self.network.features).double() for one in (originals, decoded))
        return Score.of_set(frechet_distance(x, y), count, reason)


class LearnedDistance(PerceptualDistance):
    """LPIPS on VGG-16, at the images' own size.

    Args:
        file: torchvision's weights; None if they are missing.
        device: where the network runs.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is another file.
    """

    packages = ("torchmetrics",)

    def __init__(self, file: Path | None, *, device: torch.device | str = "cpu") -> None:
        self.name = self.label = "lpips" + _marked(file, lpips.FILE)
        self.distance = lpips.LPIPS(str(file)).to(device) if file else None
        self.device = device

    def absence(self) -> str:
        """What is missing and where it belongs; "" if nothing is."""
        return "" if self.distance else _absent("vgg", lpips.FILE)

    def _values(self, originals: Tensor, decoded: Tensor) -> list[float]:
        assert self.distance is not None
        with torch.no_grad():
            x, y = (to_unit(pixels).to(self.device) for pixels in (originals, decoded))
            return self.distance.distances(x, y).tolist()


def weights_file(option: str, given: str | None, names: tuple[str, ...]) -> Path | None:
    """The file of an option, or else the first of the names in torch.hub's folder, or else None.

    Raises:
        FileNotFoundError: the file of the option does not exist.
    """
    if given is None:
        return kept(names)
    if not Path(given).is_file():
        raise FileNotFoundError(f"--{option}: there is no file {given}")
    return Path(given)


def _marked(file: Path | None, name: str) -> str:
    """Nothing for the published file, whose name ends in its checksum; else the checksum."""
    if file is None:
        return ""
    found = checksum(file)[:DIGITS]
    return "" if Path(name).stem.endswith(f"-{found}") else f"[{found}]"


def _absent(option: str, names: str) -> str:
    return f"absent: give --{option} FILE, or put {names} into {hub_folder()}"
