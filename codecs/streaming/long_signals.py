"""Long signals block by block, in constant memory: what `AudioCodec.encode_blocks` does.

Codecs of convolutions and recurrent layers give what they give for the whole signal, up to the
rounding of sums. Codecs of segments do as well: segments are coded apart anyway. Only
decoders that attend to the whole signal (WavTokenizer's) are approximated on long signals.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.streaming.segments import Segments
from intaglio.codecs.streaming.streams import Blocks, Stream, chain, joined
from intaglio.codecs.tokens import Tokens, concatenated

WINDOW = 30.0  # seconds that a decoder without streams decodes at once
CONTEXT = 2.0  # seconds of context that it gets on each side of them
FADE = 0.02  # seconds of the cross-fade between two windows


class BlockwiseCodec(Protocol):
    """What is asked of a codec here; `AudioCodec` has it."""

    encoder: AudioEncoder
    quantizer: Quantizer
    decoder: AudioDecoder
    segments: Segments | None
    normalise: bool
    sample_rate: int
    channels: int
    name: str

    @property
    def hop_length(self) -> int:
        """Samples per position."""

    @property
    def frame_rate(self) -> float:
        """Positions per second."""

    @property
    def depth(self) -> int:
        """Levels of the quantizer."""

    def encode(self, x: Tensor, *, levels: int | None = None) -> Tokens:
        """Tokens of a batch of waveforms."""

    def decode(self, tokens: Tokens) -> Tensor:
        """Waveforms of tokens."""

    def tokens(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """Tokens of ids."""

    def check(self, x: Tensor) -> None:
        """Raise ValueError if waveforms are not what `encode` takes."""

    def check_tokens(self, tokens: Tokens) -> None:
        """Raise ValueError if the tokens cannot be decoded."""

    def inference(self) -> AbstractContextManager[None]:
        """No gradients, and evaluation mode inside the block."""


def encode_blocks(
    codec: BlockwiseCodec, blocks: Iterable[Tensor], levels: int | None
) -> Iterator[Tokens]:
    """See `AudioCodec.encode_blocks`."""
    stream = codec.encoder.stream()
    if codec.segments is not None:
        pieces = _segments(codec, blocks)
    elif stream is None or codec.normalise:
        pieces = _whole(blocks)
    else:
        yield from _encode_stream(codec, stream, blocks, levels)
        return
    for piece in pieces:
        yield codec.encode(piece, levels=levels)._replace(lengths=None)


def decode_blocks(
    codec: BlockwiseCodec, blocks: Iterable[Tokens], seconds: float | None = None
) -> Iterator[Tensor]:
    """See `AudioCodec.decode_blocks`."""
    stream = codec.decoder.stream()
    if codec.segments is not None:
        return _decode_segments(codec, blocks)
    if stream is None or codec.normalise:
        return _decode_windows(codec, blocks, WINDOW if seconds is None else seconds)
    return _decode_stream(codec, stream, blocks)


def _encode_stream(
    codec: BlockwiseCodec, stream: Stream, blocks: Iterable[Tensor], levels: int | None
) -> Iterator[Tokens]:
    quantizer = codec.quantizer
    depth = codec.depth if levels is None else levels
    stream = chain(stream, Blocks(lambda x: x, quantizer.stride))

    def push(x: Tensor, last: bool) -> Tokens:
        with codec.inference():
            latents = stream.push(x, last).transpose(1, 2)
            return codec.tokens(quantizer.encode_levels(latents, depth))

    x = None
    for x in blocks:
        codec.check(x)
        tokens = push(x, last=False)
        if tokens.ids.shape[1]:
            yield tokens
    if x is not None:
        yield push(x[..., :0], last=True)


def _segments(codec: BlockwiseCodec, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The segments that `Segments` cuts the whole signal into."""
    assert codec.segments is not None
    size, step = codec.segments.size, codec.segments.step
    kept = None
    for x in blocks:
        kept = joined(kept, x)
        while kept.shape[-1] > size:  # there is a next piece
            yield kept[..., :size]
            kept = kept[..., step:]
    if kept is not None:
        yield kept


def _whole(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    collected = list(blocks)
    if collected:
        yield torch.cat(collected, dim=-1)


def _decode_stream(
    codec: BlockwiseCodec, stream: Stream, blocks: Iterable[Tokens]
) -> Iterator[Tensor]:
    latents = None
    for tokens in blocks:
        codec.check_tokens(tokens)
        with codec.inference():
            latents = codec.quantizer.decode_ids(tokens.ids).transpose(1, 2)
            y = stream.push(latents)
        if y.shape[-1]:
            yield y
    if latents is not None:
        with codec.inference():
            y = stream.push(latents[..., :0], last=True)
        yield y


def _decode_segments(codec: BlockwiseCodec, blocks: Iterable[Tokens]) -> Iterator[Tensor]:
    """Decodes a segment as soon as there is more behind it; the overlap waits for the next one."""
    assert codec.segments is not None
    segments, each = codec.segments, codec.segments.size // codec.hop_length
    tail: Tensor | None = None
    weight: Tensor | None = None
    for tokens, last in _regrouped(blocks, each):
        y = codec.decode(tokens)
        weights = segments.weights(y.device)[: y.shape[-1]]
        y = y * weights
        if tail is not None and weight is not None:
            shared = min(tail.shape[-1], y.shape[-1])
            y[..., :shared] += tail[..., :shared]
            weights[:shared] += weight[:shared]
        stop = y.shape[-1] if last else segments.step
        yield y[..., :stop] / weights[:stop]
        tail, weight = y[..., stop:], weights[stop:]


def _regrouped(blocks: Iterable[Tokens], size: int) -> Iterator[tuple[Tokens, bool]]:
    """The same tokens in blocks of ``size`` positions with their own scale; is it the last?"""
    kept: Tokens | None = None
    for tokens in blocks:
        kept = tokens if kept is None else concatenated([kept, tokens])
        while kept.ids.shape[1] > size:
            yield _part(kept, 0, size, scales=slice(1)), False
            kept = _part(kept, size, None, scales=slice(1, None))
    if kept is not None:
        yield _part(kept, 0, size), True  # with all scales: too many of them are an error


def _decode_windows(
    codec: BlockwiseCodec, blocks: Iterable[Tokens], seconds: float
) -> Iterator[Tensor]:
    """Windows with context on both sides that are cross-faded."""
    hop, rate = codec.hop_length, codec.frame_rate
    window, context = max(1, round(seconds * rate)), round(CONTEXT * rate)
    fade = round(FADE * codec.sample_rate)
    kept: Tokens | None = None
    before = 0  # positions that are kept as context only
    tail: Tensor | None = None
    for tokens in blocks:
        kept = tokens if kept is None else concatenated([kept, tokens])
        while kept.ids.shape[1] >= before + window + context:
            y = codec.decode(_part(kept, 0, before + window + context))
            start, stop = before * hop, (before + window) * hop
            yield _faded(tail, y[..., start:stop])
            tail = y[..., stop : stop + fade]
            kept = _part(kept, before + window - context, None)
            before = context
    if kept is not None:
        yield _faded(tail, codec.decode(kept)[..., before * hop :])


def _faded(old: Tensor | None, new: Tensor) -> Tensor:
    """``new``, with a cross-fade from ``old`` at its beginning."""
    if old is None:
        return new
    size = min(old.shape[-1], new.shape[-1])
    share = torch.linspace(0, 1, size + 2, device=new.device)[1:-1]
    start = old[..., :size] * (1 - share) + new[..., :size] * share
    return torch.cat([start, new[..., size:]], dim=-1)


def _part(tokens: Tokens, start: int, stop: int | None, *, scales: slice = slice(None)) -> Tokens:
    """Some positions, and some of the scales, without the lengths of the whole."""
    scale = None if tokens.scale is None else tokens.scale[:, scales]
    ids, mask = tokens.ids[:, start:stop], tokens.mask[:, start:stop]
    return tokens._replace(ids=ids, mask=mask, lengths=None, scale=scale)
