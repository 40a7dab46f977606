"""MemoryTransformer: the blocks of S3's recogniser (CosyVoice 1 and 2; Du et al., 2024).

Those of Whisper (pre-norm, keys without a bias) and, in the second version, with rotary positions
and a memory: a convolution over the values of the attention, added to what it gives (SAN-M; Gao et
al., 2020).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import mask_time
from intaglio.codecs.layers.positions import rotated, rotation
from intaglio.codecs.layers.transformer import MLP, ResidualDropout


class MemoryAttention(nn.Module):
    """Self-attention, with a memory or without.

    Args:
        dim: size of a token.
        heads: number of heads; divides ``dim``.
        memory: taps of the convolution over the values, odd; 0 for none.

    Raises:
        ValueError: the heads do not divide ``dim``, or an even number of taps.
    """

    def __init__(self, dim: int, heads: int, memory: int = 0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        if memory and memory % 2 == 0:
            raise ValueError(f"a memory has an odd number of taps, not {memory}")
        self.heads = heads
        self.query, self.value, self.out = (nn.Linear(dim, dim) for _ in range(3))
        self.key = nn.Linear(dim, dim, bias=False)
        self.memory = None
        if memory:
            self.memory = nn.Conv1d(dim, dim, memory, padding=memory // 2, groups=dim, bias=False)

    def forward(
        self, x: Tensor, mask: Tensor | None, lengths: Tensor | None, turn: Tensor | None
    ) -> Tensor:
        """[batch, tokens, dim] → the same shape.

        Args:
            x: tokens.
            mask: bool [batch, 1, 1, tokens] of the keys; all if None.
            lengths: int64 [batch], tokens of each item.
            turn: rotary table of queries and keys; None for none.
        """
        v = self.value(x)
        q, k = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key)
        )
        if turn is not None:
            q, k = rotated(q, turn), rotated(k, turn)
        heads = v.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, heads, attn_mask=mask)
        y = self.out(y.transpose(1, 2).flatten(2))
        if self.memory is None:
            return y
        values = mask_time(v.transpose(1, 2), lengths)
        return y + (values + self.memory(values)).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, memory: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6 if memory else 1e-5)
        self.attention = MemoryAttention(dim, heads, memory)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim, 4 * dim, bias=True)
        self.drop = ResidualDropout(dropout, 0.0)

    def forward(
        self, x: Tensor, mask: Tensor | None, lengths: Tensor | None, turn: Tensor | None
    ) -> Tensor:
        x = x + self.drop(self.attention(self.attention_norm(x), mask, lengths, turn))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class MemoryTransformer(nn.Module):
    """Blocks of attention and a two-layer network over whole sequences.

    Args:
        dim: size of a token.
        depth: number of blocks.
        heads: heads of the attention; divides ``dim``.
        memory: see `MemoryAttention`.
        rotary: rotate queries and keys by their position.
        dropout: share of what attention and networks add that is dropped in training.

    Raises:
        ValueError: see `MemoryAttention`.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        memory: int = 31,
        rotary: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(dim, heads, memory, dropout) for _ in range(depth))
        self.size, self.rotary = dim // heads, rotary

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, tokens, dim] → the same shape; ``lengths`` int64 [batch], tokens of each item."""
        steps = torch.arange(x.shape[1], device=x.device)
        mask = None if lengths is None else (steps < lengths.view(-1, 1, 1, 1))
        turn = rotation(steps.unsqueeze(1), self.size) if self.rotary else None
        for block in self.blocks:
            x = block(x, mask, lengths, turn)
        return x
