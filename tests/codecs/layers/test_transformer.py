"""The one transformer: by hand, as the identity at the start, and with streams of their own."""

import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.attention import causal_last
from intaglio.codecs.layers.positions import rotation
from intaglio.codecs.layers.transformer import Modulation, SwiGLU, Transformer, modulated
from intaglio.codecs.part import build, describe


def test_pre_norm_blocks_by_hand():
    trunk = Transformer(12, 2, 3)
    x = torch.randn(2, 5, 12)
    expected = x
    for block in trunk.blocks:
        expected = expected + block.attention(F.layer_norm(expected, (12,)))
        up, down = block.network[0], block.network[2]
        hidden = F.gelu(up(F.layer_norm(expected, (12,))))
        assert hidden.shape[-1] == 48
        expected = expected + down(hidden)
    torch.testing.assert_close(trunk(x), expected)


def test_a_gated_network_by_hand():
    network = SwiGLU(6, 8, bias=False)
    x = torch.randn(3, 6)
    gate, up, down = (layer.weight for layer in (network.gate, network.up, network.down))
    inner = x @ gate.T
    expected = (inner * inner.sigmoid() * (x @ up.T)) @ down.T
    torch.testing.assert_close(network(x), expected)


def test_flextoks_blocks_have_no_biases_and_no_affine_norms():
    trunk = Transformer(12, 1, 3, gated=True, bias=False, affine=False, qk_norm=True)
    shapes = {name: tuple(p.shape) for name, p in trunk.named_parameters()}
    assert shapes == {
        "blocks.0.attention.qkv.weight": (36, 12),
        "blocks.0.attention.out.weight": (12, 12),
        "blocks.0.network.gate.weight": (32, 12),  # 2 / 3 of 4 * 12
        "blocks.0.network.up.weight": (32, 12),
        "blocks.0.network.down.weight": (12, 32),
    }


def test_llamas_blocks_by_hand():
    """Scale by the root of the mean square, no constants, rotations in every block."""
    trunk = Transformer(8, 2, 2, gated=True, hidden=24, bias=False, norm="rms", eps=1e-3)
    for norm in (module for module in trunk.modules() if isinstance(module, torch.nn.RMSNorm)):
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
    shapes = {name: tuple(p.shape) for name, p in trunk.blocks[0].named_parameters()}
    assert shapes["norm1.weight"] == (8,) and not any("bias" in name for name in shapes)
    x, table = torch.randn(2, 5, 8), rotation(torch.arange(5)[:, None], 4)

    def scaled(x, norm):
        return x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight

    expected = x
    for block in trunk.blocks:
        inner = block.attention(scaled(expected, block.norm1), causal=True, rotation=table)
        expected = expected + inner
        expected = expected + block.network(scaled(expected, block.norm2))
    torch.testing.assert_close(trunk(x, causal=True, rotation=table), expected)


def test_dropout_is_of_what_is_added_and_of_training_only():
    trunk, x = Transformer(8, 1, 2, dropout=1.0), torch.randn(2, 3, 8)
    assert torch.equal(trunk(x), x)
    assert not torch.allclose(trunk.eval()(x), x)


def test_the_mask_reaches_every_block():
    trunk = Transformer(8, 3, 2)
    x = torch.randn(1, 6, 8)
    mask = causal_last(3, 3)
    before = trunk(x, mask)
    x[:, 4] += torch.randn(8)
    moved = (trunk(x, mask) != before).any(-1)[0]
    assert moved.tolist() == [False] * 4 + [True, True]


def stirred(streams):
    """A conditioned trunk whose modulation is not zero any more."""
    trunk = Transformer(8, 2, 2, streams=streams)
    for block in trunk.blocks:
        torch.nn.init.normal_(block.modulation.linear.weight, std=0.3)
        torch.nn.init.normal_(block.modulation.linear.bias, std=0.3)
    return trunk


def test_it_starts_as_the_identity():
    trunk = Transformer(8, 3, 2, streams=2)
    x = torch.randn(2, 5, 8, requires_grad=True)
    y = trunk(x, condition=torch.randn(2, 8), sizes=(3, 2))
    assert torch.equal(y, x)
    y.square().sum().backward()
    gradient = trunk.blocks[0].modulation.linear.weight.grad.view(2, 6, 8, 8)
    assert all(gradient[:, :2].abs().amax((2, 3)).flatten() > 0), "the gates begin to learn"


def test_the_order_of_a_modulation():
    """Gates of attention and network, then shift and scale of each (FlexTok's chunks)."""
    trunk = stirred(1)
    x, condition = torch.randn(2, 5, 8), torch.randn(2, 8)
    expected = x
    for block in trunk.blocks:
        values = block.modulation.linear(F.silu(condition)).unsqueeze(1).split(8, dim=-1)
        gate1, gate2, shift1, scale1, shift2, scale2 = values
        inner = F.layer_norm(expected, (8,)) * (1 + scale1) + shift1
        expected = expected + gate1 * block.attention(inner)
        inner = F.layer_norm(expected, (8,)) * (1 + scale2) + shift2
        expected = expected + gate2 * block.network(inner)
    torch.testing.assert_close(trunk(x, condition=condition, sizes=(5,)), expected)


def test_streams_have_modulations_of_their_own():
    modulation = Modulation(4, 3, 2)
    torch.nn.init.normal_(modulation.linear.weight)
    condition = torch.randn(2, 4)
    values = modulation.linear(F.silu(condition)).view(2, 2, 3, 4)
    for number, value in enumerate(modulation(condition, (3, 2))):
        assert value.shape == (2, 5, 4)
        for item in range(2):
            assert torch.equal(value[item, :3], values[item, 0, number].expand(3, -1))
            assert torch.equal(value[item, 3:], values[item, 1, number].expand(2, -1))


def test_a_second_streams_weights_do_not_touch_the_first_without_attention():
    trunk = stirred(2)
    for block in trunk.blocks:  # without attention nothing flows between tokens
        torch.nn.init.zeros_(block.attention.out.weight)
        torch.nn.init.zeros_(block.attention.out.bias)
    x, condition = torch.randn(1, 5, 8), torch.randn(1, 8)
    before = trunk(x, condition=condition, sizes=(3, 2))
    with torch.no_grad():
        for block in trunk.blocks:
            block.modulation.linear.bias.view(2, 6, 8)[1] += 1
    moved = (trunk(x, condition=condition, sizes=(3, 2)) != before).any(-1)[0]
    assert moved.tolist() == [False] * 3 + [True] * 2


def test_modulation_of_nothing():
    x, scale, shift = torch.randn(3, 2, 4).unbind()
    torch.testing.assert_close(modulated(x, scale, shift), x + x * scale + shift)


def test_the_recipe_builds_an_equal_trunk():
    trunk = Transformer(8, 2, 2, gated=True, bias=False, affine=False, qk_norm=True, streams=2)
    again = build(describe(trunk))
    again.load_state_dict(trunk.state_dict())
    x = torch.randn(1, 3, 8)
    assert torch.equal(again(x), trunk(x))


def test_heads_must_divide():
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        Transformer(8, 1, 3)


def test_parts_with_conditions_of_their_own():
    """A sequence of two parts is one stream with two conditions; one condition for all is usual."""
    trunk = stirred(1)
    x, conditions = torch.randn(2, 5, 8), torch.randn(2, 2, 8)
    modulation = trunk.blocks[0].modulation
    found = modulation(conditions, (2, 3))
    even = modulation(conditions, (2, 2))
    assert torch.equal(even[0][:, 2:], found[0][:, 2:4]) and even[0].shape == (2, 4, 8)
    for part, tokens in enumerate((slice(0, 2), slice(2, 5))):
        alone = modulation(conditions[:, part], (tokens.stop - tokens.start,))
        for value, expected in zip(found, alone, strict=True):
            assert value.shape == (2, 5, 8)
            torch.testing.assert_close(value[:, tokens], expected)
    same = conditions[:, :1].expand(-1, 2, -1)
    torch.testing.assert_close(
        trunk(x, condition=same, sizes=(2, 3)), trunk(x, condition=same[:, 0], sizes=(5,))
    )


def test_activations_by_name():
    x = torch.randn(4, 8)
    for name, function in (
        ("gelu", F.gelu),
        ("silu", F.silu),
        ("tanh", lambda value: F.gelu(value, approximate="tanh")),
    ):
        gated = Transformer(8, 1, 2, gated=True, activation=name).blocks[0].network
        torch.testing.assert_close(gated(x), gated.down(function(gated.gate(x)) * gated.up(x)))
        plain = Transformer(8, 1, 2, activation=name).blocks[0].network
        torch.testing.assert_close(plain(x), plain[2](function(plain[0](x))))


def test_blocks_are_left_out_for_whole_items():
    """The more the later; what stays is enlarged, so that the mean stays."""
    trunk = Transformer(8, 3, 2, drop_path=0.5).train()
    assert [block.drop.items for block in trunk.blocks] == [0, 0.25, 0.5]
    drop = trunk.blocks[2].drop
    torch.manual_seed(0)
    found = drop(torch.ones(4000, 2, 3)).flatten(1)
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert (found == found[:, :1]).all()
    assert abs(float(found.mean()) - 1) < 0.1
    x = torch.randn(2, 3, 8)
    assert torch.equal(drop.eval()(x), x)
