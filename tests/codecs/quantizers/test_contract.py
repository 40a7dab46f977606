"""What every quantizer keeps: one contract, whatever it does inside."""

import copy
import importlib
import pkgutil

import pytest
import torch

from intaglio.codecs import quantizers
from intaglio.codecs.bundle import fingerprint
from intaglio.codecs.part import build, describe
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.continuous import ContinuousBottleneck
from intaglio.codecs.quantizers.dimensionwise import DimensionwiseQuantizer
from intaglio.codecs.quantizers.dual import DualQuantizer
from intaglio.codecs.quantizers.factorized import FactorizedVectorQuantizer
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.ibq import IndexBackpropagationQuantizer
from intaglio.codecs.quantizers.multiscale import MultiScaleQuantizer
from intaglio.codecs.quantizers.perturbation import Perturbation
from intaglio.codecs.quantizers.post_training import PostTrainingQuantizer
from intaglio.codecs.quantizers.product import ProductQuantizer
from intaglio.codecs.quantizers.regrouped import RegroupedQuantizer
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.residual_fsq import ResidualFSQ
from intaglio.codecs.quantizers.split import SplitQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer

DIM, POSITIONS = 6, 16


def vq(**changes):
    return VectorQuantizer(DIM, 32, **({"kmeans_iterations": 0} | changes))


MAKERS = {
    "ema": vq,
    "gradient": lambda: vq(update="gradient"),
    "cosine": lambda: vq(cosine=True),
    "l2": lambda: vq(update="gradient", cosine=True),
    "l2 projected": lambda: vq(update="gradient", cosine=True, codebook_dim=3),
    "rotation": lambda: vq(rotation_trick=True, codebook_dim=3),
    "clustering": lambda: vq(update="gradient", revival="clustering"),
    "perturbed": lambda: vq(perturbation=Perturbation(strength=4, share=0.5)),
    "factorized": lambda: FactorizedVectorQuantizer(DIM, 32, codebook_dim=3, stride=2),
    "fsq": lambda: FSQ(DIM, (8, 5, 5)),
    "fsq plain": lambda: FSQ(DIM, (3, 4) * 3),
    "fsq standardised": lambda: FSQ(DIM, (8, 5), standardise=POSITIONS, noise_dropout=0.5),
    "residual fsq": lambda: ResidualFSQ(DIM, (5, 4)),
    "residual": lambda: ResidualQuantizer([vq() for _ in range(3)]),
    "residual strided": lambda: ResidualQuantizer(
        [FactorizedVectorQuantizer(DIM, 32, codebook_dim=3, stride=s) for s in (2, 1)],
        through_levels=True,
    ),
    "split": lambda: SplitQuantizer(
        DIM, vq(), ResidualQuantizer([vq() for _ in range(2)]), bypass=0.5
    ),
    "product": lambda: ProductQuantizer([FSQ(2, (5, 5)), FSQ(4, (5, 3, 3))]),
    "regrouped": lambda: RegroupedQuantizer(DIM, 8, kept=(8, 4), group_batches=2),
    "lfq": lambda: BinaryQuantizer(DIM, 6),
    "groups": lambda: BinaryQuantizer(DIM, 4, 3, batch_entropy="per_group"),
    "bsq": lambda: BinaryQuantizer(DIM, 9, kind="bsq", enumerated_bits=4),
    "bounded": lambda: BinaryQuantizer(DIM, 8, 16, kind="bounded"),
    "ibq": lambda: IndexBackpropagationQuantizer(DIM, 32),
    "multiscale": lambda: MultiScaleQuantizer(vq(update="gradient"), (1, 2, 3, 4)),
    "dimensionwise": lambda: DimensionwiseQuantizer(DIM, 3),
}


def all_kinds(base):
    """The sub-classes of a class, of all generations."""
    return {base}.union(*(all_kinds(kind) for kind in base.__subclasses__()))


def test_no_quantizer_is_left_out():
    """But those without ids, and those that have other inputs, which have tests of their own."""
    for module in pkgutil.iter_modules(quantizers.__path__):
        importlib.import_module(f"{quantizers.__name__}.{module.name}")
    found = {kind for kind in all_kinds(Quantizer) if kind.__module__.startswith("intaglio.")}
    apart = {Quantizer, PostTrainingQuantizer, DualQuantizer} | all_kinds(ContinuousBottleneck)
    tested = {type(make()) for make in MAKERS.values()}
    assert {kind.__name__ for kind in found - apart - tested} == set()


@pytest.fixture(params=MAKERS)
def quantizer(request):
    """A quantizer that has been trained for two steps."""
    made = MAKERS[request.param]().train()
    for _ in range(2):
        made(torch.randn(3, POSITIONS, DIM))
    return made


def latents(batch=3):
    """Latents as encoders give them: channels first, transposed."""
    return torch.randn(batch, DIM, POSITIONS).transpose(1, 2)


def test_evaluation_is_encoding_and_decoding_to_the_bit(quantizer):
    data = latents()
    quantizer.eval()
    before = copy.deepcopy(quantizer.state_dict())
    quantized = quantizer(data)
    ids = quantizer.encode_ids(data)
    assert torch.equal(quantized.ids, ids)
    assert torch.equal(quantized.values, quantizer.decode_ids(ids))
    assert ids.dtype == torch.int64 and ids.shape[2] == len(quantizer.vocab)
    assert quantized.values.shape == data.shape and quantized.values.dtype == torch.float32
    assert ((ids >= 0) & (ids < torch.tensor(quantizer.vocab))).all()
    assert quantizer.input_dim == quantizer.dim == DIM
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_encoding_in_training_mode_changes_nothing_and_equals_evaluation(quantizer):
    data = latents()
    before = copy.deepcopy(quantizer.state_dict())
    ids = quantizer.train().encode_ids(data)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(quantizer.eval().encode_ids(data), ids)


def test_gradients_reach_latents_and_every_loss_is_finite(quantizer):
    data = latents().requires_grad_()
    quantized = quantizer.train()(data)
    weight = torch.randn_like(quantized.values)
    loss = (quantized.values * weight).sum() + sum(quantized.losses.values())
    loss.backward()
    assert data.grad.isfinite().all()
    assert (data.grad.abs().sum(-1) > 0).all()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    kinds = [part for part in quantizer.modules() if isinstance(part, Quantizer)]
    declared = {name for kind in kinds for name in kind.losses}
    assert set(quantized.losses) <= declared
    terms = {**quantized.losses, **quantized.stats}
    assert all(term.shape == () and term.isfinite() for term in terms.values())
    assert 1 <= quantized.stats["perplexity"] <= max(quantizer.vocab) * 1.001


def test_autocast_and_half_precision_give_the_ids_of_the_values(quantizer):
    data = latents().bfloat16()
    quantizer.eval()
    expected = quantizer.encode_ids(data.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantized = quantizer(data)
        assert torch.equal(quantizer.encode_ids(data), expected)
        values = quantizer.decode_ids(expected)
    assert torch.equal(quantized.ids, expected)
    assert quantized.values.dtype == values.dtype == torch.float32
    assert torch.equal(quantized.values, values)


def test_autocast_changes_neither_values_nor_losses(quantizer):
    """Distances, entropies and layers are of float32 wherever the quantizer is called."""
    data = latents().bfloat16()
    quantizer.eval()
    expected = quantizer(data.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = quantizer(data)
    assert torch.equal(found.values, expected.values)
    assert found.losses == expected.losses and found.stats == expected.stats


def test_an_item_has_the_ids_that_it_has_alone(quantizer):
    data = latents(4)
    ids = quantizer.eval().encode_ids(data)
    alone = torch.cat([quantizer.encode_ids(item) for item in data.split(1)])
    assert torch.equal(ids, alone)


def test_a_recipe_and_weights_make_an_equal_quantizer(quantizer):
    data = latents()
    again = build(describe(quantizer)).eval()
    again.load_state_dict(quantizer.state_dict())
    assert fingerprint(again) == fingerprint(quantizer)
    assert torch.equal(again.encode_ids(data), quantizer.eval().encode_ids(data))


class Both(torch.nn.Module):
    """Ids and their values as one graph."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, data):
        ids = self.quantizer.encode_ids(data)
        return ids, self.quantizer.decode_ids(ids)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of size checks
def test_exported_forms_give_equal_ids_and_values(quantizer):
    module = Both(quantizer.eval())
    data, other = latents(), latents()
    with torch.no_grad():
        traced = torch.jit.trace(module, (data,))
        program = torch.export.export(module, (data,)).module()
        ids, values = module(other)
        for form in (traced, program):
            got_ids, got_values = form(other)
            assert torch.equal(got_ids, ids)
            torch.testing.assert_close(got_values, values)


WRONG_LATENTS = [
    (torch.zeros(POSITIONS, DIM), rf"positions, {DIM}\], got float32 \[{POSITIONS}, {DIM}\]"),
    (torch.zeros(2, DIM, POSITIONS), rf"{DIM}\], got float32 \[2, {DIM}, {POSITIONS}\]"),
    (torch.zeros(2, POSITIONS, DIM + 1), rf"got float32 \[2, {POSITIONS}, {DIM + 1}\]"),
    (torch.zeros(2, POSITIONS, DIM, dtype=torch.int16), "floating-point latents .* got int16"),
]


@pytest.mark.parametrize(("data", "message"), WRONG_LATENTS)
def test_latents_of_another_shape_or_type_are_refused(quantizer, data, message):
    before = copy.deepcopy(quantizer.state_dict())
    for take in (quantizer, quantizer.encode_ids, lambda x: quantizer.encode_levels(x, 1)):
        with pytest.raises(ValueError, match=message) as caught:
            take(data)
        assert str(caught.value).startswith(type(quantizer).__name__)
        assert "\n" not in str(caught.value)
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_arrays_are_refused_as_latents_masks_and_ids(quantizer):
    data = latents()
    with pytest.raises(TypeError, match=r"as a torch.Tensor, got numpy.ndarray float32 \[3, 16, 6"):
        quantizer(data.numpy())
    with pytest.raises(TypeError, match=r"mask is a torch.Tensor, got numpy.ndarray bool \[3, 16"):
        quantizer(data, torch.ones(3, POSITIONS, dtype=torch.bool).numpy())
    with pytest.raises(TypeError, match=r"ids .* as a torch.Tensor, got numpy.ndarray int64"):
        quantizer.decode_ids(quantizer.encode_ids(data).numpy())
    with pytest.raises(TypeError, match="got list"):
        quantizer.decode_ids([[1]])


def test_masks_of_another_shape_or_type_are_refused(quantizer):
    data = latents()
    with pytest.raises(ValueError, match=r"bool \[3, 16\], got int64 \[3, 16\]"):
        quantizer(data, torch.ones(3, POSITIONS, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"bool \[3, 16\], got bool \[3, 15\]"):
        quantizer(data, mask=torch.ones(3, POSITIONS - 1, dtype=torch.bool))


def test_latents_that_do_not_fill_positions_are_refused():
    quantizer = MAKERS["residual strided"]()
    for take in (quantizer, quantizer.encode_ids):
        with pytest.raises(ValueError, match=r"multiples of 2 positions, got \[1, 3, 6\]"):
            take(torch.zeros(1, 3, DIM))


def test_ids_of_another_shape_or_type_or_out_of_range_are_refused(quantizer):
    ids = quantizer.eval().encode_ids(latents())
    for wrong in (ids.int(), ids.double(), ids[0], ids[..., :0], torch.cat([ids, ids], dim=2)):
        with pytest.raises(ValueError, match="takes int64 ids .*, got") as caught:
            quantizer.decode_ids(wrong)
        assert str(list(wrong.shape)) in str(caught.value)
    size = quantizer.vocab[-1]
    for wrong in (-1, size):
        changed = ids.clone()
        changed[1, 2, -1] = wrong
        last = ids.shape[2] - 1
        with pytest.raises(ValueError, match=rf"in \[0, {size}\), got {wrong} in group {last}$"):
            quantizer.decode_ids(changed)


def test_values_that_are_not_finite_have_no_ids_but_may_be_skipped_in_training(quantizer):
    data = latents().contiguous()
    data[1, 3, 2] = torch.nan
    with pytest.raises(ValueError, match=r"latents of finite values, got nan at \[1, 3, 2\]"):
        quantizer.encode_ids(data)
    for mode in (True, False):
        assert quantizer.train(mode)(data).ids.shape[0] == 3
    assert torch.equal(quantizer.encode_ids(data[:1] * 1e-3), quantizer(data[:1] * 1e-3).ids)


def test_any_floating_type_is_computed_in_float32(quantizer):
    data = latents()
    quantizer.eval()
    assert torch.equal(quantizer.encode_ids(data.double()), quantizer.encode_ids(data))
    assert quantizer(data.double()).values.dtype == torch.float32
