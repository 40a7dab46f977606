"""AudioCodec: a codec of waveforms, whole, in segments, or block by block."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from intaglio.codecs.codec import Codec, Reconstruction
from intaglio.codecs.decoders.base import AudioDecoder
from intaglio.codecs.encoders.base import AudioEncoder
from intaglio.codecs.inputs import check_finite, check_lengths, check_number, check_range
from intaglio.codecs.quantizers.base import Quantizer
from intaglio.codecs.streaming.live import LiveStream, live_stream
from intaglio.codecs.streaming.long_signals import decode_blocks, encode_blocks
from intaglio.codecs.streaming.segments import Segments, loudness
from intaglio.codecs.tokens import Tokens

RATES = (1_000, 192_000)  # a file may name any: others would ask for gigabytes to resample to
CHANNELS = (1, 64)


class AudioCodec(Codec):
    """Codec of waveforms.

    Args:
        encoder: waveform to latents.
        quantizer: latents to ids.
        decoder: latents to waveform.
        sample_rate: samples per second of the waveforms, 1,000 to 192,000.
        channels: channels of the waveforms, at most 64.
        name: name of the system.
        normalise: divide by the root mean square of the mean of the channels before encoding, and
            multiply by it after decoding; the tokens carry it.
        segment: samples of pieces that are coded apart, at most a minute; None codes signals whole.
        overlap: samples that neighbouring pieces share, at most half of them.

    Raises:
        ValueError: the parts disagree, or a number is out of its range.
    """

    signal = "wave"
    encoder: AudioEncoder
    decoder: AudioDecoder

    def __init__(
        self,
        encoder: AudioEncoder,
        quantizer: Quantizer,
        decoder: AudioDecoder,
        *,
        sample_rate: int,
        channels: int = 1,
        name: str = "audio codec",
        normalise: bool = False,
        segment: int | None = None,
        overlap: int = 0,
    ) -> None:
        super().__init__(encoder, quantizer, decoder, name)
        if encoder.multiple % quantizer.stride:
            raise ValueError(
                f"the quantizer needs latents in multiples of {quantizer.stride}, the encoder "
                f"gives multiples of {encoder.multiple}"
            )
        self.sample_rate = check_number("sample_rate", sample_rate, RATES)
        self.channels = check_number("channels", channels, CHANNELS)
        self.normalise = normalise
        self.segments = None
        if segment is not None:
            self.segments = Segments(segment, overlap).checked(self.hop_length, sample_rate)

    @property
    def hop_length(self) -> int:
        """Samples per position."""
        return self.encoder.hop_length * self.quantizer.stride

    @property
    def frame_rate(self) -> float:
        """Positions per second; overlapping segments need slightly more."""
        return self.sample_rate / self.hop_length

    @property
    def bits_per_second(self) -> float:
        """Bits per second of audio at full depth, without entropy coding."""
        return self.frame_rate * self.bits_per_position

    @property
    def depth(self) -> int:
        """Levels of the quantizer; any first ones make a code of lower bitrate."""
        return len(self.quantizer.level_groups)

    def levels_at(self, bits_per_second: float) -> int:
        """The most levels that stay within a bitrate, at least 1."""
        groups = list(itertools.accumulate(self.quantizer.level_groups))
        rates = [self.frame_rate * sum(map(math.log2, self.vocab[:count])) for count in groups]
        return max(1, sum(rate <= bits_per_second * (1 + 1e-9) for rate in rates))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Reconstruction:
        """Encode, quantize and decode for training; segments are not cut.

        Args:
            x: waveform, [batch, channels, samples], in [-1, 1].
            lengths: int64 [batch], samples of each item; all of them if None.
        """
        self._check_form(x)
        scale = None
        if self.normalise:
            scale = loudness(x, lengths).view(-1, 1, 1)
            x = x / scale
        mask = None if lengths is None else self._mask(lengths, x.shape[-1])
        mask = self._of_latents(mask)
        quantized = self.quantizer(self.encoder(x, lengths), mask)
        values = self.decoder(quantized.values, mask)[..., : x.shape[-1]]
        return Reconstruction(values if scale is None else values * scale, quantized)

    def encode(
        self, x: Tensor, lengths: Tensor | None = None, *, levels: int | None = None
    ) -> Tokens:
        """Tokens of a batch of waveforms; an item's tokens do not depend on its neighbours.

        Args:
            x: waveform, float [batch, channels, samples], in [-1, 1], at ``sample_rate``.
            lengths: int64 [batch], samples of each item; all of them if None.
            levels: how many levels to use, for a lower bitrate; all of them if None.

        Returns:
            Tokens with ceil(samples / hop_length) positions, and those of the overlaps.

        Raises:
            ValueError: a wrong shape or dtype, no samples, or lengths or levels that do not fit.
        """
        self.check(x, lengths)
        if levels is not None and not 1 <= levels <= self.depth:
            raise ValueError(f"{self.name} has {self.depth} levels, cannot use {levels}")
        with self.inference():
            if self.segments is None:
                ids, scale = self._encode(x, lengths, levels)
            else:
                code = functools.partial(self._encode, levels=levels)
                ids, scale = self.segments.encode(x, lengths, code)
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[-1], device=x.device)
        mask = self._mask(lengths, x.shape[-1])
        ids = ids[:, : mask.shape[1]]
        return self.tokens(ids * mask.unsqueeze(-1), mask)._replace(lengths=lengths, scale=scale)

    def encode_batch(self, batch: dict[str, Any]) -> Tokens:
        """Tokens of a training batch: of its ``wave``, which may have ``lengths``."""
        return self.encode(batch[self.signal], batch.get("lengths"))

    def decode(self, tokens: Tokens) -> Tensor:
        """Waveform of tokens, float [batch, channels, samples]; zero behind the end of an item.

        Raises:
            ValueError: the tokens are not of this codec's vocabulary or break their contract.
        """
        self.check_tokens(tokens)
        if not tokens.ids.numel():
            raise ValueError(f"there is nothing to decode in ids of shape {list(tokens.ids.shape)}")
        tokens = tokens._replace(ids=tokens.ids * tokens.mask.unsqueeze(-1))
        lengths = self._ends(tokens) if tokens.lengths is None else tokens.lengths
        with self.inference():
            if self.segments is None:
                y = self._decode(tokens.ids, tokens.mask, tokens.scale)
            else:
                y = self.segments.decode(tokens, self.hop_length, self._decode)
        y = y[..., : int(lengths.max())]
        inside = torch.arange(y.shape[-1], device=y.device) < lengths.unsqueeze(1)
        return y * inside.unsqueeze(1)

    def encode_blocks(
        self, blocks: Iterable[Tensor], *, levels: int | None = None
    ) -> Iterator[Tokens]:
        """Tokens of one batch of waveforms that comes in blocks: those of `encode`, in constant
        memory.

        Args:
            blocks: waveforms [batch, channels, any number of samples], joined in time.
            levels: as in `encode`.

        Yields:
            Tokens without lengths; as soon as they are known, joined in time. An encoder with
            group normalisation and without segments waits for the end.
        """
        return encode_blocks(self, blocks, levels)

    def decode_blocks(
        self, blocks: Iterable[Tokens], *, window: float | None = None
    ) -> Iterator[Tensor]:
        """Waveforms, [batch, channels, samples], of one batch of tokens that comes in blocks:
        `hop_length` samples a position, fewer where segments overlap. Equal to `decode` if the
        decoder can work block by block; else approximate, for signals longer than a ``window``
        in seconds (`long_signals.WINDOW`): windows that see what lies next to them.
        """
        return decode_blocks(self, blocks, window)

    def streaming(self, batch_size: int = 1) -> AbstractContextManager[LiveStream]:
        """Encode and decode signals while they come, chunk by chunk; see `LiveStream`."""
        return live_stream(self, batch_size)

    def frames(self, lengths: Tensor) -> Tensor:
        """Positions that items of ``lengths`` samples take."""
        if self.segments is None:
            return -(-lengths // self.hop_length)
        before = self.segments.pieces(lengths) - 1
        rest = lengths - before * self.segments.step
        return before * (self.segments.size // self.hop_length) + -(-rest // self.hop_length)

    def tokens(self, ids: Tensor, mask: Tensor | None = None) -> Tokens:
        """Tokens of ids [batch, positions, groups] of the first levels; all positions count if
        there is no mask."""
        if mask is None:
            mask = torch.ones(ids.shape[:2], dtype=torch.bool, device=ids.device)
        return Tokens(ids, mask, self.vocab[: ids.shape[-1]])

    def check_tokens(self, tokens: Tokens) -> None:
        """Raise ValueError if this codec cannot decode the tokens."""
        self._check_record(tokens)
        prefixes = [self.vocab[:n] for n in itertools.accumulate(self.quantizer.level_groups)]
        if tokens.vocab not in prefixes:
            raise ValueError(f"tokens of vocabulary {tokens.vocab}, the codec has {self.vocab}")
        if self.normalise and tokens.scale is None:
            raise ValueError(f"tokens of {self.name} need the scale that encoding took out")
        items, positions = tokens.mask.shape
        pieces = 1
        if self.segments is not None:
            pieces = int(self.segments.pieces_of(torch.tensor(positions), self.hop_length))
        if tokens.scale is not None and tokens.scale.shape != (items, pieces):
            raise ValueError(
                f"{positions} positions of {items} items need a scale of [{items}, {pieces}], got "
                f"{list(tokens.scale.shape)}"
            )
        if tokens.lengths is None:
            return
        check_lengths(tokens.lengths, items)
        ends = self._ends(tokens)
        if bool(((tokens.lengths < 0) | (tokens.lengths > ends)).any()):
            raise ValueError(
                f"lengths {tokens.lengths.tolist()} lie outside what the positions hold, "
                f"{ends.tolist()} samples"
            )

    def _ends(self, tokens: Tokens) -> Tensor:
        """Samples up to the end of the last position of each item."""
        positions = tokens.mask.sum(1)
        if self.segments is None:
            return positions * self.hop_length
        return self.segments.ends(positions, self.hop_length)

    def _encode(
        self, x: Tensor, lengths: Tensor | None, levels: int | None
    ) -> tuple[Tensor, Tensor | None]:
        scale = None
        if self.normalise:
            scale = loudness(x, lengths)
            x = x / scale.unsqueeze(-1)
        latents = self.encoder(x, lengths)
        if levels is None:
            return self.quantizer.encode_ids(latents), scale
        return self.quantizer.encode_levels(latents, levels), scale

    def _decode(self, ids: Tensor, mask: Tensor, scale: Tensor | None) -> Tensor:
        latents = self.quantizer.decode_ids(ids)
        y = self.decoder(latents, None if bool(mask.all()) else self._of_latents(mask))
        return y if scale is None else y * scale.unsqueeze(-1)

    def _mask(self, lengths: Tensor, samples: int) -> Tensor:
        positions = int(self.frames(torch.tensor(samples)))
        return torch.arange(positions, device=lengths.device) < self.frames(lengths).unsqueeze(1)

    def _of_latents(self, mask: Tensor | None) -> Tensor | None:
        """A mask of positions for the latents that share them."""
        if mask is None or self.quantizer.stride == 1:
            return mask
        return mask.repeat_interleave(self.quantizer.stride, dim=1)

    def _check_form(self, x: Tensor) -> None:
        expected = f"{self.name} takes floating-point waveforms [batch, {self.channels}, samples]"
        self._check_signals(x, expected, (None, self.channels, None))

    def check(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Raise ValueError if waveforms or their lengths are not what `encode` takes."""
        self._check_form(x)
        if x.shape[0] == 0 or x.shape[-1] == 0:
            raise ValueError(f"there is nothing to encode in a waveform of shape {list(x.shape)}")
        check_finite(x, f"{self.name} takes waveforms")
        if lengths is None:
            check_range(x, f"{self.name} takes waveforms")
            return
        check_lengths(lengths, x.shape[0])
        if int(lengths.min()) < 1 or int(lengths.max()) > x.shape[-1]:
            raise ValueError(
                f"lengths must lie in [1, {x.shape[-1]}], got {int(lengths.min())} to "
                f"{int(lengths.max())}"
            )
        check_range(x[0, :, : int(lengths[0])], f"{self.name} takes waveforms")
