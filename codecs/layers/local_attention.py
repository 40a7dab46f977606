"""LocalAttention: self-attention inside windows that do not overlap (SNAC; Siuzdak, 2024)."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from intaglio.codecs.layers.conv1d import inside
from intaglio.codecs.layers.positions import rotated, rotation
from intaglio.codecs.streaming.streams import Blocks, Stream

HEAD = 64  # channels of a head


class LocalAttention(nn.Module):
    """Multi-head attention with rotary position embeddings (Su et al., 2021), added to its input.

    The last window holds what is left; the release asks for whole windows instead.

    Args:
        channels: channels in and out, a multiple of 64.
        window: steps of a window.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        if channels % HEAD:
            raise ValueError(f"local attention needs a multiple of {HEAD} channels, not {channels}")
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.project_in = nn.Linear(channels, 3 * channels, bias=False)
        self.project_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, channels, time] → the same shape; ``lengths`` int64 [batch]."""
        time = x.shape[-1]
        if lengths is None:
            lengths = torch.full((x.shape[0],), time, device=x.device)
        padded = F.pad(x, (0, -time % self.window))
        mask = rearrange(inside(padded, lengths), "b (w k) -> b w 1 1 k", k=self.window)
        # a step behind the end may attend to all keys: a mean over none would not be finite
        mask = mask | ~rearrange(mask, "b w 1 1 q -> b w 1 q 1")
        parts = self.project_in(self.norm(padded.transpose(1, 2)))
        q, k, v = rearrange(
            parts, "b (w n) (three h d) -> three b w h n d", n=self.window, three=3, d=HEAD
        )
        table = rotation(torch.arange(self.window, device=x.device).unsqueeze(1), HEAD)
        q, k = (rotated(_neighbours(part), table) for part in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = self.project_out(rearrange(y, "b w h n d -> b (w n) (h d)"))
        return x + y.transpose(1, 2)[..., :time]

    def stream(self) -> Stream:
        """The layer, window by window."""
        return Blocks(lambda x: self(x) if x.shape[-1] else x, self.window)


def _neighbours(x: Tensor) -> Tensor:
    """The channels (i, i + half), which the release rotates as a pair, next to each other.

    Scores do not depend on the order of the channels of queries and keys.
    """
    return rearrange(x, "... (pair d) -> ... (d pair)", pair=2)
