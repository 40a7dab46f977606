"""Every builder takes a condition that it does not know."""

import pytest
import torch

from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.generators.conditioning.base import Condition
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.image.flextok_ar import flextok_ar
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.image.mar import mar
from intaglio.generators.image.maskgit import maskgit
from intaglio.generators.image.tokenbridge_ar import tokenbridge_ar
from intaglio.generators.image.var import var
from intaglio.generators.image.xar import xar
from intaglio.generators.samplers.sampler import Sampler


def small_var(**options):
    codebook = VectorQuantizer(4, 11, update="gradient", kmeans_iterations=0, dead_below=0)
    return var("small", quantizer=MultiScaleQuantizer(codebook, (1, 2)), **options)


BUILDERS = {
    "llamagen": lambda **options: llamagen("tiny", shape=(2, 2), vocab=(7,), **options),
    "maskgit": lambda **options: maskgit("tiny", shape=(2, 2), vocab=(7,), steps=2, **options),
    "mar": lambda **options: mar("tiny", shape=(2, 2), channels=2, **options),
    "tokenbridge_ar": lambda **options: tokenbridge_ar(
        "small", shape=(2, 2), vocab=(4, 4), **options
    ),
    "var": small_var,
    "xar": lambda **options: xar("small", shape=(2, 2), channels=2, cell=2, **options),
    "flextok_ar": lambda **options: flextok_ar("tiny", positions=4, levels=(3, 3), **options),
}


class Weather(Condition):
    """Temperature and wind as two tokens; not-a-number stands for no condition."""

    def __init__(self, *, scale=1.0):
        super().__init__()
        self.prefix, self.scale = 2, scale

    def create_weights(self, dim):
        self.direction = torch.nn.Parameter(torch.randn(2, dim))

    def of_batch(self, batch):
        return batch["weather"]

    def forward(self, condition):
        return self.scale * condition.nan_to_num(0.0).unsqueeze(-1) * self.direction

    def dropped(self, condition, drop):
        return condition.masked_fill(drop.unsqueeze(1), float("nan"))


@pytest.mark.parametrize("name", BUILDERS)
def test_a_new_condition_reaches_losses_and_samples(name):
    torch.manual_seed(0)
    generator = BUILDERS[name](condition=Weather(scale=2.0))
    assert generator.condition.dim == generator.backbone.dim
    for parameter in generator.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    shape = (2, generator.positions, generator.width)
    tokens = torch.zeros(shape, dtype=torch.int64) if generator.vocab else torch.randn(shape)
    weather = generator.condition.of_batch({"weather": torch.tensor([[20.0, 3.0], [-5.0, 9.0]])})
    losses = []
    for given in (weather, weather.flip(0)):
        torch.manual_seed(1)  # of what is masked or noised
        losses.append(generator.eval().loss(tokens, given))
    assert (losses[0] - losses[1]).abs().max() > 1e-3
    losses[0].mean().backward()
    assert generator.condition.direction.grad.abs().sum() > 0
    sampler = Sampler(steps=2) if name in ("mar", "tokenbridge_ar") else Sampler()
    assert sampler.generate(generator, weather).shape == shape


@pytest.mark.parametrize("name", BUILDERS)
def test_without_one_it_is_class_conditional(name):
    with torch.device("meta"):
        condition = BUILDERS[name](num_classes=3).condition
    assert type(condition) is ClassCondition and condition.num_classes == 3


def test_a_condition_has_one_size():
    condition = ClassCondition(3).bind(8)
    weights = condition.table.weight
    assert condition.bind(8).table.weight is weights
    with pytest.raises(ValueError, match="a condition of 8 channels does not fit a backbone of 16"):
        condition.bind(16)
