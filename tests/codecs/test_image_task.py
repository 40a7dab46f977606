"""CodecTask with images: stages, weights of a stage, and the adaptive weight of an adversary."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from intaglio.codecs import ImageCodec, Tokens
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.codecs.discriminators.patch import PatchDiscriminator
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.latents import LatentEncoder
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.losses.adversarial import NonSaturatingLoss
from intaglio.codecs.losses.adversary import Adversary
from intaglio.codecs.losses.base import LatentLoss
from intaglio.codecs.losses.lecam import LeCam
from intaglio.codecs.losses.pixel import PixelLoss
from intaglio.codecs.quantizers.binary import BinaryQuantizer
from intaglio.codecs.quantizers.continuous import KLBottleneck
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.post_training import PostTrainingQuantizer
from intaglio.codecs.quantizers.vq import VectorQuantizer
from intaglio.codecs.task import CodecTask
from intaglio.codecs.training.stages import Stage

pytestmark = pytest.mark.filterwarnings(
    # Lightning's own: that modules built in Python are no plain data, its loaders, its trees
    "ignore:You defined a `validation_step`",
    "ignore:Attribute .* removed from hparams",
    r"ignore:Attribute .* is an instance of `nn\.Module`",
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:.*treespec.*:DeprecationWarning",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*tensorboardX.*",
)

SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "attention": False}


class Images(torch.utils.data.Dataset):
    """A batch of one image: every epoch is a step, and a resumed training gets what it should."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"image": torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1}


class Counted(PixelLoss):
    """Knows how often it was computed."""

    calls = 0

    def forward(self, output, target):
        self.calls += 1
        return super().forward(output, target)


def codec(quantizer=None):
    torch.manual_seed(3)
    quantizer = quantizer or VectorQuantizer(4, 16, kmeans_iterations=0)
    encoder, decoder = (
        ConvEncoder(quantizer.input_dim, **SMALL),
        ConvDecoder(quantizer.dim, **SMALL),
    )
    return ImageCodec(encoder, quantizer, decoder, image_size=8, name="tiny")


def adversary(**changes):
    torch.manual_seed(4)
    return Adversary(
        PatchDiscriminator(4, 1, groups=2), NonSaturatingLoss(), **({"weight": 0.8} | changes)
    )


def task(model=None, **changes):
    settings = {
        "losses": {"l1": PixelLoss()},
        "weights": {"l1": 2.0, "commitment": 0.25},
        "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    }
    module = CodecTask((model or codec()).train(), **(settings | changes))
    module.hparams.clear()  # of modules built in Python, which a checkpoint could not hold
    return module


def fit(module, steps, resume=None, validate=False):
    trainer = Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1 if validate else 0,
        accelerator="cpu",
        max_steps=steps,
    )
    loader = DataLoader(Images(), batch_size=2)
    trainer.fit(module, loader, loader if validate else None, ckpt_path=resume)
    return trainer


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def moved(before, module, *prefixes):
    """Those of some prefixes that have anything that changed."""
    names = changed(before, module)
    return {prefix for prefix in prefixes if any(name.startswith(prefix) for name in names)}


PARTS = ("codec.encoder", "codec.quantizer", "codec.decoder")
FLOW = ("codec.encoder", "codec.decoder")


@pytest.mark.parametrize("stop", [3, 4])
def test_frozen_parts_stay_to_the_bit_until_their_stage(stop):
    """Buffers and running codebooks too; then they learn, and are in training mode again.

    Validations in between change nothing of it, nor does a part that someone has switched.
    """
    stages = [Stage(learns=["decoder.*"]), Stage(3)]
    module = task(stages=stages)
    before = state(module)
    fit(module, 1)
    module.train()
    fit(module, stop, validate=True)
    if stop == 3:
        assert moved(before, module, *PARTS) == {"codec.decoder"}
        assert not module.codec.encoder.training and not module.codec.quantizer.training
    else:
        assert moved(before, module, *PARTS) == set(PARTS)
        assert "codec.quantizer._codebook.codes" in changed(before, module)
        assert all(part.training for part in module.codec.modules())


def test_parts_that_have_learned_are_frozen_with_their_momentum():
    module = task(stages=[Stage(), Stage(2, ["decoder.*"])])
    kept = []
    step = module.training_step

    def spied(batch, batch_idx):
        kept.append(state(module))
        return step(batch, batch_idx)

    module.training_step = spied
    fit(module, 5)
    assert moved(kept[0], module, *PARTS) == set(PARTS)
    assert moved(kept[2], module, *PARTS) == {"codec.decoder"}
    assert moved(kept[1], module, *PARTS) == set(PARTS)


def test_what_the_codec_froze_no_stage_frees():
    model = codec()
    model.encoder.conv_in.requires_grad_(False)
    module = task(model, stages=[Stage(), Stage(1)])
    before = state(module)
    fit(module, 2)
    names = changed(before, module)
    assert not any(name.startswith("codec.encoder.conv_in") for name in names)
    assert "codec.encoder.conv_out.weight" in names


def test_weights_of_a_stage():
    """A loss of weight 0 is not computed; other weights stay the task's."""
    losses = {"l1": Counted(), "l2": Counted("l2")}
    stages = [Stage(weights={"l2": 0}), Stage(3, weights={"l1": 0, "commitment": 4.0})]
    metrics = fit(task(losses=losses, stages=stages), 3).callback_metrics
    assert (losses["l1"].calls, losses["l2"].calls) == (3, 0)
    assert "train/l2" not in metrics
    total = 2 * metrics["train/l1"] + 0.25 * metrics["train/commitment"]
    torch.testing.assert_close(metrics["train/loss"], total)
    losses = {"l1": Counted(), "l2": Counted("l2")}
    metrics = fit(task(losses=losses, stages=stages), 5).callback_metrics
    assert (losses["l1"].calls, losses["l2"].calls) == (3, 2)
    total = metrics["train/l2"] + 4 * metrics["train/commitment"]
    torch.testing.assert_close(metrics["train/loss"], total)


@pytest.mark.parametrize(
    "stages, message",
    [
        ([Stage(weights={"l3": 0})], r"weights name no loss: l3; losses are \[.*'kl', 'l1'"),
        ([Stage(1)], r"begin at step 0 .*\[1\]"),
        ([Stage(), Stage(9, ["decodr*"])], "no part of the codec is called decodr"),
    ],
    ids=["weights", "start", "pattern"],
)
def test_stages_that_cannot_be_are_refused_before_the_training(stages, message):
    with pytest.raises(ValueError, match=message):
        task(stages=stages)


def test_weights_of_the_codecs_own_losses_are_known():
    own = dict.fromkeys(["commitment", "codebook", "entropy", "kl", "flow", "proxy"], 1.0)
    assert task(weights=own).weights == own
    with pytest.raises(ValueError, match="name no loss: l2"):
        task(weights=own | {"l2": 1.0})


def generator_loss(module):
    """One generator loss on a batch, and the codec's output it is of."""
    module.log = lambda *_, **__: None
    real = torch.stack([Images()[0]["image"]] * 2)
    output = module.codec(real)
    return real, output, module._generator_loss(output, real, module.weights, True)


def test_an_objective_below_zero_is_made_smaller_still():
    """Entropies may be negative: nothing is clipped at 0, neither a value nor a gradient."""
    model = codec(BinaryQuantizer(4, 4, temperature=1.0))
    module = task(model, weights={"entropy": 50.0, "commitment": 0.25})
    real, output, loss = generator_loss(module)
    terms = output.quantized.losses
    total = (output.values - real).abs().mean() + 50 * terms["entropy"]
    total = total + 0.25 * terms["commitment"]
    assert total < -1
    torch.testing.assert_close(loss.total, total)
    first = module.codec.encoder.conv_in.weight
    found, expected = (
        torch.autograd.grad(one, first, retain_graph=True)[0] for one in (loss.total, total)
    )
    torch.testing.assert_close(found, expected)
    before = state(module)
    metrics = fit(task(model, weights=module.weights), 2).callback_metrics
    assert metrics["train/loss"] < -1 and metrics["train/entropy"] < 0
    assert moved(before, module, *FLOW) == set(FLOW)


@pytest.mark.parametrize("scale", [2.0, 1e12])
def test_the_adaptive_weight_by_hand(scale):
    """Ratio of two gradients at the last layer, 1e4 at most; a number, not a gradient."""
    module = task(
        adversaries={"patch": adversary(adaptive=True)}, weights={"l1": scale, "commitment": 0.25}
    )
    real, output, loss = generator_loss(module)
    weight = module.codec.decoder.conv_out.weight
    plain = scale * (output.values - real).abs().mean()
    scores = module.adversaries["patch"].discriminator(output.values).logits[0]
    against = torch.nn.functional.softplus(-scores).mean()
    norms = [
        torch.autograd.grad(term, weight, retain_graph=True)[0].norm() for term in (plain, against)
    ]
    ratio = min(float(norms[0] / (norms[1] + 1e-4)), 1e4)
    assert ratio != pytest.approx(1, rel=0.1)
    total = plain + 0.8 * ratio * against + 0.25 * output.quantized.losses["commitment"]
    torch.testing.assert_close(loss.total, total)
    torch.testing.assert_close(loss.terms["patch/adversarial"], against)
    first = module.codec.encoder.conv_in.weight
    found, expected = (
        torch.autograd.grad(one, first, retain_graph=True)[0] for one in (loss.total, total)
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("case", ["fixed", "frozen", "alone"])
def test_without_a_gradient_to_compare_the_weight_stays(case):
    """A weight that is not adaptive; a frozen last layer; no other loss."""
    module = task(adversaries={"patch": adversary(adaptive=case != "fixed")})
    if case == "frozen":
        module.codec.decoder.conv_out.requires_grad_(False)
    if case == "alone":
        module.weights["l1"] = 0
    real, output, loss = generator_loss(module)
    terms = loss.terms
    plain = 0 if case == "alone" else 2 * (output.values - real).abs().mean()
    total = plain + 0.8 * terms["patch/adversarial"] + 0.25 * terms["commitment"]
    torch.testing.assert_close(loss.total, total)


def test_the_adaptive_weight_is_logged():
    module = task(adversaries={"patch": adversary(adaptive=True)})
    metrics = fit(module, 2).callback_metrics
    assert 0 < metrics["train/adaptive_weight"] < 1e4
    assert metrics["train/adaptive_weight"] != 1


def test_lecam_is_a_term_of_the_discriminator():
    real, fake = torch.randn(2, 2, 3, 8, 8).unbind()
    plain = adversary().discriminator_loss(real, fake)
    patch = adversary(lecam=LeCam(weight=5.0))
    found = patch.discriminator_loss(real, fake)
    outputs = [patch.discriminator(x) for x in (real, fake)]
    torch.testing.assert_close(found, plain + patch.lecam.eval()(*outputs))
    assert set(patch.generator_losses(real, fake)) == {"adversarial"}


def with_adversary():
    """A new task of everything that has a state; the discriminator enters at step 3."""
    patch = adversary(lecam=LeCam(), adaptive=True)
    return task(adversaries={"patch": patch}, adversarial_from=3, final_rate=1.0)


def test_the_discriminator_enters_at_its_step_also_after_a_resume(tmp_path):
    """Unchanged after 3 steps, changed after 4; and a training in pieces is one training."""
    last = None
    for steps in (2, 3, 4, 5):
        module = with_adversary()
        before = state(module)
        trainer = fit(module, steps, resume=last)
        last = tmp_path / f"at{steps}.ckpt"
        trainer.save_checkpoint(last)
        names = {name for name in changed(before, module) if name.startswith("adversaries")}
        assert names == (set() if steps < 4 else {n for n in before if n.startswith("adv")})
    whole = with_adversary()
    fit(whole, 5)
    assert changed(state(whole), module) == set()


def test_a_stage_goes_on_after_a_resume(tmp_path):
    """What was frozen before the interruption learns after it as if there had been none."""
    stages = [Stage(learns=["decoder.*"], weights={"l1": 3.0}), Stage(2)]
    whole, first, last = (task(codec(), stages=stages, final_rate=1.0) for _ in range(3))
    fit(whole, 4)
    fit(first, 3).save_checkpoint(tmp_path / "at3.ckpt")
    fit(last, 4, resume=tmp_path / "at3.ckpt")
    assert changed(state(whole), last) == set()


@pytest.mark.parametrize(
    "quantizer, terms",
    [
        (lambda: VectorQuantizer(4, 16, kmeans_iterations=0), {"commitment", "perplexity"}),
        (lambda: KLBottleneck(4), {"kl"}),
        (lambda: PostTrainingQuantizer(4, 3), {"kl", "perplexity"}),
    ],
    ids=["vq", "kl", "posttraining"],
)
def test_images_train_and_validate(quantizer, terms):
    module = task(codec(quantizer()), weights={"commitment": 0.25, "kl": 1e-6})
    before = state(module)
    trainer = fit(module, 2, validate=True)
    assert trainer.global_step == 2
    assert moved(before, module, "codec.encoder", "codec.decoder") == set(FLOW)
    metrics = trainer.callback_metrics
    assert {f"train/{term}" for term in terms} <= set(metrics) and "val/l1" in metrics
    batch = {"image": torch.stack([Images()[0]["image"]] * 2)}
    module.log = lambda *_, **__: None
    decoded = module.eval().validation_step(batch, 0)["decoded"]
    assert decoded.shape == batch["image"].shape
    with torch.no_grad():
        torch.testing.assert_close(decoded, module.codec(batch["image"]).values.clamp(-1, 1))


def test_a_continuous_codec_is_validated_within_the_range():
    module = task(codec(KLBottleneck(4)), weights={})
    with torch.no_grad():
        module.codec.decoder.conv_out.bias.fill_(9)
    module.log = lambda *_, **__: None
    decoded = module.eval().validation_step({"image": torch.zeros(1, 3, 8, 8)}, 0)["decoded"]
    assert decoded.max() <= 1


def test_predictions_are_tokens():
    module = task()
    batch = {"image": torch.stack([Images()[0]["image"]] * 2)}
    tokens = module.predict_step(batch, 0)
    assert isinstance(tokens, Tokens) and torch.equal(
        tokens.ids, module.codec.encode(batch["image"]).ids
    )


def test_tokens_do_not_depend_on_the_precision_of_the_trainer():
    """Files of predictions have the ids that the codec itself gives."""
    module = task(codec(FSQ(4, (8, 8, 8, 8)))).eval()
    batch = {"image": torch.rand(8, 3, 8, 8) * 2 - 1}
    expected = module.codec.encode(batch["image"]).ids
    module.log = lambda *_, **__: None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(module.codec.encode(batch["image"]).ids, expected)
        assert torch.equal(module.predict_step(batch, 0).ids, expected)
        evaluated = module.validation_step(batch, 0)["ids"]
    assert torch.equal(evaluated, expected.flatten(0, 1))


def test_a_generative_decoder_brings_its_loss():
    """Without any other; with prefixes that differ from step to step."""
    decoder = FlowDecoder(
        4, Transformer(8, 1, 2, streams=2), 6, patch=2, grid=4, channels=3, steps=2
    )
    encoder = LatentEncoder(4, Transformer(8, 1, 2), 6, patch=2, grid=4, causal=True)
    model = ImageCodec(
        encoder, FSQ(4, (5, 5, 5, 5)), decoder, image_size=8, prefixes="uniform", name="flow"
    )
    module = task(model, losses={}, weights={"flow": 3.0})
    before = state(module)
    metrics = fit(module, 3).callback_metrics
    assert moved(before, module, *FLOW) == set(FLOW)
    torch.testing.assert_close(metrics["train/loss"], 3 * metrics["train/flow"])


class Mean(LatentLoss):
    """How far the latents' mean is from what it learns."""

    def __init__(self):
        super().__init__()
        self.guess = torch.nn.Parameter(torch.tensor(5.0))

    def forward(self, latents, target):
        assert latents.shape == (2, 16, 4) and target.shape == (2, 3, 8, 8)
        return (latents.mean() - self.guess).square()


def test_losses_of_latents_learn_along_and_have_a_weight():
    images = torch.stack([Images()[0]["image"]] * 2)
    model = task(latent_losses={"mean": Mean()}, weights={"mean": 0.5, "commitment": 0.25})
    output = model.codec(images)
    found = model._generator_loss(output, images, model.weights, False)
    plain = task(model.codec, weights={"commitment": 0.25})
    other = plain._generator_loss(output, images, plain.weights, False)
    expected = (output.quantized.values.mean() - 5).square()
    torch.testing.assert_close(found.terms["mean"], expected)
    torch.testing.assert_close(found.total, other.total + 0.5 * expected)
    (optimizer,) = model.configure_optimizers()
    learned = [p for group in optimizer.param_groups for p in group["params"]]
    assert any(p is model.latent_losses["mean"].guess for p in learned)
    assert len(learned) == len(list(model.codec.parameters())) + 1
    none = model._generator_loss(output, images, model.weights | {"mean": 0.0}, False)
    assert "mean" not in none.terms
    torch.testing.assert_close(none.total, other.total)
