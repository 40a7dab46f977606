"""Tiny generators with random weights everywhere, so that nothing is hidden by a zero."""

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding, LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import Sampler


def tiny(
    order,
    shape=(2, 2),
    vocab=3,
    prefix=1,
    dtype=torch.float32,
    rotary="grid",
    learned_positions=False,
    **options,
):
    torch.manual_seed(0)
    transformer = Transformer(
        16, 2, 2, gated=True, bias=False, norm="rms", qk_norm="rms", kv_heads=1
    )
    backbone = Backbone(
        shape,
        IdEmbedding((vocab,), 16),
        ClassCondition(3, prefix=prefix),
        transformer,
        rotary=rotary,
        learned_positions=learned_positions,
    )
    ids = vocab + options.get("end_of_sequence", False)
    generator = Generator(backbone, CategoricalHead(16, (ids,)), order, **options)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return generator.to(dtype).eval()


@pytest.fixture
def raster():
    """Build a generator that draws row by row; in evaluation mode."""
    return lambda **options: tiny(RasterOrder(), **options)


@pytest.fixture
def masked():
    """Build a generator that draws masked tokens; ``order`` are arguments of the order."""
    return lambda order=None, **options: tiny(MaskedOrder(16, **order or {}), **options)


def stirred(generator):
    """The generator in evaluation mode and double precision, with nothing hidden by a zero."""
    torch.manual_seed(0)
    for parameter in generator.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return generator.double().eval()


@pytest.fixture
def keeps_its_word():
    """Check what every generator promises of its samples, with a sampler that suits it."""

    def check(generator, sampler=None, conditions=None):
        generator, sampler = stirred(generator), sampler or Sampler()
        if conditions is None:
            conditions = torch.tensor([0, 1, 2, -1])
        together = sampler.generate(generator, conditions, seed=5)
        assert together.shape == (len(conditions), generator.positions, generator.width)
        if generator.vocab:
            assert ((together >= 0) & (together < torch.tensor(generator.vocab))).all()
        assert len({tuple(item.flatten().tolist()) for item in together}) == len(together)
        for item in range(len(conditions)):
            alone = sampler.generate(generator, conditions[item : item + 1], seed=5 + item)
            torch.testing.assert_close(alone[0], together[item], atol=1e-6, rtol=0)
        assert not torch.equal(sampler.generate(generator, conditions, seed=6), together)
        mask = torch.zeros(together.shape[:2], dtype=torch.bool)
        mask[:, : generator.positions // 2] = True
        wanted = together.roll(1, 0)
        found = sampler.generate(generator, conditions, seed=7, given=PartialSequence(wanted, mask))
        assert torch.equal(found[mask], wanted[mask]) and not torch.equal(found, wanted)
        whole = PartialSequence(wanted, torch.ones_like(mask))
        assert torch.equal(sampler.generate(generator, conditions, given=whole), wanted)
        copy = build(describe(generator)).double().eval()
        copy.load_state_dict(generator.state_dict())
        assert torch.equal(sampler.generate(copy, conditions, seed=5), together)

    return check


@pytest.fixture
def remembers():
    """Check that cached steps find the hidden vectors of one pass over all tokens."""

    def check(generator):
        generator = stirred(generator)
        sizes = torch.tensor(generator.vocab)
        ids = torch.randint(0, 1 << 30, (2, generator.positions, generator.width)) % sizes
        conditions, none = torch.tensor([0, 2]), torch.tensor([-1, -1])
        tokens = generator.normalise(ids)
        partial = PartialSequence(
            torch.zeros_like(tokens), torch.zeros(ids.shape[:2], dtype=torch.bool)
        )
        request = Request(conditions, partial, torch.arange(2), guided=True)
        state = generator.start_decoding(request)
        with torch.no_grad():
            whole = [generator.predictions(ids, given).hidden for given in (conditions, none)]
            steps = 0
            for step in state.steps():
                here, found = step.positions[0], state.hidden(step)
                for hidden, wanted in zip(found, whole, strict=True):
                    wanted = wanted.unflatten(0, (2, -1))[:, here]
                    assert (hidden - wanted).abs().max() < 1e-9
                    assert wanted.std() > 0.1
                state.commit(step, tokens[:, here], 1.0)
                steps += 1
        assert steps > 2

    return check


@pytest.fixture
def learns():
    """Check that a few steps on items that their class decides lower a fresh generator's loss."""

    def check(generator, share=0.8, steps=30, rate=3e-3):
        torch.manual_seed(0)
        conditions = torch.arange(8) % 3
        if generator.vocab:
            vocab = torch.tensor(generator.vocab)
            tokens = torch.randint(0, 1 << 30, (3, generator.positions, generator.width)) % vocab
        else:
            tokens = torch.randn(3, generator.positions, generator.width)
        optimizer = torch.optim.AdamW(generator.train().parameters(), lr=rate)
        losses = []
        for _ in range(steps):
            loss = generator.loss(tokens[conditions], conditions).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-5:]) < share * sum(losses[:5])
        unused = [name for name, p in generator.named_parameters() if p.grad is None]
        assert not [name for name in unused if generator.get_parameter(name).requires_grad]
        return losses[0]

    return check


@pytest.fixture
def flowing():
    """Build a generator of vectors of some width."""

    def make(width=4, head=None, order=None, **options):
        torch.manual_seed(0)
        return Generator(
            Backbone((2, 2), LinearEmbedding(width, 16), ClassCondition(3), Transformer(16, 1, 2)),
            head or FlowHead(16, width, hidden_channels=16, depth=1),
            order or MaskedOrder(16, reveal="random"),
            **options,
        )

    return make


@pytest.fixture
def generator_with():
    """Build a generator of a given order; in evaluation mode, with random weights."""
    return tiny
