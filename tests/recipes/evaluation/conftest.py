"""Fixtures of the evaluation's tests: a voice-like signal, noisier copies of it, an Inception."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes.evaluation.image import inception
from intaglio.recipes.evaluation.items import Item, ItemSet
from intaglio.recipes.evaluation.scores import Metric, Pair, Score

RATE = 16_000


@pytest.fixture(scope="session")
def voice() -> Tensor:
    """Three seconds like speech at 16 kHz, float32 [samples]."""
    return speechlike(3 * RATE, RATE, torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def noisy(voice: Tensor) -> list[Tensor]:
    """The signal with 0 (none), 20, 5 and -10 dB of noise in it, in this order."""
    noise = torch.randn(len(voice), generator=torch.Generator().manual_seed(4))
    noise *= voice.norm() / noise.norm()
    return [voice, *(voice + noise * 10 ** (-snr / 20) for snr in (20, 5, -10))]


@pytest.fixture(scope="session")
def score() -> Callable[..., Score]:
    """Score of a metric over pairs."""

    def over(metric: Metric, *pairs: Pair) -> Score:
        originals = ItemSet([Item("", one.reference, one.sample_rate, one.text) for one in pairs])
        return metric.score(originals, originals.decoded([one.decoded for one in pairs]))

    return over


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for Inception that integer arithmetic makes; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "fill", lambda network, file, what: None)
        shapes = {k: v.shape for k, v in inception.Inception("").state_dict().items()}
    state = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        if name.endswith("num_batches_tracked"):
            continue  # the published file has none
        numbers = torch.arange(shape.numel(), dtype=torch.int32) * 7919 % 1_000_003
        values = (numbers * (31 + number) % 10_007 / 10_007 - 0.5).view(shape)  # in [-0.5, 0.5)
        if name.endswith(("bn.weight", "running_var")):
            values += 1
        elif len(shape) > 1:
            values *= (24 / shape[1:].numel()) ** 0.5
        state[name] = values
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(state, path)
    return path
