"""Which metrics of images are computed: those asked for, or all that can be."""

from collections.abc import Sequence

import torch

from intaglio.codecs.losses import lpips
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.image import inception
from intaglio.recipes.evaluation.image.metrics import (
    PSNR,
    SSIM,
    FrechetDistance,
    KernelDistance,
    PerceptualDistance,
)
from intaglio.recipes.evaluation.image.published_metrics import (
    FrechetInceptionDistance,
    LearnedDistance,
    weights_file,
)
from intaglio.recipes.evaluation.scores import Metric


def select_image_metrics(
    names: Sequence[str] | None = None,
    *,
    vgg_file: str | None = None,
    inception_file: str | None = None,
    device: torch.device | str = "cpu",
) -> list[Metric]:
    """Metrics by name, in the order of the table.

    ``rkid`` and ``rfd`` are short for the full names. Without names all are selected, but ``lpips``
    and ``rfid`` only if their weights are there.

    Args:
        names: of the metrics; small and capital letters are alike.
        vgg_file: weights for ``lpips``; if None, those of torch.hub's folder.
        inception_file: weights for ``rfid``, likewise; if they are given or it is asked for by
            name, its number is also given where too few images make it too large.
        device: where the networks of these two run.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: an unknown name, or a wrong file.
    """
    metrics = [
        *(PSNR(), SSIM(), PerceptualDistance(), KernelDistance()),
        *(FrechetDistance(), FrechetDistance(None)),
    ]
    short = [metric.name.lower().partition("[")[0] for metric in metrics]
    asked = None if names is None else {name.lower() for name in names}
    known = [*dict.fromkeys(short), "lpips", "rfid"]
    if unknown := sorted((asked or set()) - {*known, *(one.name.lower() for one in metrics)}):
        names_known = ", ".join(known)
        raise WrongUsage(f"unknown metric {', '.join(unknown)}; of images there are {names_known}")

    def wanted(*called: str, there: bool = True) -> bool:
        return there if asked is None else not asked.isdisjoint(called)

    chosen: list[Metric] = [
        metric
        for metric, alias in zip(metrics, short, strict=True)
        if wanted(metric.name.lower(), alias)
    ]
    vgg = weights_file("vgg", vgg_file, (lpips.FILE,))
    if wanted("lpips", there=vgg is not None):
        chosen.append(LearnedDistance(vgg, device=device))
    ported = weights_file("inception", inception_file, inception.FILES)
    if wanted("rfid", there=ported is not None):
        biased = asked is not None or inception_file is not None
        chosen.append(FrechetInceptionDistance(ported, biased=biased, device=device))
    return chosen
