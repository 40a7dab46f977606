"""CausalTransformer: attention to a window of the past, for streams (Mimi; Défossez et al., 2024).

Pre-norm blocks without biases, rotary positions, and branches that begin almost at zero
(LayerScale; Touvron et al., 2021). A stream keeps the keys and values of the window in rings, in
which a new token takes the place of one that has left the window.
"""

from typing import cast

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.positions import rotation
from intaglio.codecs.layers.tracing import exporting
from intaglio.codecs.layers.transformer import Block, Transformer
from intaglio.codecs.streaming.state import State, StreamingLayer
from intaglio.codecs.streaming.streams import Stream

SPARE = 7  # tokens, besides the one of a step, that a ring takes before the window is lost
LONG = 1024  # tokens; longer sequences go in pieces, for scores grow with the square


class CausalTransformer(StreamingLayer):
    """A token attends to itself and the ``window - 1`` tokens before it.

    Args:
        dim: size of a token.
        depth: number of blocks.
        heads: heads of the attention; divides ``dim``.
        window: tokens that are attended to.
        hidden: size of the two-layer networks; 4 * dim if None.
        layer_scale: scale of what a block adds, at first, for each channel; None for none.

    Raises:
        ValueError: the heads do not divide ``dim``, or a window below 1.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        *,
        window: int,
        hidden: int | None = None,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        if window < 1:
            raise ValueError(f"a window has at least 1 token, not {window}")
        self.window = window
        self.transformer = Transformer(dim, depth, heads, hidden=hidden, bias=False)
        for module in self.transformer.blocks if layer_scale is not None else ():
            block = cast(Block, module)
            assert layer_scale is not None
            out: nn.Module = block.attention.out
            block.attention.out = nn.Sequential(out, LayerScale(dim, layer_scale))  # type: ignore[assignment]
            block.network = nn.Sequential(block.network, LayerScale(dim, layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, dim] → the same shape."""
        if x.shape[1] > LONG and not torch.is_grad_enabled() and not exporting():
            state, pieces = self.start(len(x)), []
            for piece in x.split(LONG, dim=1):
                y, state = self.step(piece, state)
                pieces.append(y)
            return torch.cat(pieces, dim=1)
        positions = torch.arange(x.shape[1], device=x.device)
        mask = self._seen(positions, positions)
        return self.transformer(x, mask, rotation=self._rotation(positions))

    def start(self, batch: int) -> State:
        """Empty rings, [batch, heads, window + SPARE, size of a head], and no tokens so far."""
        transformer = self.transformer
        weight = next(transformer.parameters())
        size = batch, transformer.kv_heads, self.window + SPARE, transformer.head_size
        rings = {
            f"{kind}_{number}": weight.new_zeros(size)
            for number in range(transformer.depth)
            for kind in ("keys", "values")
        }
        return {"tokens": torch.zeros(batch, dtype=torch.int64, device=weight.device)} | rings

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next tokens, [batch, tokens, dim]; writes into the rings, except in graphs."""
        before, count = state["tokens"], x.shape[1]
        positions = before.unsqueeze(1) + torch.arange(count, device=x.device)
        caches = [
            RingCache(state[f"keys_{number}"], state[f"values_{number}"], positions)
            for number in range(self.transformer.depth)
        ]
        mask = self._seen(positions, caches[0].positions(self.window)).unsqueeze(1)
        y = self.transformer(
            x, mask, rotation=self._rotation(positions).unsqueeze(1), layer_caches=caches
        )
        new = {"tokens": before + count}
        for number, cache in enumerate(caches):
            new[f"keys_{number}"], new[f"values_{number}"] = cache.keys, cache.values
        return y, new

    def stream(self) -> Stream:
        """The layer, block by block, of [batch, dim, tokens]."""
        return _WindowStream(self)

    def _seen(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Which keys a query attends to, bool [..., queries, keys], by their positions."""
        distance = queries.unsqueeze(-1) - keys.unsqueeze(-2)
        return (distance >= 0) & (distance < self.window) & (keys >= 0).unsqueeze(-2)

    def _rotation(self, positions: Tensor) -> Tensor:
        """Rotary table of positions [...], [..., head_size / 2, 2]."""
        table = rotation(positions.reshape(-1, 1), self.transformer.head_size)
        return table.view(*positions.shape, -1, 2)


class LayerScale(nn.Module):
    """A learned scale of each channel.

    Args:
        dim: channels.
        scale: at first.
    """

    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] → the same shape."""
        return x * self.scale


class RingCache:
    """Keys and values of the last tokens of each row, at the place of their position modulo size.

    Args:
        keys: [batch, heads, size, size of a head].
        values: the same.
        new: positions of the next tokens, int64 [batch, tokens].
    """

    def __init__(self, keys: Tensor, values: Tensor, new: Tensor) -> None:
        self.keys, self.values, self.new = keys, values, new
        self.fits = new.shape[1] <= SPARE + 1

    def positions(self, window: int) -> Tensor:
        """Positions of the keys that a call gives, int64 [batch, keys]; negative for none."""
        size = window + SPARE
        last = self.new[:, -1:] if self.fits else self.new[:, :1] - 1
        slots = torch.arange(size, device=last.device)
        held = last - (last - slots) % size
        return held if self.fits else torch.cat([held, self.new], dim=1)

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write those of the next tokens; gives all that they may attend to."""
        given = None
        if not self.fits:
            given = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)
        self.keys, self.values = self._written(self.keys, k), self._written(self.values, v)
        return given or (self.keys, self.values)

    def _written(self, ring: Tensor, new: Tensor) -> Tensor:
        size = ring.shape[2]
        new = new[:, :, -size:]
        slots = (self.new[:, -size:] % size).view(len(ring), 1, -1, 1).expand_as(new)
        if exporting():
            return ring.scatter(2, slots, new)
        return ring.scatter_(2, slots, new)


class _WindowStream(Stream):
    """Keeps the state."""

    def __init__(self, layer: CausalTransformer) -> None:
        self.layer = layer
        self.state: State | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        if x.shape[-1] == 0:
            return x
        state = self.layer.start(len(x)) if self.state is None else self.state
        y, self.state = self.layer.step(x.transpose(1, 2), state)
        return y.transpose(1, 2)
