import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.attention import Attention, causal_last
from intaglio.codecs.layers.positions import rotated, rotation


def by_hand(layer, x, mask=None):
    """Softmax of scaled products, one head and one item after the other."""
    dim = x.shape[-1]
    q, k, v = F.linear(x, layer.qkv.weight, layer.qkv.bias).split(dim, dim=-1)
    size = dim // layer.heads
    items = []
    for item in range(len(x)):
        heads = []
        for head in range(layer.heads):
            mine = slice(head * size, (head + 1) * size)
            a, b = q[item, :, mine], k[item, :, mine]
            if layer.qk_norm:
                a, b = F.layer_norm(a, (size,)), F.layer_norm(b, (size,))
            scores = a @ b.T / size**0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            heads.append(scores.softmax(-1) @ v[item, :, mine])
        items.append(torch.cat(heads, dim=-1))
    return F.linear(torch.stack(items), layer.out.weight, layer.out.bias)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_by_hand(qk_norm, masked):
    layer = Attention(12, 3, bias=not qk_norm, qk_norm=qk_norm)
    mask = causal_last(2, 3) if masked else None
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(layer(x, mask), by_hand(layer, x, mask), atol=1e-6, rtol=1e-5)


def test_no_biases_and_no_parameters_of_the_norm():
    names = [name for name, _ in Attention(8, 2, bias=False, qk_norm=True).named_parameters()]
    assert names == ["qkv.weight", "out.weight"]


def test_the_mask_of_two_streams():
    """True lets see: the first two tokens each other, the others those before and themselves."""
    assert causal_last(2, 3).int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert causal_last(2, 3).dtype == torch.bool


def test_what_is_masked_has_no_influence():
    layer = Attention(8, 2)
    x = torch.randn(1, 6, 8)
    before = layer(x, causal_last(3, 3))
    x[:, 4] += 1
    moved = (layer(x, causal_last(3, 3)) != before).any(-1)[0]
    assert moved.tolist() == [False] * 4 + [True, True]


def test_heads_must_divide():
    with pytest.raises(ValueError, match="3 heads do not divide 8 channels"):
        Attention(8, 3)
    with pytest.raises(ValueError, match="2 heads of keys do not divide 3 heads"):
        Attention(12, 3, kv_heads=2)


def test_heads_of_keys_are_shared_by_neighbours():
    """Equal to a layer in which the shared weights stand twice."""
    few, many = Attention(16, 4, kv_heads=2), Attention(16, 4)
    q, k, v = few.qkv.weight.split([16, 8, 8])
    twice = [part.view(2, 4, 16).repeat_interleave(2, 0).flatten(0, 1) for part in (k, v)]
    kb, vb = (
        part.view(2, 4).repeat_interleave(2, 0).flatten() for part in few.qkv.bias[16:].split(8)
    )
    with torch.no_grad():
        many.qkv.weight.copy_(torch.cat([q, *twice]))
        many.qkv.bias.copy_(torch.cat([few.qkv.bias[:16], kb, vb]))
    many.out.load_state_dict(few.out.state_dict())
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(few(x), many(x))


def test_learned_scales_of_queries_and_keys():
    layer = Attention(8, 2, qk_norm="rms", bias=False)
    with torch.no_grad():
        layer.q_norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    x = torch.randn(1, 3, 8)
    q, k, v = layer.qkv(x).view(3, 3, 2, 4).permute(1, 2, 0, 3)
    q, k = (part / part.square().mean(-1, keepdim=True).add(1e-6).sqrt() for part in (q, k))
    scores = (q * layer.q_norm.weight) @ k.transpose(1, 2) / 2
    expected = layer.out((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(x)[0], expected)


def test_causal_is_the_mask_of_the_tokens_before():
    layer, x = Attention(8, 2), torch.randn(2, 6, 8)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    torch.testing.assert_close(layer(x, causal=True), layer(x, mask))


def test_rotated_scores_depend_on_the_distance_only():
    layer, x = Attention(8, 2), torch.randn(1, 5, 8)
    positions = torch.arange(5)[:, None]
    near, far = (layer(x, rotation=rotation(positions + shift, 4)) for shift in (0, 9))
    torch.testing.assert_close(near, far, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(near, layer(x))
    assert not torch.allclose(near, layer(x, rotation=rotation(2 * positions, 4)))


def test_rotations_by_hand():
    """Neighbours are a pair; of a grid, the first half of the pairs rotates by rows."""
    table = rotation(torch.tensor([[3, 5], [-1, -1]]), 8)
    angles = torch.tensor([3.0, 3.0 / 100, 5.0, 5.0 / 100])
    torch.testing.assert_close(table[0], torch.stack([angles.cos(), angles.sin()], -1))
    torch.testing.assert_close(table[1], torch.tensor([[1.0, 0.0]] * 4))
    x = torch.randn(1, 1, 2, 8)
    pairs = torch.view_as_complex(x[0, 0, 0].view(4, 2)) * torch.polar(torch.ones(4), angles)
    found = rotated(x, table)
    torch.testing.assert_close(found[0, 0, 0], torch.view_as_real(pairs).flatten())
    assert torch.equal(found[0, 0, 1], x[0, 0, 1])
    with pytest.raises(ValueError, match="2 axes of rotation do not divide 6 channels"):
        rotation(torch.zeros(1, 2), 6)


def test_a_store_lends_keys_and_values_of_earlier_tokens():
    layer, x = Attention(8, 2), torch.randn(1, 5, 8)
    kept = []

    def store(k, v):
        kept.append((k, v))
        return tuple(torch.cat(parts, 2) for parts in zip(*kept, strict=True))

    first = layer(x[:, :3], torch.ones(3, 3, dtype=torch.bool).tril(), layer_cache=store)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    rest = layer(x[:, 3:], mask[3:], layer_cache=store)
    torch.testing.assert_close(torch.cat([first, rest], 1), layer(x, causal=True))


def test_directions_with_a_learned_sharpness():
    """Cosines times a scale of each head, 4 at first and 100 at most; nothing else divides them."""
    layer = Attention(8, 2, qk_norm="length", bias=False)
    assert torch.allclose(layer.q_norm.log_scale.exp(), torch.tensor(4.0))
    with torch.no_grad():
        layer.q_norm.log_scale.copy_(torch.tensor([0.5, 9.0]))
    x = torch.randn(1, 3, 8)
    q, k, v = layer.qkv(x).view(3, 3, 2, 4).permute(1, 2, 0, 3)
    cosines = F.cosine_similarity(q[:, :, None], k[:, None], dim=-1)
    scores = cosines * torch.tensor([0.5, 0.0]).exp()[:, None, None]
    scores[1] = 100 * cosines[1]
    expected = layer.out((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(x)[0], expected, atol=1e-5, rtol=1e-4)


def test_compiled_rotations_are_the_same(monkeypatch):
    x, table = torch.randn(2, 3, 4, 8, dtype=torch.float64), rotation(torch.arange(4)[:, None], 8)
    eager = rotated(x, table)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(rotated(x, table), eager, rtol=0, atol=1e-12)
    assert rotated(x.bfloat16(), table).dtype == torch.bfloat16
