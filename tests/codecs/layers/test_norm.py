import torch
from torch import nn

from intaglio.codecs.layers.norm import AdaLayerNorm, GroupNorm1d


def test_group_norm_counts_only_an_items_own_steps():
    norm = GroupNorm1d(4, 8, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 8, 10)
    lengths = torch.tensor([10, 7, 1])
    batch = norm(x, torch.arange(10) < lengths.unsqueeze(1))
    for item, length in enumerate(lengths.tolist()):
        single = norm(x[item : item + 1, :, :length])[0]
        torch.testing.assert_close(batch[item, :, :length], single)


def test_one_condition_is_a_plain_layer_norm_and_conditions_differ():
    norm = AdaLayerNorm(6, conditions=2)
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(norm(x), nn.LayerNorm(6, eps=1e-6)(x))
    with torch.no_grad():
        norm.scale[1] = 2
        norm.shift[1] = 3
    torch.testing.assert_close(norm(x, 1), 2 * norm(x, 0) + 3)
