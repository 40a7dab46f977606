"""Recordings to token files, many at a time: what `intaglio tokenize` and workers of Ray share.

Recordings are decoded in threads, a few ahead, and encoded in batches of similar length. Which of
them share a batch depends on their lengths alone, so the same recordings give the same bytes.
"""

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec, Tokens
from intaglio.data.formats.tokens import TokenHeader, write_tokens
from intaglio.data.formats.wave import read_wave, resample
from intaglio.recipes.errors import explain

THREADS = 8  # decoding waits for the disk more than for the processor
WINDOW = 8  # batches that are looked through for recordings of similar length
LONG_SECONDS = 300.0  # longer ones are encoded alone, in blocks, to bound the memory
BLOCK_SECONDS = 30.0


class Recording(NamedTuple):
    """What to tokenize.

    Attributes:
        name: for messages; of bytes, its suffix tells the format.
        content: an audio file, or the bytes of one.
        fault: why it cannot be read, if that is known already.
    """

    name: str
    content: Path | bytes
    fault: str = ""


class Outcome(NamedTuple):
    """What became of a recording: the bytes of a token file, or why there are none."""

    tokens: bytes
    reason: str


class Tokenizer:
    """Makes token files of recordings.

    Args:
        codec: the codec, on its device.
        batch_seconds: audio in a batch, at most, with what fills the shorter recordings; a longer
            recording is a batch of its own.
        entropy: entropy code the ids where that makes a file smaller.

    Raises:
        ValueError: there is no room in a batch.
    """

    def __init__(
        self, codec: AudioCodec, *, batch_seconds: float = 60.0, entropy: bool = False
    ) -> None:
        if not batch_seconds > 0:
            raise ValueError(f"a batch must hold some audio, got {batch_seconds} seconds")
        self.codec, self.batch_seconds, self.entropy = codec, batch_seconds, entropy
        self.fingerprint = codec.fingerprint  # hashes all weights: once, not once a file

    def run(self, recordings: Iterable[Recording]) -> Iterator[Outcome]:
        """Outcomes in the order of the recordings, which are taken as they are needed.

        Raises:
            OSError: a recording cannot be read for a reason that is not its own.
            ModuleNotFoundError: a format needs the ``media`` extra, or ``entropy`` is missing.
        """
        window: list[_Wave | str] = []
        room = WINDOW * self.batch_seconds * self.codec.sample_rate
        with ThreadPoolExecutor(THREADS) as pool:
            for item in self._ahead(pool, recordings):
                window.append(item)
                if sum(_samples(item) for item in window) >= room:
                    yield from self._encoded(window)
                    window = []
        yield from self._encoded(window)

    def _ahead(
        self, pool: ThreadPoolExecutor, recordings: Iterable[Recording]
    ) -> Iterator["_Wave | str"]:
        """Waveforms, or reasons why there are none, with some more under way."""
        waiting: deque[Future[_Wave | str]] = deque()
        for recording in recordings:
            waiting.append(pool.submit(self._read, recording))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, recording: Recording) -> "_Wave | str":
        if recording.fault:
            return recording.fault
        if isinstance(recording.content, Path):
            return self._decoded(recording.name, recording.content)
        suffix = PurePosixPath(recording.name).suffix
        with NamedTemporaryFile(suffix=suffix) as file:
            file.write(recording.content)
            file.flush()
            return self._decoded(recording.name, Path(file.name))

    def _decoded(self, name: str, path: Path) -> "_Wave | str":
        try:
            source, rate = read_wave(path, channels=self.codec.channels)
            wave = resample(source, rate, self.codec.sample_rate)
        except (ValueError, FileNotFoundError) as error:
            return explain(error).replace(str(path), name)
        return _Wave(wave, rate, source.shape[-1])

    def _encoded(self, window: Sequence["_Wave | str"]) -> list[Outcome]:
        outcomes = [Outcome(b"", item if isinstance(item, str) else "") for item in window]
        waves = {place: item for place, item in enumerate(window) if not isinstance(item, str)}
        for places in self._batches(waves):
            batch = [waves[place] for place in places]
            for item, (place, tokens) in enumerate(zip(places, self._tokens(batch), strict=True)):
                outcomes[place] = Outcome(self._file(tokens, batch[item]), "")
        return outcomes

    def _batches(self, waves: dict[int, "_Wave"]) -> list[list[int]]:
        """Places of recordings of similar length."""
        batches: list[list[int]] = []
        for place in sorted(waves, key=lambda place: (_samples(waves[place]), place)):
            seconds = _samples(waves[place]) / self.codec.sample_rate
            fits = batches and (len(batches[-1]) + 1) * seconds <= self.batch_seconds
            if fits and seconds <= LONG_SECONDS:
                batches[-1].append(place)
            else:
                batches.append([place])
        return batches

    def _tokens(self, batch: Sequence["_Wave"]) -> list[Tokens]:
        """Tokens of each recording, as of a batch of one."""
        codec, device = self.codec, next(self.codec.parameters()).device
        longest = max(map(_samples, batch))
        if longest > LONG_SECONDS * codec.sample_rate:
            (wave,) = batch
            size = round(BLOCK_SECONDS * codec.sample_rate)
            blocks = (block.to(device) for block in wave.samples.unsqueeze(0).split(size, dim=-1))
            return [_joined(list(codec.encode_blocks(blocks)))]
        x = torch.zeros(len(batch), codec.channels, longest)
        for item, wave in enumerate(batch):
            x[item, :, : _samples(wave)] = wave.samples
        lengths = torch.tensor([_samples(wave) for wave in batch])
        tokens = codec.encode(x.to(device), lengths.to(device))
        return [_item(tokens, item, self._scales(wave)) for item, wave in enumerate(batch)]

    def _scales(self, wave: "_Wave") -> int:
        """Scales that a codec with scales gives for a recording."""
        segments = self.codec.segments
        return 1 if segments is None else int(segments.pieces(torch.tensor(_samples(wave))))

    def _file(self, tokens: Tokens, wave: "_Wave") -> bytes:
        codec, ids = self.codec, tokens.ids[0].cpu()
        header = TokenHeader(
            codec=codec.name,
            fingerprint=self.fingerprint,
            vocab=tokens.vocab,
            positions=len(ids),
            sample_rate=codec.sample_rate,
            hop_length=codec.hop_length,
            channels=codec.channels,
            length=_samples(wave),
            extras={"source": {"sample_rate": wave.source_rate, "length": wave.source_length}},
            coding="range" if self.entropy else "packed",
            scale=() if tokens.scale is None else tuple(tokens.scale[0].float().tolist()),
        )
        file = io.BytesIO()
        write_tokens(file, header, ids)
        return file.getvalue()


class _Wave(NamedTuple):
    """A decoded recording, [channels, samples], and its rate and length before resampling."""

    samples: Tensor
    source_rate: int
    source_length: int


def _samples(item: _Wave | str) -> int:
    return 0 if isinstance(item, str) else item.samples.shape[-1]


def _item(tokens: Tokens, item: int, scales: int) -> Tokens:
    """One item of a batch, without what fills it."""
    ids = tokens.ids[item][tokens.mask[item]].unsqueeze(0)
    scale = None if tokens.scale is None else tokens.scale[item : item + 1, :scales]
    return tokens._replace(ids=ids, scale=scale)


def _joined(blocks: Sequence[Tokens]) -> Tokens:
    ids = torch.cat([block.ids for block in blocks], dim=1)
    scales = [block.scale for block in blocks if block.scale is not None]
    return blocks[0]._replace(ids=ids, scale=torch.cat(scales, dim=1) if scales else None)
