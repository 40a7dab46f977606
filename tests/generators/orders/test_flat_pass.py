"""Passes in few operations find what the backbone finds, whatever it consists of."""

import pytest
import torch
from torch import nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.inference.kv_cache import KVCache
from intaglio.generators.orders import flat_pass
from intaglio.generators.orders.flat_pass import FlatPass
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler

KINDS = {
    "llama": {"gated": True, "bias": False, "norm": "rms"},
    "gpt": {},
    "llama with biases": {"gated": True, "activation": "gelu", "norm": "rms"},
    "normed": {"gated": True, "norm": "rms", "qk_norm": "rms", "kv_heads": 2},
    "shared keys": {"qk_norm": "length", "kv_heads": 1, "activation": "tanh"},
    "without scales": {"qk_norm": True, "affine": False, "norm": "rms"},
}


def made(kind="llama", rotary="grid", dtype=torch.float64, **options):
    torch.manual_seed(0)
    transformer = Transformer(32, 2, 4, **KINDS[kind], **options)
    condition = ClassCondition(3, prefix=2)
    backbone = Backbone((3, 4), IdEmbedding((5,), 32), condition, transformer, rotary=rotary)
    for parameter in backbone.parameters():
        nn.init.normal_(parameter, std=0.5)
    return backbone.to(dtype).eval()


def passes(backbone, flat, windows=False, own=False):
    """Hidden vectors of passes, by `FlatPass` or by the backbone; rows may go ways of their own."""
    random = torch.Generator().manual_seed(1)
    cache = KVCache(backbone.transformer, 3, 16)
    run = FlatPass(backbone, cache, windows=windows)
    if not flat:
        run.layers = []
    for start, count in ((0, 4), (4, 1), (5, 3), (6, 4)):  # the last one takes two tokens back
        x = torch.randn(3, count, 32, generator=random, dtype=torch.float64)
        slots = torch.arange(start, start + count)
        if own and start:
            slots = slots + torch.tensor([[0], [1], [2]])
            mask = cache.attention_mask_at(slots)
        else:
            cache.length = start
            mask = cache.attention_mask(count)
        yield run(x, slots - 2, mask)


@torch.no_grad()
@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_the_backbone_finds(kind, own, windows):
    backbone = made(kind)
    pairs = zip(
        passes(backbone, True, windows=windows, own=own),
        passes(backbone, False, own=own),
        strict=True,
    )
    for found, wanted in pairs:
        assert (found - wanted).abs().max() < 1e-9
        assert wanted.std() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("rotary", [None, "line"])
def test_positions_may_rotate_in_any_way(rotary):
    backbone = made(rotary=rotary)
    for found, wanted in zip(passes(backbone, True), passes(backbone, False), strict=True):
        assert (found - wanted).abs().max() < 1e-9


def hooked(backbone):
    backbone.transformer.blocks[1].network.register_forward_hook(lambda module, x, y: 2 * y)


def listened_to(backbone):
    backbone.transformer.blocks[0].attention.register_forward_pre_hook(
        lambda module, x: (2 * x[0],)
    )


def replaced(backbone):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    backbone.transformer.blocks[0].attention.qkv.__class__ = Doubled


def halved(backbone):
    backbone.transformer.bfloat16()


@pytest.mark.parametrize("change", [hooked, listened_to, replaced, halved, nn.Module.train])
def test_what_is_not_known_is_left_to_the_backbone(change):
    backbone = made()
    change(backbone)
    assert not FlatPass(backbone, KVCache(backbone.transformer, 3, 16)).layers


def test_blocks_with_streams_are_left_to_the_backbone():
    backbone = made(streams=1)
    assert not FlatPass(backbone, KVCache(backbone.transformer, 3, 16)).layers


def test_passes_under_autocast_are_left_to_the_backbone():
    backbone = made(dtype=torch.float32)
    with torch.autocast("cpu"):
        assert not FlatPass(backbone, KVCache(backbone.transformer, 3, 16)).layers


@torch.no_grad()
def test_weights_may_change_between_batches(raster):
    generator, seeds = raster(), torch.zeros(2, dtype=torch.int64)
    for sampler in (Sampler(), SpeculativeSampler(window=3)):
        before = sampler.generate(generator, seeds)
        for parameter in generator.backbone.transformer.parameters():
            parameter.data.mul_(-1)
        after = sampler.generate(generator, seeds)
        assert not torch.equal(before, after)
        for parameter in generator.backbone.transformer.parameters():
            parameter.data.mul_(-1)
        assert torch.equal(sampler.generate(generator, seeds), before)


def test_large_weights_are_not_copied(monkeypatch):
    backbone = made()
    weight = backbone.transformer.blocks[0].attention.out.weight
    for most, copied in ((1 << 20, True), (1000, False)):
        monkeypatch.setattr(flat_pass, "COPIED", most)
        run = FlatPass(backbone, KVCache(backbone.transformer, 1, 4), windows=True)
        assert (run.layers[0].out[0].data_ptr() != weight.data_ptr()) is copied
