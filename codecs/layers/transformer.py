"""The one transformer: pre-norm blocks, with the options of ViT, TiTok, FlexTok, DiT and Llama.

Adaptive layer norm starts at zero (adaLN-Zero; Peebles and Xie, 2023): every block begins as the
identity. Tokens of different streams of a sequence may have modulations of their own (FlexTok), and
parts of a sequence conditions of their own (xAR).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.attention import Attention, LayerCache, QKNorm
from intaglio.codecs.part import Part

Norm = Literal["layer", "rms"]
Activation = Literal["gelu", "tanh", "silu"]


class Transformer(Part):
    """Blocks of attention and a two-layer network, each after a normalisation, added to the input.

    Args:
        dim: size of a token.
        depth: number of blocks.
        heads: heads of the attention.
        hidden: size of the two-layer networks; 4 * dim, of gated ones 8 / 3 * dim, if None.
        gated: SwiGLU (Shazeer, 2020) instead of an MLP.
        activation: ``gelu``, ``tanh`` for its approximation by a hyperbolic tangent, or ``silu``;
            GELU, of gated networks SiLU, if None.
        bias: whether linear layers have a bias.
        affine: whether normalisations learn scale and shift.
        norm: ``layer``, or ``rms`` by the root of the mean square alone (Zhang and Sennrich, 2019).
        eps: of the normalisations.
        qk_norm: see `Attention`.
        kv_heads: see `Attention`.
        dropout: share of what attention and networks add that is dropped in training.
        drop_path: share of the items that the last block adds nothing to in training (Huang et al.,
            2016); of the first block 0, rising evenly.
        streams: how many streams of a sequence have scales, shifts and gates of their own, computed
            from a condition; 0 for none.

    Attributes:
        dim, depth, kv_heads: as given.
        head_size: channels of a head.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        hidden: int | None = None,
        gated: bool = False,
        bias: bool = True,
        affine: bool = True,
        norm: Norm = "layer",
        eps: float = 1e-5,
        qk_norm: QKNorm = False,
        kv_heads: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        streams: int = 0,
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.streams = streams
        self.depth = depth
        self.kv_heads = kv_heads or heads
        self.head_size = dim // heads
        self._norm = norm, affine, eps
        hidden = hidden or (2 * 4 * dim // 3 if gated else 4 * dim)
        self.blocks = nn.ModuleList(
            Block(
                Attention(dim, heads, kv_heads=kv_heads, bias=bias, qk_norm=qk_norm),
                SwiGLU(dim, hidden, bias, activation or "silu")
                if gated
                else MLP(dim, hidden, bias, activation or "gelu"),
                [self.norm_like() for _ in range(2)],
                drop=ResidualDropout(dropout, drop_path * number / max(1, depth - 1)),
                modulation=Modulation(dim, 6, streams) if streams else None,
            )
            for number in range(depth)
        )

    def norm_like(self) -> nn.Module:
        """One more normalisation of the same kind, such as one after the last block."""
        norm, affine, eps = self._norm
        return normalisation(norm, self.dim, affine=affine, eps=eps)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        condition: Tensor | None = None,
        sizes: Sequence[int] = (),
        causal: bool = False,
        rotation: Tensor | None = None,
        layer_caches: Sequence[LayerCache] | None = None,
    ) -> Tensor:
        """[batch, tokens, dim] → the same shape.

        Args:
            x: tokens.
            mask: see `Attention`.
            condition: [batch, dim], needed if there are streams; or, with a single stream,
                [batch, parts, dim] for parts of the sequence.
            sizes: tokens of each stream, or of each part; they fill the sequence.
            causal: see `Attention`.
            rotation: see `Attention`.
            layer_caches: of each block, see `Attention`.
        """
        for number, block in enumerate(self.blocks):
            layer_cache = None if layer_caches is None else layer_caches[number]
            x = block(
                x, mask, condition, sizes, causal=causal, rotation=rotation, layer_cache=layer_cache
            )
        return x


def normalisation(norm: Norm, dim: int, *, affine: bool, eps: float) -> nn.Module:
    """A normalisation of tokens by its name."""
    if norm == "rms":
        return nn.RMSNorm(dim, eps=eps, elementwise_affine=affine)
    return nn.LayerNorm(dim, eps=eps, elementwise_affine=affine)


def activated(activation: Activation) -> nn.Module:
    """An activation by its name."""
    if activation == "silu":
        return nn.SiLU()
    return nn.GELU(approximate="tanh" if activation == "tanh" else "none")


class MLP(nn.Sequential):
    """Linear → activation → linear."""

    def __init__(self, dim: int, hidden: int, bias: bool, activation: Activation = "gelu") -> None:
        super().__init__(
            nn.Linear(dim, hidden, bias=bias),
            activated(activation),
            nn.Linear(hidden, dim, bias=bias),
        )


class SwiGLU(nn.Module):
    """Gated MLP: activation of one linear map times another, then a third; SwiGLU with SiLU."""

    def __init__(self, dim: int, hidden: int, bias: bool, activation: Activation = "silu") -> None:
        super().__init__()
        self.activation = activated(activation)
        self.gate = nn.Linear(dim, hidden, bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] → the same shape."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class ResidualDropout(nn.Module):
    """Dropout of what a block adds, and drop path: of some items all of it, in training.

    Args:
        channels: probability that a channel of a token is dropped.
        items: probability that an item is.
    """

    def __init__(self, channels: float, items: float) -> None:
        super().__init__()
        self.channels, self.items = channels, items

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, dim] → the same shape, of the same mean."""
        x = F.dropout(x, self.channels, self.training)
        if not self.training or not self.items:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.items
        return x * (kept / (1 - self.items)).to(x.dtype)


class Modulation(nn.Module):
    """Scales, shifts and gates of the tokens of each stream, from a condition; zero at the start.

    Args:
        dim: size of a token and of the condition.
        count: values of a token's channel.
        streams: number of streams.
    """

    def __init__(self, dim: int, count: int, streams: int) -> None:
        super().__init__()
        self.count, self.streams = count, streams
        self.linear = nn.Linear(dim, streams * count * dim)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """``count`` tensors [batch, tokens, dim].

        Args:
            condition: [batch, dim]; or, with a single stream, [batch, parts, dim].
            sizes: tokens of each stream, or of each part.
        """
        values = self.linear(F.silu(condition))
        if condition.dim() == 3:
            if len(set(sizes)) == 1:
                values = values.repeat_interleave(sizes[0], dim=1)
            else:
                counts = torch.tensor(sizes, device=values.device)
                values = values.repeat_interleave(counts, dim=1, output_size=sum(sizes))
            return list(values.chunk(self.count, dim=-1))
        values = values.unflatten(1, (self.streams, self.count, -1))
        spread = [
            values[:, stream].unsqueeze(2).expand(-1, -1, size, -1)
            for stream, size in enumerate(sizes)
        ]
        return list((spread[0] if len(spread) == 1 else torch.cat(spread, dim=2)).unbind(1))


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalised tokens, scaled and shifted; unchanged at zero."""
    return x * (1 + scale) + shift


class Block(nn.Module):
    """Attention and a network, each normalised, modulated and gated; see `Transformer`."""

    def __init__(
        self,
        attention: Attention,
        network: nn.Module,
        norms: Sequence[nn.Module],
        *,
        drop: ResidualDropout,
        modulation: Modulation | None,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norms
        self.attention = attention
        self.network = network
        self.drop = drop
        self.modulation = modulation

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        condition: Tensor | None,
        sizes: Sequence[int],
        *,
        causal: bool,
        rotation: Tensor | None,
        layer_cache: LayerCache | None,
    ) -> Tensor:
        """[batch, tokens, dim] → the same shape; arguments as of `Transformer`."""

        def attention(x: Tensor) -> Tensor:
            return self.attention(
                x, mask, causal=causal, rotation=rotation, layer_cache=layer_cache
            )

        if self.modulation is None or condition is None:
            x = x + self.drop(attention(self.norm1(x)))
            return x + self.drop(self.network(self.norm2(x)))
        gate1, gate2, shift1, scale1, shift2, scale2 = self.modulation(condition, sizes)
        x = x + self.drop(gate1 * attention(modulated(self.norm1(x), scale1, shift1)))
        return x + self.drop(gate2 * self.network(modulated(self.norm2(x), scale2, shift2)))


class MLPBlock(nn.Module):
    """A network alone, normalised, modulated and gated, in the order shift, scale, gate (MAR).

    Args:
        network: [batch, tokens, dim] to the same shape.
        norm: of its input.
        modulation: of three values.
    """

    def __init__(self, network: nn.Module, norm: nn.Module, modulation: Modulation) -> None:
        super().__init__()
        self.norm, self.network, self.modulation = norm, network, modulation

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """[batch, tokens, dim] → the same shape; the condition is [batch, dim]."""
        shift, scale, gate = self.modulation(condition, (x.shape[1],))
        return x + gate * self.network(modulated(self.norm(x), scale, shift))
