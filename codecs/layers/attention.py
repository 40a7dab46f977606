"""Multi-head self-attention with the options of the published token transformers."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention of a sequence.

    Args:
        dim: size of a token.
        heads: number of heads; divides ``dim``.
        bias: whether the linear layers add constants.
        qk_norm: normalise queries and keys of each head, without parameters, in float32.

    Raises:
        ValueError: the heads do not divide ``dim``.
    """

    def __init__(self, dim: int, heads: int, *, bias: bool = True, qk_norm: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.heads = heads
        self.qk_norm = qk_norm
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, tokens, dim] → the same shape.

        Args:
            x: tokens.
            mask: bool, [tokens, tokens] or [batch, 1, tokens, tokens]; True where the token of the
                row sees that of the column. A row that sees nothing gives no finite values.
        """
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        if self.qk_norm:
            q, k = (F.layer_norm(part.float(), part.shape[-1:]).to(v.dtype) for part in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(y, "b h n d -> b n (h d)"))


def causal_last(before: int, last: int) -> Tensor:
    """Mask of two streams behind one another, bool [tokens, tokens] (FlexTok's encoder).

    The first stream sees itself only; a token of the last one sees the first stream, the tokens
    before it and itself.

    Args:
        before: tokens of the first stream.
        last: tokens of the last stream.
    """
    mask = torch.ones(before + last, before + last, dtype=torch.bool).tril()
    mask[:before, :before] = True
    return mask
