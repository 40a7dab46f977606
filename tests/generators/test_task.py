"""GeneratorTask: what a step minimises, what is compared with the data, exact parts and resumes."""

from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.provenance import Provenance
from intaglio.generators.task import GeneratorTask

pytestmark = pytest.mark.filterwarnings(
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:.*removed from hparams because it cannot be pickled",
)


class Source(NamedTuple):
    codec: str = "tiny"
    fingerprint: str = "f" * 32
    vocab: tuple[int, ...] = (3,)
    shape: tuple[int, ...] = (2, 2)
    any_length: bool = False


class Data(LightningDataModule):
    """Eight items whose class decides them."""

    def __init__(self, source=None, classes=("a", "b", "c")):
        super().__init__()
        self.source, self.classes = source or Source(), list(classes)

    def training_tokens(self):
        labels = torch.arange(8) % 3
        sizes = torch.tensor(self.source.vocab)
        return (labels.view(8, 1, 1) + torch.arange(4).view(1, 4, 1)) % sizes

    def train_dataloader(self):
        tokens = self.training_tokens()
        items = [{"tokens": t, "label": n % 3} for n, t in enumerate(tokens)]
        return DataLoader(items, batch_size=4)

    def val_dataloader(self):
        return self.train_dataloader()


def fit(task, data=None, steps=4, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(task, data or Data())
    return trainer


def task_of(generator, **options):
    return GeneratorTask(
        generator.train(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1), **options
    )


def test_it_learns_and_takes_the_origin(raster):
    generator = raster().train()
    task = GeneratorTask(
        generator, optimizer=lambda p: torch.optim.AdamW(p, lr=0.02), final_rate=1.0
    )
    trainer = fit(task, steps=80)
    assert generator.provenance == Provenance("tiny", "f" * 32, ("a", "b", "c"))
    assert trainer.callback_metrics["train/loss"] < 0.2
    assert trainer.callback_metrics["val/loss"] < 0.2


def uneven(generator):
    """The generator with 1, 4, 2 and 3 masked tokens in the four items of a batch."""
    order, numbers = generator.order, iter([1, 4, 2, 3])

    def predictions(backbone, tokens, condition):
        masked = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        for row in masked:
            row[: next(numbers)] = True
        return order.predictions_given(backbone, tokens, condition, masked)

    order.predictions = predictions
    return generator


@pytest.mark.parametrize("kind", ["raster", "masked"])
def test_parts_give_the_gradient_of_the_mean_of_all_tokens(kind, request):
    """Also where parts learn different numbers of tokens, as masks do."""

    def fresh():
        generator = request.getfixturevalue(kind)(drop_condition=0.0).train()
        return uneven(generator) if kind == "masked" else generator

    generator = fresh()
    generator.loss(Data().training_tokens()[:4], torch.arange(4) % 3).mean().backward()
    expected = {n: -0.1 * p.grad for n, p in generator.named_parameters() if p.grad is not None}
    assert len(expected) > 10
    for accumulate in (1, 2, 4):
        generator = fresh()
        before = {name: p.detach().clone() for name, p in generator.named_parameters()}
        fit(task_of(generator, accumulate=accumulate, clip_norm=None, final_rate=1.0), steps=1)
        for name, parameter in generator.named_parameters():
            moved = parameter.detach() - before[name]
            wanted = expected.get(name, torch.zeros_like(moved))
            torch.testing.assert_close(moved, wanted, atol=1e-6, rtol=1e-4)


def test_the_tokens_of_other_processes_count(raster, monkeypatch):
    """With as many in another process, this one's share of the gradient is a half."""
    generator = raster(drop_condition=0.0).train()
    generator.loss(Data().training_tokens()[:4], torch.arange(4) % 3).mean().backward()
    wanted = {n: -0.05 * p.grad for n, p in generator.named_parameters()}
    generator = raster(drop_condition=0.0).train()
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    monkeypatch.setattr("intaglio.generators.task.summed", lambda count: 2 * count)
    fit(task_of(generator, clip_norm=None, final_rate=1.0), steps=1)
    for name, parameter in generator.named_parameters():
        moved = parameter.detach() - before[name]
        torch.testing.assert_close(moved, wanted[name], atol=1e-6, rtol=1e-4)


class Sequences(Data):
    """Items of one to four tokens; their class is the first of them."""

    def __init__(self, **source):
        super().__init__(Source(shape=(4,), any_length=True, **source))

    def train_dataloader(self):
        lengths = 1 + torch.arange(8) % 4
        mask = torch.arange(4) < lengths.unsqueeze(1)
        tokens = self.training_tokens() * mask.unsqueeze(-1)
        items = [
            {"tokens": t, "mask": m, "label": n % 3}
            for n, (t, m) in enumerate(zip(tokens, mask, strict=True))
        ]
        return DataLoader(items, batch_size=4)


@pytest.fixture
def ending():
    """Build a generator of sequences of up to four of three ids."""

    def make(**options):
        torch.manual_seed(0)
        backbone = Backbone(
            (4,), IdEmbedding((3,), 16), ClassCondition(3), Transformer(16, 1, 2), rotary="line"
        )
        head = CategoricalHead(16, (4,))
        generator = Generator(backbone, head, RasterOrder(), end_of_sequence=True, **options)
        for parameter in generator.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        return generator

    return make


def test_parts_of_sequences_give_the_gradient_of_the_mean_of_all_tokens(ending):
    """Items of 1 to 4 tokens, whose ends count as tokens but for those of four."""
    [batch, _] = Sequences().train_dataloader()
    generator = ending(drop_condition=0.0).train()
    loss = generator.loss(batch["tokens"], batch["label"], batch["mask"])
    assert loss.shape == (2 + 3 + 4 + 4,)
    loss.mean().backward()
    expected = {n: -0.1 * p.grad for n, p in generator.named_parameters() if p.grad is not None}
    for accumulate in (1, 2, 3):
        generator = ending(drop_condition=0.0)
        before = {name: p.detach().clone() for name, p in generator.named_parameters()}
        task = task_of(generator, accumulate=accumulate, clip_norm=None, final_rate=1.0)
        trainer = fit(task, Sequences(), steps=1)
        for name, wanted in expected.items():
            moved = generator.get_parameter(name).detach() - before[name]
            torch.testing.assert_close(moved, wanted, atol=1e-6, rtol=1e-4)
    assert trainer.callback_metrics["train/loss"] == pytest.approx(loss.mean().item(), rel=1e-5)


def test_sequences_need_an_end_and_positions(ending, raster):
    with pytest.raises(ValueError, match="any length up to 4, .*build it with end_of_sequence"):
        fit(task_of(raster(shape=(4,))), Sequences())
    long = Data(Source(shape=(5,)))
    with pytest.raises(ValueError, match=r"shape \(5,\) .*draws \(4,\)"):
        fit(task_of(ending()), long)
    fit(task_of(ending()), Data(Source(shape=(4,))), steps=1)  # all of one length, without masks


def test_scales_and_constants_do_not_decay(raster):
    task = GeneratorTask(
        raster(), optimizer=lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.5)
    )
    matrices, others = task.configure_optimizers().param_groups
    assert all(p.dim() > 1 for p in matrices["params"]) and matrices["weight_decay"] == 0.5
    assert all(p.dim() == 1 for p in others["params"]) and others["weight_decay"] == 0
    count = len(matrices["params"]) + len(others["params"])
    assert count == len(list(task.generator.parameters())) and others["params"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Data(Source(shape=(4,))), r"shape \(4,\) .*draws \(2, 2\)"),
        (Data(Source(vocab=(5,))), r"vocabulary \(5,\), .*draws \(2, 2\) and \(3,\)"),
        (Data(classes="abcd"), "the data have 4 classes, the generator 3; set num_classes"),
    ],
    ids=["shape", "vocab", "classes"],
)
def test_data_that_do_not_fit_are_refused(raster, data, words):
    with pytest.raises(ValueError, match=words):
        fit(task_of(raster()), data)


def test_tokens_of_another_codec_are_refused(raster):
    generator = raster()
    fit(task_of(generator), steps=1)
    with pytest.raises(ValueError, match="tokens of tiny ffffffffffff, not of tiny eeeeeeeeeeee"):
        fit(task_of(generator), Data(Source(fingerprint="e" * 32)))


def test_data_without_a_source_are_refused(raster):
    class Waves(LightningDataModule):
        def train_dataloader(self):
            return DataLoader([0])

        val_dataloader = train_dataloader

    with pytest.raises(ValueError, match="learns from shards of tokens"):
        fit(task_of(raster()), Waves())


def test_vectors_are_those_of_the_codec(flowing, tiny_codec, tmp_path):
    """A generator of vectors learns what the quantizer makes of ids, standardised."""
    assert isinstance(tiny_codec, AudioCodec)
    folder = save(tiny_codec, tmp_path / "codec")
    source = Source("tiny", tiny_codec.fingerprint, tiny_codec.vocab)
    generator = flowing(width=8)
    task = task_of(generator, codec=str(folder), clip_norm=1.0)
    fit(task, Data(source), steps=1)
    vectors = tiny_codec.quantizer.decode_ids(Data(source).training_tokens())
    torch.testing.assert_close(task.vectors(Data(source).training_tokens()), vectors)
    inner = generator.normalise(vectors)
    torch.testing.assert_close(inner.mean((0, 1)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(inner.flatten(0, 1).std(0), torch.ones(8))
    torch.testing.assert_close(generator.denormalise(inner), vectors)
    assert not any("quantizer" in name for name in task.state_dict())
    with pytest.raises(ValueError, match="needs the codec of the tokens: give model.codec"):
        fit(task_of(flowing(width=8)), Data(source))
    with pytest.raises(ValueError, match="vectors of 8 channels, generator draws 5"):
        fit(task_of(flowing(width=5), codec=str(folder)), Data(source))
    with pytest.raises(ValueError, match="not of tiny"):
        fit(task_of(flowing(width=8), codec=str(folder)), Data())


def test_validation_is_the_same_every_time(masked):
    generator = masked()
    losses = []
    for _ in range(2):
        trainer = fit(task_of(generator), steps=1)
        for _ in range(2):
            [found] = trainer.validate(task_of(generator), Data(), verbose=False)
            losses.append(found["val/loss"])
    assert losses[0] == losses[1] and losses[2] == losses[3] and losses[0] != losses[2]


def test_a_batch_has_at_least_one_part(raster):
    with pytest.raises(ValueError, match="in 0 parts"):
        GeneratorTask(raster(), accumulate=0)


def test_predict_says_that_generators_are_sampled(raster):
    task = GeneratorTask(raster())
    with pytest.raises(ValueError, match="draw with `intaglio sample`"):
        task.predict_step({}, 0)
