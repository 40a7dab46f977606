import pytest
import torch
from torch.nn import functional as F

from intaglio.codecs.layers.attention import Attention, causal_last


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
