import copy
import random

import numpy
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from intaglio.codecs.discriminators.period import MultiPeriodDiscriminator
from intaglio.codecs.losses.adversarial import HingeLoss
from intaglio.codecs.losses.adversary import Adversary
from intaglio.codecs.losses.balancer import Balancer
from intaglio.codecs.losses.lecam import LeCam
from intaglio.codecs.losses.matching import FeatureMatchingLoss
from intaglio.codecs.losses.waveform import WaveformLoss
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.codecs.task import CodecTask

pytestmark = pytest.mark.filterwarnings(
    # Lightning's own: that modules built in Python are no plain data, its loaders, its trees
    "ignore:You defined a `validation_step`",
    "ignore:Attribute .* removed from hparams",
    r"ignore:Attribute .* is an instance of `nn\.Module`",
    "ignore:The 'train_dataloader' does not have many workers",
    "ignore:.*treespec.*:DeprecationWarning",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*tensorboardX.*",
)


def adversary():
    discriminator = MultiPeriodDiscriminator((2, 3), channels=(4, 8))
    return Adversary(discriminator, HingeLoss(), matching=FeatureMatchingLoss())


def task(codec, **changes):
    settings = {
        "losses": {"wave": WaveformLoss()},
        "weights": {"wave": 2.0, "commitment": 0.25},
        "adversaries": {"periods": adversary()},
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    }
    return CodecTask(codec.train(), **(settings | changes))


class Waves(torch.utils.data.Dataset):
    def __init__(self, bad=()):
        self.bad = bad

    def __len__(self):
        return 64

    def __getitem__(self, index):
        wave = 0.3 * torch.randn(1, 200, generator=torch.Generator().manual_seed(index))
        if index // 2 in self.bad:
            wave[0, 50] = float("nan")
        return {"wave": wave, "lengths": 200, "path": f"clip {index}"}


def fit(module, steps, bad=(), batch_size=2, **changes):
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "accelerator": "cpu",
        "max_steps": steps,
    }
    trainer = Trainer(**(settings | changes))
    trainer.fit(module, DataLoader(Waves(bad), batch_size=batch_size))
    return trainer


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_only_the_generators_steps_count(tiny_codec):
    """A wrapped discriminator optimizer would count too, and halve every schedule."""
    trainer = fit(task(tiny_codec), 8)
    assert trainer.global_step == 8
    assert trainer.fit_loop.total_batch_idx + 1 == 8


def test_both_players_learn(tiny_codec):
    module = task(tiny_codec)
    before = state(module)
    fit(module, 2)
    names = changed(before, module)
    assert any(name.startswith("codec.encoder") for name in names)
    assert any(name.startswith("codec.decoder") for name in names)
    assert any(name.startswith("adversaries") for name in names)
    assert "codec.quantizer._codebook.codes" in names


def test_the_discriminator_enters_at_its_step(tiny_codec):
    module = task(tiny_codec, adversarial_from=3)
    before = state(module)
    fit(module, 3)
    assert not any(name.startswith("adversaries") for name in changed(before, module))
    module = task(tiny_codec, adversarial_from=3)
    before = state(module)
    trainer = fit(module, 4)
    assert any(name.startswith("adversaries") for name in changed(before, module))
    assert "train/periods/matching" in trainer.callback_metrics


def test_the_generators_step_leaves_the_discriminator_alone(tiny_codec):
    """The generator's loss must not reach the discriminator's parameters."""
    module = task(tiny_codec)
    calls = []
    step = module._step

    def spy(optimizer, loss, name):
        done = step(optimizer, loss, name)
        other = module.adversaries if name == "generator" else module.codec
        calls.append(
            (name, [p.grad is not None and bool(p.grad.any()) for p in other.parameters()])
        )
        optimizer.zero_grad()
        return done

    module._step = spy
    fit(module, 2)
    assert [name for name, _ in calls] == ["generator", "discriminator"] * 2
    assert not any(any(touched) for _, touched in calls)


def test_the_losses_are_weighted(tiny_codec):
    """The logged terms are raw, the total is weighted."""
    metrics = fit(task(tiny_codec, adversaries=None), 1).callback_metrics
    total = 2 * metrics["train/wave"] + 0.25 * metrics["train/commitment"]
    torch.testing.assert_close(metrics["train/loss"], total)


def test_a_balancer_makes_the_scale_of_a_loss_irrelevant(tiny_codec):
    """Halving a loss changes the step without a balancer and not with one."""

    class Scaled(WaveformLoss):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, output, target):
            return self.factor * super().forward(output, target)

    def moved(balanced, factor):
        codec = copy.deepcopy(tiny_codec)
        torch.manual_seed(3)
        module = task(
            codec,
            losses={"wave": Scaled(factor)},
            balancer=Balancer() if balanced else None,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-2),
        )
        fit(module, 2)
        assert not balanced or set(module.balancer.sums) == {
            *("wave", "periods/adversarial", "periods/matching")
        }
        return module.codec.encoder.stem.conv.parametrizations.weight.original1

    torch.testing.assert_close(moved(True, 1.0), moved(True, 100.0), atol=1e-6, rtol=0)
    assert (moved(False, 1.0) - moved(False, 100.0)).abs().max() > 1e-5


def test_discriminators_may_learn_from_a_share_of_the_batches(tiny_codec):
    module = task(tiny_codec, discriminator_share=0.5)
    module.seed = 1
    learn = []
    for module.batches in range(400):
        learn.append(module._discriminators_learn())
    assert 160 < sum(learn) < 240
    module.batches = 7
    assert module._discriminators_learn() == learn[7]
    module = task(tiny_codec, discriminator_share=0.0)
    before = state(module)
    fit(module, 2)
    assert not any(name.startswith("adversaries") for name in changed(before, module))


def test_steps_that_are_not_finite_are_skipped_and_change_nothing(tiny_codec, capsys):
    module = task(tiny_codec)
    seen = []

    original = module.training_step

    def spied(batch, batch_idx):
        before = state(module)
        result = original(batch, batch_idx)
        seen.append((batch_idx, changed(before, module)))
        return result

    module.training_step = spied
    trainer = fit(module, 5, bad=(1, 2))
    assert [index for index, names in seen if not names] == [1, 2]
    assert trainer.global_step == 5
    lines = capsys.readouterr().out.splitlines()
    assert "clip 2, clip 3 (not finite themselves)" in lines[0] and "clip 0" not in lines[0]
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_too_many_bad_steps_in_a_row_stop_the_training(tiny_codec):
    with pytest.raises(ValueError, match="3 steps in a row"):
        fit(task(tiny_codec, max_skipped=3), 30, bad=range(4, 20))


class Infinite(torch.nn.Module):
    """A loss that is infinite once its calls are up, with a finite gradient."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, decoded, real):
        self.calls -= 1
        return (decoded - real).square().mean() + (float("inf") if self.calls < 0 else 0.0)


@pytest.mark.parametrize("balanced", [False, True])
def test_an_infinite_loss_moves_neither_weights_nor_codebooks(tiny_codec, balanced):
    """Also where the balancer puts another value in its place."""
    tiny_codec.quantizer = VectorQuantizer(8, 16, kmeans_iterations=0)  # with running means
    module = task(
        tiny_codec,
        losses={"wave": Infinite(2)},
        balancer=Balancer() if balanced else None,
        adversaries=None,
        max_skipped=2,
    )
    fit(module, 2)
    before = state(module.codec)
    with pytest.raises(ValueError, match="2 steps in a row were skipped: the loss of the gener"):
        fit(module, 4)
    assert changed(before, module.codec) == set()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_discriminator_that_never_steps_stops_the_training(tiny_codec, share, capsys):
    """Batches from which it does not learn do not interrupt the row, and nothing of it moves."""
    judge = Adversary(adversary().discriminator, HingeLoss(), lecam=LeCam())
    module = task(
        tiny_codec, adversaries={"periods": judge}, discriminator_share=share, max_skipped=3
    )
    before = state(judge)
    weight = next(module.adversaries.parameters())
    weight.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(ValueError, match="3 steps in a row were skipped: the gradient of the disc"):
        fit(module, 30)
    assert module.trainer.callback_metrics["train/skipped"] == 2  # of the step before
    assert "clip 1" in capsys.readouterr().out
    assert "lecam.mean_fake" in before and changed(before, judge) == set()


@pytest.mark.parametrize(("clip_norm", "moved"), [(None, 3.0), (1e-3, 1e-3)])
def test_gradients_are_clipped(tiny_codec, clip_norm, moved):
    module = task(
        tiny_codec,
        clip_norm=clip_norm,
        weights={"wave": 1e4},
        adversaries=None,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    before = {name: value.clone() for name, value in module.codec.named_parameters()}
    fit(module, 1)
    steps = [(value - before[name]).norm() for name, value in module.codec.named_parameters()]
    norm = torch.stack(steps).norm()
    assert norm > moved if clip_norm is None else norm < 1.01 * moved


def test_discriminators_have_a_largest_norm_of_their_own(tiny_codec):
    module = task(
        tiny_codec,
        clip_norm=1e6,
        discriminator_clip_norm=1e-3,
        weights={"wave": 1e4},
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    before = {name: value.clone() for name, value in module.named_parameters()}
    fit(module, 1)
    moved = {
        player: torch.stack(
            [
                (value - before[name]).norm()
                for name, value in module.named_parameters()
                if name.startswith(player)
            ]
        ).norm()
        for player in ("codec", "adversaries")
    }
    assert 0.5e-3 < moved["adversaries"] < 1.01e-3 and moved["codec"] > 1


def test_the_rate_warms_up_and_falls_to_its_end(tiny_codec):
    module = task(tiny_codec, warmup_steps=4, final_rate=0.1)
    rates = []
    step = module._step

    def spy(optimizer, loss, name):
        rates.append((name, optimizer.param_groups[0]["lr"]))
        return step(optimizer, loss, name)

    module._step = spy
    fit(module, 12)
    mine = [rate for name, rate in rates if name == "generator"]
    theirs = [rate for name, rate in rates if name == "discriminator"]
    assert mine == theirs
    assert mine[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])
    assert mine[4:] == sorted(mine[4:], reverse=True)
    assert 0.1e-3 <= mine[-1] < 0.2e-3


def test_half_precision_keeps_the_quantizer_and_the_losses_exact(tiny_codec):
    trainer = fit(task(tiny_codec), 3, precision="bf16-mixed")
    assert trainer.global_step == 3
    assert trainer.callback_metrics["train/loss"].isfinite()
    assert tiny_codec.quantizer.codebook.dtype == torch.float32


@pytest.mark.parametrize("accumulate", [2, 3])
def test_a_batch_split_into_micro_batches_gives_the_step_of_the_whole(tiny_codec, accumulate):
    """Also if they are unequal; without dropout and with codes that the gradient moves."""
    states = []
    quantizer = VectorQuantizer(8, 64, update="gradient", kmeans_iterations=0, dead_below=0)
    tiny_codec.quantizer = quantizer
    start = copy.deepcopy(tiny_codec).eval()
    for count in (1, accumulate):
        codec = copy.deepcopy(start)
        for layer in codec.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
        torch.manual_seed(1)
        module = task(
            codec,
            weights={"wave": 2.0, "commitment": 0.25, "codebook": 1.0},
            accumulate=count,
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        )
        metrics = fit(module, 3, batch_size=4).callback_metrics
        states.append((state(module), metrics["train/wave"], metrics["train/loss"]))
    for name, value in states[0][0].items():
        if not name.startswith("codec.quantizer._codebook.u"):  # counts are of micro-batches
            torch.testing.assert_close(states[1][0][name], value, atol=1e-5, rtol=1e-4, msg=name)
    torch.testing.assert_close(states[0][1:], states[1][1:], atol=1e-5, rtol=1e-4)


def test_what_a_step_draws_depends_on_its_number_alone(tiny_codec):
    drawn = []

    class Draws(torch.nn.Module):
        def forward(self, decoded, real):
            drawn.append((random.random(), numpy.random.rand(), torch.rand(1).item()))
            return (decoded - real).square().mean()

    for disturbed in (False, True):
        module = task(tiny_codec, losses={"wave": Draws()}, adversaries=None)
        module.seed = 5
        if disturbed:
            module.on_load_checkpoint({"training": {"seed": 5, "batches": 2, "skipped": 0}})
            torch.rand(3)
        fit(module, 2 if disturbed else 4)
    assert drawn[2:4] == drawn[4:6]
    assert len(set(drawn[:4])) == 4


def test_no_micro_batches_are_refused(tiny_codec):
    with pytest.raises(ValueError, match="into 0 micro-batches"):
        task(tiny_codec, accumulate=0)


def test_a_weight_without_a_loss_is_refused(tiny_codec):
    with pytest.raises(ValueError, match="mell"):
        task(tiny_codec, weights={"mell": 45})


class Spread(FSQ):
    """A quantizer with a loss that nothing else has: distance of the latents' mean from zero."""

    losses = ("spread",)

    def forward(self, latents, mask=None):
        quantized = super().forward(latents, mask)
        return quantized._replace(losses={"spread": latents.mean().square()})


@pytest.mark.parametrize("nested", [False, True])
def test_a_new_loss_of_a_quantizer_is_weighted_by_its_name(tiny_codec, nested):
    spread = Spread(8, (5, 5))
    tiny_codec.quantizer = ResidualQuantizer([spread]) if nested else spread
    module = task(tiny_codec, adversaries=None, weights={"wave": 2.0, "spread": 30.0})
    metrics = fit(module, 1).callback_metrics
    total = 2 * metrics["train/wave"] + 30 * metrics["train/spread"]
    torch.testing.assert_close(metrics["train/loss"], total)
    with pytest.raises(ValueError, match="name no loss: sprat"):
        task(tiny_codec, weights={"sprat": 1.0})


def test_a_loss_of_another_quantizer_is_unknown(tiny_codec):
    with pytest.raises(ValueError, match="name no loss: spread"):
        task(tiny_codec, weights={"spread": 1.0})


def test_tokens_of_a_batch_are_those_of_its_items(tiny_codec):
    batch = {"wave": torch.randn(2, 1, 200), "lengths": torch.tensor([200, 90]), "path": ["a", "b"]}
    tokens = task(tiny_codec).eval().predict_step(batch, 0)
    assert tokens.mask.sum(1).tolist() == [10, 5]
    assert torch.equal(tokens.ids, tiny_codec.encode(batch["wave"], batch["lengths"]).ids)
