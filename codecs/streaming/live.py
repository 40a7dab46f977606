"""Live streams: chunks of any size through a causal codec, with its state (`AudioCodec.streaming`).

Whole positions go through the codec as soon as they are there; samples that do not fill one wait in
the state. Rows of the batch are independent: each may be given another number of samples, end, and
begin again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs.inputs import check_lengths, check_number
from intaglio.codecs.streaming.direction import Direction, StreamChunk
from intaglio.codecs.streaming.long_signals import BlockwiseCodec
from intaglio.codecs.streaming.state import State
from intaglio.codecs.tokens import Tokens

MAX_ROWS = 65_536


class Latency(NamedTuple):
    """How late a stream is, in samples, whatever the computer.

    Attributes:
        frame: samples of a position, which is encoded when it is complete.
        look_ahead: samples of the output that are held back until later positions have added to
            them.
        first: samples that have to be there before the first ones come out.
    """

    frame: int
    look_ahead: int
    first: int


def check_causal(codec: BlockwiseCodec) -> None:
    """Raise ValueError, in one line, if a codec cannot be streamed."""
    parts = {"encoder": codec.encoder, "decoder": codec.decoder}
    waiting = [name for name, part in parts.items() if not part.causal]
    if waiting:
        needs = "need" if len(waiting) > 1 else "needs"
        reason = f"its {' and '.join(waiting)} {needs} what comes later"
    elif codec.segments is not None or codec.normalise:
        reason = "it codes whole segments by their loudness"
    else:
        return
    raise ValueError(
        f"{codec.name} cannot be streamed: {reason}; encode_blocks codes long signals block by "
        "block, with delay"
    )


def latency(codec: BlockwiseCodec) -> Latency:
    """Algorithmic latency of a codec.

    Raises:
        ValueError: it cannot be streamed.
    """
    check_causal(codec)
    hop, delay = codec.hop_length, codec.decoder.delay
    first = max(codec.encoder.first_latents, codec.decoder.first_latents, delay // hop + 1)
    return Latency(hop, delay, first * hop)


@contextmanager
def live_stream(codec: BlockwiseCodec, batch_size: int) -> Iterator["LiveStream"]:
    """A stream, and evaluation mode inside the block."""
    with codec.inference():
        yield LiveStream(codec, batch_size)


class LiveStream:
    """Both directions of a codec, for a batch of independent rows.

    Args:
        codec: a causal codec, in evaluation mode.
        batch_size: rows.

    Raises:
        ValueError: the codec cannot be streamed, or a number of rows below 1.
    """

    def __init__(self, codec: BlockwiseCodec, batch_size: int = 1) -> None:
        check_causal(codec)
        self.codec = codec
        self.batch_size = check_number("batch_size", batch_size, (1, MAX_ROWS))
        encoder, decoder = codec.encoder, codec.decoder
        self.directions = {
            "encoder": Direction(
                encoder,
                lambda x: encoder(x).transpose(1, 2),
                channels=(codec.channels, encoder.dim),
                frame=codec.hop_length,
                first=encoder.first_latents,
            ),
            "decoder": Direction(
                decoder,
                lambda x: decoder(x.transpose(1, 2)),
                channels=(decoder.dim, codec.channels),
                first=decoder.first_latents,
                delay=decoder.delay,
                rest=decoder.rest if decoder.delay else None,
            ),
        }
        self._states: dict[str, State] = {}
        self.reset()

    @torch.no_grad()
    def encode(
        self, x: Tensor, lengths: Tensor | None = None, *, levels: int | None = None
    ) -> Tokens:
        """Tokens that the next samples complete, maybe of no positions.

        Args:
            x: float [batch_size, channels, any number of samples], in [-1, 1].
            lengths: int64 [batch_size], samples of each row, also none; all of them if None.
            levels: as of `AudioCodec.encode`.

        Returns:
            Tokens whose mask says how many positions each row has.

        Raises:
            ValueError: what `AudioCodec.encode` refuses, or another number of rows.
        """
        if x.numel():
            self.codec.check(x)
        chunk = self._push("encoder", x, lengths)
        return self._tokens(chunk, levels)

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> StreamChunk:
        """Samples that the next tokens complete; rows may have other numbers of positions."""
        self.codec.check_tokens(tokens)
        latents = self.codec.quantizer.decode_ids(tokens.ids * tokens.mask.unsqueeze(-1))
        like = self.directions["decoder"].like
        return self._push("decoder", latents.transpose(1, 2).to(like.dtype), tokens.mask.sum(1))

    @torch.no_grad()
    def end_encoding(
        self, rows: Sequence[int] | None = None, *, levels: int | None = None
    ) -> Tokens:
        """Tokens of what still waits in rows that end; they begin again.

        With those that `encode` gave they are the tokens of the whole signal.

        Args:
            rows: which end; all if None.
            levels: as of `encode`.
        """
        return self._tokens(self._finish("encoder", rows), levels)

    @torch.no_grad()
    def end_decoding(self, rows: Sequence[int] | None = None) -> StreamChunk:
        """Samples that are still due in rows that end; they begin again."""
        return self._finish("decoder", rows)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Forget what was given to some rows, or to all: they begin again."""
        for name, direction in self.directions.items():
            start = direction.start(self.batch_size)
            if rows is not None:
                kept = torch.ones(self.batch_size, dtype=torch.bool)
                kept[self._rows(rows)] = False
                old = self._states[name]
                for key, value in start.items():
                    mask = kept.to(value.device).view(-1, *[1] * (value.dim() - 1))
                    start[key] = torch.where(mask, old[key], value)
            self._states[name] = start

    @property
    def state(self) -> State:
        """A copy of the whole state: tensors by name, each with the rows as its first axis."""
        return {
            f"{name}.{key}": value.clone()
            for name, state in self._states.items()
            for key, value in state.items()
        }

    @state.setter
    def state(self, state: State) -> None:
        """Go on from a state of a stream of the same codec and number of rows.

        Raises:
            ValueError: tensors are missing, left over, or of another shape or type.
        """
        own = self.state
        odd = sorted(own.keys() ^ state.keys())
        odd += [
            name
            for name in own.keys() & state.keys()
            if (own[name].shape, own[name].dtype) != (state[name].shape, state[name].dtype)
        ]
        if odd:
            raise ValueError(
                f"this is no state of {self.codec.name} with {self.batch_size} rows: {odd[0]} "
                "does not fit"
            )
        for name, old in self._states.items():
            self._states[name] = {
                key: state[f"{name}.{key}"].to(value.device, copy=True)
                for key, value in old.items()
            }

    def _push(self, name: str, x: Tensor, lengths: Tensor | None) -> StreamChunk:
        if x.dim() != 3 or len(x) != self.batch_size:
            raise ValueError(f"the stream has {self.batch_size} rows, got {list(x.shape)}")
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[-1])
        check_lengths(lengths, len(x))
        if bool(((lengths < 0) | (lengths > x.shape[-1])).any()):
            raise ValueError(f"lengths must lie in [0, {x.shape[-1]}], got {lengths.tolist()}")
        chunk, self._states[name] = self.directions[name].push(self._states[name], x, lengths)
        return chunk

    def _finish(self, name: str, rows: Sequence[int] | None) -> StreamChunk:
        found = list(range(self.batch_size)) if rows is None else self._rows(rows)
        chunk, self._states[name] = self.directions[name].finish(self._states[name], found)
        return chunk

    def _rows(self, rows: Sequence[int]) -> list[int]:
        if wrong := [row for row in rows if not 0 <= row < self.batch_size]:
            raise ValueError(f"the stream has rows 0 to {self.batch_size - 1}, not {wrong[0]}")
        return list(rows)

    def _tokens(self, chunk: StreamChunk, levels: int | None) -> Tokens:
        if levels is not None and not 1 <= levels <= self.codec.depth:
            raise ValueError(
                f"{self.codec.name} has {self.codec.depth} levels, cannot use {levels}"
            )
        depth = self.codec.depth if levels is None else levels
        groups = sum(self.codec.quantizer.level_groups[:depth])
        steps = chunk.values.shape[-1]
        mask = torch.arange(steps, device=chunk.lengths.device) < chunk.lengths.unsqueeze(1)
        if not steps:
            empty = mask.new_zeros(self.batch_size, 0, groups, dtype=torch.int64)
            return self.codec.tokens(empty, mask)
        ids = self.codec.quantizer.encode_levels(chunk.values.transpose(1, 2), depth)
        return self.codec.tokens(ids * mask.unsqueeze(-1), mask)
