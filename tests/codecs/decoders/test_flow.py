"""The rectified-flow decoder: its loss, its steps, its guidance, and its masks."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.decoders.flow import FlowDecoder
from intaglio.codecs.layers.flow import projected_guidance
from intaglio.codecs.layers.positions import sine_grid, sine_time
from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe

GRID = (3, 3)


def decoder(**changes):
    """A small one whose zeros have been stirred, as if it were trained."""
    trunk = Transformer(8, 2, 2, gated=True, bias=False, affine=False, qk_norm=True, streams=2)
    settings = {"patch": 2, "grid": 3, "channels": 4, "steps": 3, "guidance": 1.0}
    part = FlowDecoder(5, trunk, 6, **(settings | changes))
    for name, parameter in part.named_parameters():
        if "modulation" in name or name.startswith(("head", "last")):
            torch.nn.init.normal_(parameter, std=0.2)
    return part


def velocity_by_hand(part, x, time, given):
    """Patches row by row, sines added, latents behind; a modulated norm, a head, patches back."""
    patches = x.reshape(len(x), 4, 3, 2, 3, 2).permute(0, 2, 4, 3, 5, 1).reshape(len(x), 9, 16)
    tokens = torch.cat([part.embed_patches(patches) + sine_grid(3, 3, 8), given], dim=1)
    condition = part.time(sine_time(time, 256))
    out = part.trunk(tokens, condition=condition, sizes=(9, 6))[:, :9]
    scale, shift = part.last.linear(F.silu(condition)).unsqueeze(1).split(8, dim=-1)
    out = part.head(F.layer_norm(out, (8,)) * (1 + scale) + shift)
    return out.reshape(len(x), 3, 3, 2, 2, 4).permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


def given_by_hand(part, latents, mask=None):
    given = part.embed_latents(latents) + sine_grid(6, 1, 8)
    return given if mask is None else torch.where(mask.unsqueeze(-1), given, part.missing)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_decoding_by_hand(guidance):
    part = decoder(guidance=guidance)
    latents = torch.randn(2, 6, 5)
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    noise = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(5))
    x = noise.expand(2, -1, -1, -1)
    given = given_by_hand(part, latents, mask)
    for step in range(3):
        time = torch.full((2,), 1 - step / 3)
        velocity = velocity_by_hand(part, x, time, given)
        if guidance != 1:
            free = velocity_by_hand(part, x, time, part.nothing.expand(2, 6, -1))
            velocity = projected_guidance(velocity, free, scale=guidance)
        x = x - velocity / 3
    generator = torch.Generator().manual_seed(5)
    picture = part(latents, mask, grid=GRID, generator=generator)
    torch.testing.assert_close(picture, x, atol=1e-5, rtol=1e-4)


def test_learning_by_hand(monkeypatch):
    """The loss compares velocities; the values are where the velocity leads."""
    part = decoder(drop=0.0)
    time, noise = torch.tensor([0.2, 0.9]), torch.randn(2, 4, 6, 6)
    monkeypatch.setattr("intaglio.codecs.decoders.flow.logit_normal", lambda *_: time)
    monkeypatch.setattr("torch.randn_like", lambda _: noise)
    latents, target = torch.randn(2, 6, 5), torch.randn(2, 4, 6, 6)
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    decoding = part.learn(latents, target, mask, grid=GRID)
    share = time.view(-1, 1, 1, 1)
    x = share * noise + (1 - share) * target
    velocity = velocity_by_hand(part, x, time, given_by_hand(part, latents, mask))
    loss = (velocity - (noise - target)).square().mean()
    torch.testing.assert_close(decoding.losses, {"flow": loss})
    torch.testing.assert_close(decoding.values, x - share * velocity, atol=1e-5, rtol=1e-4)


def test_a_fresh_decoder_leaves_the_noise_and_its_loss_is_that_of_zero():
    trunk = Transformer(8, 1, 2, streams=2)
    part = FlowDecoder(5, trunk, 6, patch=2, grid=3, channels=4, steps=2)
    latents, target = torch.randn(64, 6, 5), torch.randn(64, 4, 6, 6)
    noise = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(part(latents[:1], grid=GRID), noise)
    loss = part.learn(latents, target, None, grid=GRID).losses["flow"]
    assert float(loss.detach()) == pytest.approx(2.0, rel=0.1)  # variances of noise and data


def test_masked_latents_count_for_nothing():
    part = decoder()
    latents = torch.randn(2, 6, 5)
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    picture = part(latents, mask, grid=GRID)
    changed = latents.masked_fill(~mask.unsqueeze(-1), float("nan"))
    assert torch.equal(part(changed, mask, grid=GRID), picture)
    latents[0, 1] += 3
    assert not torch.allclose(part(latents, mask, grid=GRID)[0], picture[0])
    assert part.takes_prefixes and part.last_weight is None


def test_masking_leaves_the_latents_alone():
    """They are needed for the backward pass and belong to the caller."""
    leaf = torch.randn(2, 6, 5, requires_grad=True)
    latents = 1 * leaf  # may be written to, as a leaf may not
    before = latents.detach().clone()
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    decoding = decoder(drop=0.0).learn(latents, torch.randn(2, 4, 6, 6), mask, grid=GRID)
    decoding.losses["flow"].backward()
    assert torch.equal(latents, before)
    assert torch.equal(leaf.grad.abs().sum(-1) > 0, mask)


def test_noise_is_the_same_for_every_item():
    part = decoder()
    latents = torch.randn(1, 6, 5).expand(3, -1, -1)
    picture = part(latents, grid=GRID)
    torch.testing.assert_close(picture[0], picture[2])
    torch.testing.assert_close(part(latents[:1], grid=GRID), picture[:1])
    other = part(latents, grid=GRID, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(other, picture, atol=1e-2)


@pytest.mark.parametrize("drop, share", [(0.0, 0.0), (0.2, 0.2), (1.0, 1.0)])
def test_some_items_learn_without_latents(drop, share):
    part = decoder(drop=drop)
    latents = torch.randn(400, 6, 5, requires_grad=True)
    decoding = part.learn(latents, torch.randn(400, 4, 6, 6), None, grid=GRID)
    decoding.losses["flow"].backward()
    dropped = (latents.grad == 0).flatten(1).all(1).float().mean()
    assert abs(dropped - share) < 0.06
    assert (part.nothing.grad is None or not part.nothing.grad.any()) == (drop == 0)


def test_all_parameters_learn():
    part = decoder(drop=0.5)
    mask = torch.arange(6) < torch.tensor([[2], [6]] * 16)
    decoding = part.learn(torch.randn(32, 6, 5), torch.randn(32, 4, 6, 6), mask, grid=GRID)
    decoding.losses["flow"].backward()
    silent = [n for n, p in part.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_recipe_builds_an_equal_decoder():
    part = decoder()
    again = build(describe(part))
    again.load_state_dict(part.state_dict())
    latents = torch.randn(1, 6, 5)
    assert torch.equal(again(latents, grid=GRID), part(latents, grid=GRID))


def test_a_trunk_of_one_stream_is_refused():
    with pytest.raises(ValueError, match="2 streams, not 0"):
        FlowDecoder(5, Transformer(8, 1, 2), 6)
