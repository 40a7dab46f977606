"""Recordings to token files in batches of similar length; long ones alone, block by block."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.tokens import concatenated
from intaglio.data.clips import find
from intaglio.data.formats.open_audio import AUDIO_LIMITS
from intaglio.data.formats.tokens import write_tokens
from intaglio.data.formats.wave import SUFFIXES, read_wave, resample
from intaglio.data.manifest import Record
from intaglio.recipes.errors import is_out_of_memory
from intaglio.recipes.tokenization.audio_file import audio_header, num_scales
from intaglio.recipes.tokenization.batch import SourceFile, Tokenizer
from intaglio.recipes.tokenization.halving import Halving

WINDOW = 8  # batches that are looked through for recordings of similar length
LIMITS = AUDIO_LIMITS._replace(max_per_byte=64)  # Opus has 6 kbit/s at least
LONG_SECONDS = 300.0  # longer ones are encoded alone, in blocks, to bound the memory
BLOCK_SECONDS = 30.0  # of these
LEAST_SECONDS = 0.1  # of a block, however short memory is


class Wave(NamedTuple):
    """A decoded recording, [channels, samples], and its rate and length before resampling."""

    samples: Tensor
    source_rate: int
    source_length: int


class AudioTokenizer(Tokenizer[AudioCodec, Wave]):
    """Makes token files of recordings.

    Args:
        codec: the codec, on its device.
        batch_seconds: audio in a batch, at most, with the padding of shorter recordings; a longer
            recording is a batch of its own.
        entropy: entropy code the ids where that makes a file smaller.

    Raises:
        ValueError: a batch would hold no audio.
    """

    kind, noun = "audio", "recordings"
    suffixes = SUFFIXES

    def __init__(
        self, codec: AudioCodec, *, batch_seconds: float = 60.0, entropy: bool = False
    ) -> None:
        if not batch_seconds > 0:
            raise ValueError(f"a batch must hold some audio, got {batch_seconds} seconds")
        super().__init__(codec, entropy=entropy)
        self.batch_seconds = batch_seconds
        self._block = Halving(
            BLOCK_SECONDS, least=LEAST_SECONDS, unit="seconds of a long recording at once"
        )

    def find(self, source: str) -> tuple[Path, list[Record]]:
        """See `intaglio.data.clips.find`."""
        return find(source)

    def _full(self, items: Sequence[Wave]) -> bool:
        size = WINDOW * self.batch_seconds * self.codec.sample_rate
        return sum(map(_samples, items)) >= size

    def _decoded(self, source: SourceFile, path: Path) -> Wave:
        wave, rate = read_wave(path, channels=self.codec.channels, limits=LIMITS)
        return Wave(resample(wave, rate, self.codec.sample_rate), rate, wave.shape[-1])

    def _files(self, items: Sequence[Wave]) -> list[bytes]:
        try:
            batch = self._tokens(items)
        except Exception as error:
            if len(items) > 1 or not is_out_of_memory(error):
                raise
            batch = []
        if not batch:  # here, where the error no longer holds what had been made
            batch = [self._in_blocks(items[0])]
        return [self._file(tokens, wave) for tokens, wave in zip(batch, items, strict=True)]

    def _batches(self, items: Sequence[Wave]) -> list[list[int]]:
        """Indices of recordings of similar length, batch by batch."""
        batches: list[list[int]] = []
        for index in sorted(range(len(items)), key=lambda index: _samples(items[index])):
            seconds = _samples(items[index]) / self.codec.sample_rate
            fits = batches and (len(batches[-1]) + 1) * seconds <= self.batch_seconds
            if fits and seconds <= LONG_SECONDS:
                batches[-1].append(index)
            else:
                batches.append([index])
        return batches

    def _tokens(self, batch: Sequence[Wave]) -> list[Tokens]:
        """Tokens of each recording, as of a batch of one."""
        codec, device = self.codec, next(self.codec.parameters()).device
        longest = max(map(_samples, batch))
        if longest > LONG_SECONDS * codec.sample_rate:
            (wave,) = batch
            return [self._in_blocks(wave)]
        x = torch.zeros(len(batch), codec.channels, longest)
        for item, wave in enumerate(batch):
            x[item, :, : _samples(wave)] = wave.samples
        lengths = torch.tensor([_samples(wave) for wave in batch])
        tokens = codec.encode(x.to(device), lengths.to(device))
        return [
            _item(tokens, item, num_scales(codec, _samples(wave)))
            for item, wave in enumerate(batch)
        ]

    def _in_blocks(self, wave: Wave) -> Tokens:
        """Tokens of a recording, block by block."""
        device = next(self.codec.parameters()).device

        def encoded(seconds: float) -> Tokens:
            size = max(1, round(seconds * self.codec.sample_rate))
            blocks = (block.to(device) for block in wave.samples.unsqueeze(0).split(size, dim=-1))
            return concatenated(list(self.codec.encode_blocks(blocks)))

        return self._block.run(encoded)

    def _file(self, tokens: Tokens, wave: Wave) -> bytes:
        ids = tokens.ids[0].cpu()
        header = audio_header(
            self.codec, vocab=tokens.vocab, positions=len(ids), length=_samples(wave)
        )
        source = {"sample_rate": wave.source_rate, "length": wave.source_length}
        scale = () if tokens.scale is None else tuple(tokens.scale[0].float().tolist())
        header = header._replace(extras={"source": source}, coding=self._coding, scale=scale)
        file = io.BytesIO()
        write_tokens(file, header, ids)
        return file.getvalue()


def _samples(item: Wave) -> int:
    return item.samples.shape[-1]


def _item(tokens: Tokens, item: int, scales: int) -> Tokens:
    """One item of a batch, without its padding."""
    ids = tokens.ids[item][tokens.mask[item]].unsqueeze(0)
    scale = None if tokens.scale is None else tokens.scale[item : item + 1, :scales]
    return tokens._replace(ids=ids, scale=scale)
