"""Multi-head self-attention with the options of the published token transformers."""

import math
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.positions import at_least_float32, rotated

QKNorm = bool | Literal["rms", "length"]
SHARPEST = math.log(100)  # largest logarithm of a learned scale of scores
FIRST = math.log(4)


class LayerCache(Protocol):
    """Cache of the keys and values of earlier tokens."""

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of new tokens, [batch, heads, tokens, size] each; returns those of all."""


class Attention(nn.Module):
    """Self-attention of a sequence.

    Args:
        dim: size of a token.
        heads: number of heads; divides ``dim``.
        kv_heads: heads of keys and values, each shared by as many heads (grouped-query attention;
            Ainslie et al., 2023); divides ``heads``; as many if None.
        bias: whether the linear layers have a bias.
        qk_norm: normalise queries and keys of each head, at least in float32: True without any,
            ``rms`` by the root of the mean square with a learned scale (Dehghani et al., 2023),
            ``length`` to length 1, with a learned scale of each head's scores (VAR).

    Raises:
        ValueError: the heads do not divide ``dim``, or one another.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        bias: bool = True,
        qk_norm: QKNorm = False,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.kv_heads = kv_heads or heads
        if heads % self.kv_heads:
            raise ValueError(f"{self.kv_heads} heads of keys do not divide {heads} heads")
        self.size = dim // heads
        self.qk_norm = bool(qk_norm)
        self.qkv = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.size, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        if qk_norm == "rms":
            self.q_norm, self.k_norm = (nn.RMSNorm(self.size, eps=1e-6) for _ in range(2))
        elif qk_norm == "length":
            self.q_norm, self.k_norm = L2QKNorm(self.size, heads), L2QKNorm(self.size)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        rotation: Tensor | None = None,
        layer_cache: LayerCache | None = None,
    ) -> Tensor:
        """[batch, tokens, dim] → the same shape.

        Args:
            x: tokens.
            mask: bool, [tokens, keys] or [batch, 1, tokens, keys]; True where the token of the
                row attends to that of the column. A row of False gives values that are not finite.
            causal: a token attends to itself and those before it; without a mask or a cache.
            rotation: of queries and keys, see `intaglio.codecs.layers.positions.rotated`.
            layer_cache: keys and values of earlier tokens, attended to in addition to the new ones.
        """
        every = self.qkv(x).unflatten(-1, (-1, self.size)).transpose(1, 2)
        qk, v = every.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.qk_norm:
            qk = self.normed(qk)
        if rotation is not None:
            qk = rotated(qk, rotation)
        q, k = qk.split([self.heads, self.kv_heads], dim=1)
        if layer_cache is not None:
            k, v = layer_cache(k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=self.kv_heads != self.heads
        )
        return self.out(y.transpose(1, 2).flatten(2))

    def normed(self, x: Tensor) -> Tensor:
        """Normalised queries and keys, [batch, heads, tokens, size]."""
        if self.q_norm is None or self.k_norm is None:
            return F.layer_norm(at_least_float32(x), x.shape[-1:]).to(x.dtype)
        q, k = at_least_float32(x).split([self.heads, self.kv_heads], dim=1)
        return torch.cat([self.q_norm(q), self.k_norm(k)], dim=1).to(x.dtype)


class L2QKNorm(nn.Module):
    """Vectors of length 1; of queries, times the scale of their scores (VAR; Tian et al., 2024).

    The scale is learned, 4 at first and 100 at most. Attention divides scores by the root of the
    number of channels, which is made up for here.

    Args:
        size: channels of a head.
        heads: that have a scale; 0 for none.
    """

    def __init__(self, size: int, heads: int = 0) -> None:
        super().__init__()
        self.root = math.sqrt(size)
        self.log_scale = nn.Parameter(torch.full((heads,), FIRST)) if heads else None

    def forward(self, x: Tensor) -> Tensor:
        """[batch, heads, tokens, size] → the same shape."""
        x = F.normalize(x, dim=-1)
        if self.log_scale is None:
            return x
        return x * (self.log_scale.clamp(max=SHARPEST).exp() * self.root).view(-1, 1, 1)


def causal_last(before: int, last: int) -> Tensor:
    """Mask of two concatenated streams, bool [tokens, tokens] (FlexTok's encoder).

    The first stream attends to itself only; a token of the last one to the first stream, the
    tokens before it and itself.

    Args:
        before: tokens of the first stream.
        last: tokens of the last stream.
    """
    mask = torch.ones(before + last, before + last, dtype=torch.bool).tril()
    mask[:before, :before] = True
    return mask
