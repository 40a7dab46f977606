"""The pass of a few tokens behind those that are in a cache, in few operations.

What such a pass takes on a CPU is the number of its operations. Here tokens are the rows of one
matrix, what is added to them goes into the products, and modules are not called.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.attention import Attention, L2QKNorm, LayerCache
from intaglio.codecs.layers.transformer import MLP, Block, ResidualDropout, SwiGLU, Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.inference.kv_cache import KVCache

COPIED = 64 << 20  # bytes of weights up to which windows take a copy of them
KNOWN = {Block, Attention, L2QKNorm, MLP, SwiGLU, ResidualDropout}
KNOWN |= {nn.Linear, nn.RMSNorm, nn.LayerNorm, nn.GELU, nn.SiLU}

Linear = tuple[Tensor, Tensor | None]  # [inputs, outputs], and the bias


class _Layer(NamedTuple):
    attention: Attention
    qkv: Linear
    out: Linear
    network: list[Linear]
    activation: nn.Module
    norms: list[Callable[[Tensor], Tensor]]
    cache: LayerCache


class FlatPass:
    """Passes of a backbone over a few tokens each, without gradients.

    Where blocks have parts that are not known here, such as streams, hooks or layers of another
    class, and on other devices than a CPU, the backbone makes them as always.

    Args:
        backbone: in evaluation mode; its weights stay as they are.
        cache: of its transformer.
        windows: whether passes are over several tokens: products of such matrices are faster with
            weights whose inputs come first, of which a copy is made unless it is large.
    """

    def __init__(self, backbone: Backbone, cache: KVCache, *, windows: bool = False) -> None:
        self.backbone, self.cache = backbone, cache
        weights = list(backbone.transformer.parameters())
        self.copied = windows and sum(one.nbytes for one in weights) <= COPIED
        self.layers: list[_Layer] = []
        dtype = weights[0].dtype
        on_cpu = all(one.device.type == "cpu" and one.dtype == dtype for one in weights)
        exact = dtype.itemsize >= 4 and not torch.is_autocast_enabled("cpu")
        if on_cpu and exact and _is_known(backbone.transformer) and not backbone.training:
            pairs = zip(backbone.transformer.blocks, cache.layer_caches, strict=True)
            self.layers = [self._layer(block, layer_cache) for block, layer_cache in pairs]
        self.norm = _norm(backbone.norm, dtype)

    def __call__(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden vectors, [rows, count, dim].

        Args:
            x: what enters the transformer, [rows, count, dim].
            positions: where it stands, int64 [count], or [rows, count]; below 0 in the condition.
            mask: of the cache.
        """
        backbone = self.backbone
        if not self.layers:
            return backbone(x, positions, mask=mask, layer_caches=self.cache.layer_caches)
        rows, count, dim = x.shape
        rotation = None
        if backbone.rotary:
            table = backbone.rotation(positions).squeeze(1)  # [count, ...] or [rows, count, ...]
            rotation = torch.view_as_complex(table).unsqueeze(-2)
        if mask is not None:  # once for all blocks
            mask = torch.zeros(mask.shape, dtype=x.dtype).masked_fill_(~mask, -torch.inf)
        x = x.reshape(-1, dim)
        for layer in self.layers:
            every = _product(layer.norms[0](x), layer.qkv).view(
                rows, count, -1, layer.attention.size
            )
            x = _sum(x, _attended(layer, every, rotation, mask), layer.out)
            y, (first, *others, last) = layer.norms[1](x), layer.network
            inner = layer.activation(_product(y, first))
            for up in others:
                inner = inner.mul_(_product(y, up))
            x = _sum(x, inner, last)
        return self.norm(x).view(rows, count, dim)

    def _layer(self, block: nn.Module, layer_cache: LayerCache) -> _Layer:
        assert isinstance(block, Block)
        attention, network = block.attention, block.network
        linears: list[nn.Module]
        if isinstance(network, SwiGLU):
            linears, activation = [network.gate, network.up, network.down], network.activation
        else:
            assert isinstance(network, MLP)
            first, activation, last = network
            linears = [first, last]
        return _Layer(
            attention,
            self._linear(attention.qkv),
            self._linear(attention.out),
            [self._linear(one) for one in linears],
            activation,
            [_norm(one, attention.qkv.weight.dtype) for one in (block.norm1, block.norm2)],
            layer_cache,
        )

    def _linear(self, linear: nn.Module) -> Linear:
        assert isinstance(linear, nn.Linear)
        weight = linear.weight.t()
        return weight.contiguous() if self.copied else weight, linear.bias


def _is_known(transformer: Transformer) -> bool:
    """Whether all that its blocks consist of is known, and nobody listens."""
    parts = [part for block in transformer.blocks for part in block.modules()]
    return all(
        type(part) in KNOWN and not part._forward_hooks and not part._forward_pre_hooks
        for part in parts
    )


def _attended(layer: _Layer, every: Tensor, rotation: Tensor | None, mask: Tensor | None) -> Tensor:
    """What tokens attend to, [rows * count, dim].

    Args:
        layer: of which it is the attention.
        every: queries, keys and values, [rows, count, heads, size]; changed.
        rotation: complex [count, 1, size / 2], or [rows, count, 1, size / 2].
        mask: what is added to the scores.
    """
    own = layer.attention
    qk, v = every.split_with_sizes([own.heads + own.kv_heads, own.kv_heads], dim=2)
    if own.qk_norm:
        qk = own.normed(qk.transpose(1, 2)).transpose(1, 2)
    if rotation is not None:
        torch.view_as_complex(qk.view(*qk.shape[:-1], -1, 2)).mul_(rotation)
    q, k = qk.split_with_sizes([own.heads, own.kv_heads], dim=2)
    keys, values = layer.cache(k.transpose(1, 2), v.transpose(1, 2))
    gqa = own.heads != own.kv_heads
    y = F.scaled_dot_product_attention(q.transpose(1, 2), keys, values, mask, enable_gqa=gqa)
    return y.transpose(1, 2).reshape(every.shape[0] * every.shape[1], -1)


def _product(x: Tensor, linear: Linear) -> Tensor:
    weight, bias = linear
    return torch.mm(x, weight) if bias is None else torch.addmm(bias, x, weight)


def _sum(x: Tensor, y: Tensor, linear: Linear) -> Tensor:
    """x + the linear map of y."""
    weight, bias = linear
    return torch.addmm(x if bias is None else x + bias, y, weight)


def _norm(norm: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The normalisation of rows."""
    if type(norm) is not nn.RMSNorm or norm.eps is None:
        return norm
    weight, size = norm.weight, norm.normalized_shape[0]
    mean = torch.full((size, 1), 1 / size, dtype=dtype)
    least = torch.full((1,), norm.eps, dtype=dtype)

    def normed(x: Tensor) -> Tensor:  # torch's own takes twice as many operations on a CPU
        y = x * torch.addmm(least, x.square(), mean).rsqrt_()
        return y if weight is None else y.mul_(weight)

    return normed
