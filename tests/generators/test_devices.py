"""On a device that is not that of the data, losses and drawing mix no devices.

The device is a pretended CUDA: `FakeTensorMode` works out shapes and devices of all operations and
refuses those that mix devices, without computing anything.
"""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.image.flextok_ar import flextok_ar
from intaglio.generators.image.llamagen import llamagen
from intaglio.generators.image.mar import mar
from intaglio.generators.image.maskgit import maskgit
from intaglio.generators.image.tokenbridge_ar import tokenbridge_ar
from intaglio.generators.image.var import var
from intaglio.generators.image.xar import xar
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers import sampler as sampling
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.task import GeneratorTask

aten = torch.ops.aten
SYSTEMS = {
    "llamagen": lambda **options: llamagen("tiny", shape=(2, 2), vocab=(64,), **options),
    "maskgit": lambda **options: maskgit("tiny", shape=(4, 4), vocab=(64,), steps=3, **options),
    "mar": lambda **options: mar("tiny", shape=(4, 4), channels=3, **options),
    "tokenbridge_ar": lambda **options: tokenbridge_ar(
        "small", shape=(2, 2), vocab=[8] * 2, **options
    ),
    "var": lambda **options: var("small", **options),
    "xar": lambda **options: xar("small", shape=(2, 2), channels=3, cell=2, **options),
    "flextok_ar": lambda **options: flextok_ar("tiny", positions=3, levels=[8, 8], **options),
}
LONG = ("var", "xar", "flextok_ar")  # many steps, or operations in one


class Answers(TorchDispatchMode):
    """What hangs on values that are not there: numbers are 0, nothing is true, 4 are chosen."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is aten._local_scalar_dense.default:
            return 0
        if func is aten.index.Tensor and args[1][0] is not None:
            x, chosen = args[0], args[1][0]
            assert x.device == chosen.device or chosen.device.type == "cpu"
            if chosen.dtype == torch.bool:
                return x.new_empty((4, *x.shape[chosen.dim() :]))
        return func(*args, **(kwargs or {}))


def moved(generator):
    """Weights and buffers on the pretended device; `Module.to` cannot exchange pretended ones."""
    for module in generator.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    there = tensor.detach().to("cuda")
                    held[name] = (
                        torch.nn.Parameter(there, requires_grad=tensor.requires_grad)
                        if isinstance(tensor, torch.nn.Parameter)
                        else there
                    )
    return generator


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in SYSTEMS],
)
def test_devices_are_not_mixed(name, monkeypatch):
    monkeypatch.setattr(sampling, "is_recorded", lambda device: False)  # graphs need a real device
    monkeypatch.setattr(Warp, "check", lambda warp: None)  # nothing is above 0
    with torch.no_grad(), FakeTensorMode(), Answers():
        generator = moved(SYSTEMS[name](condition=TextCondition()))
        shape = (2, generator.positions, generator.width)
        dtype = torch.int64 if generator.vocab else torch.float32
        batch = {
            "tokens": torch.zeros(shape, dtype=dtype, device="cuda"),
            "caption": ["a red apple", "the sea"],
        }
        task = SimpleNamespace(generator=generator, vectors=lambda ids: ids)
        tokens, given, _ = GeneratorTask._inputs(task, batch)
        assert given.device.type == "cuda"
        assert generator.train().loss(tokens, given).device.type == "cuda"
        generator.eval()
        drawn = Sampler(guidance=Guidance(2.0)).generate(generator, given.to("cpu"))
        assert drawn.shape == shape and drawn.device.type == "cuda"


def test_a_mixture_is_found():
    generator = SYSTEMS["llamagen"](condition=TextCondition())
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), Answers():
        here = moved(SYSTEMS["llamagen"](condition=TextCondition()))
        rows = generator.condition.of_texts(["red"])  # on the CPU, where texts become numbers
        with pytest.raises(RuntimeError, match="cuda:0(,| and) cpu"):
            here.condition(rows)
