"""Streams: Mimi in steps of 80 ms compared with the whole signal, and with the package ``moshi``.

A step reads all weights, however few latents it makes. What that takes by itself is measured in
turn with the rest, as products of the weights with vectors.

``pip install --no-deps moshi sentencepiece`` installs it: it asks for older versions of torch and
NumPy than this package, and runs with newer ones. Without it, that row is left out.
"""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.mimi import mimi
from intaglio.codecs.streaming.live import latency
from intaglio.export.converters.mimi import convert
from intaglio.recipes.benchmarks.timing import Timing

SECONDS = 2  # short turns, so that all meet the same load
LEVELS = 8
ROUNDS = 3
BASELINES = {
    "offline": "the whole signal",
    "moshi": "moshi, in the same steps",
    "weights": "reading the weights in each step",
}


def run() -> list[Timing]:
    """Processor time of encoding and decoding a second of audio, and of the first chunk.

    The weights are random, of the published size.

    Raises:
        RuntimeError: the tokens differ.
    """
    torch.manual_seed(0)
    theirs = _moshi()
    codec = mimi(LEVELS) if theirs is None else convert(theirs.state_dict())
    codec.eval().requires_grad_(False)
    wave = 0.1 * torch.randn(1, 1, SECONDS * codec.sample_rate)
    chunks = list(wave.split(codec.hop_length, dim=-1))
    work: dict[str, Callable[[], Tensor]] = {
        "stream": lambda: _streamed(codec, chunks),
        "offline": lambda: _offline(codec, wave),
    }
    if theirs is not None:
        work["moshi"] = lambda: _streamed_by_moshi(theirs, chunks)
    _check({name: function() for name, function in work.items()})
    weights = [one for part in (codec.encoder, codec.decoder) for one in part.parameters()]
    times = _milliseconds(work | {"weights": lambda: _read(weights, len(chunks))})
    frame, look_ahead, first = latency(codec)
    per_ms = codec.sample_rate / 1000
    what = f"mimi, {LEVELS} levels, steps of {frame / per_ms:.0f} ms"
    note = f"{(frame + look_ahead) / per_ms:.0f} ms of latency; equal tokens"
    ours = times.pop("stream")
    notes = {"weights": f"{sum(one.nbytes for one in weights) / 1e6:.1f} MB in each step"}
    found = [
        Timing(
            f"a second, {what}",
            ours,
            time,
            BASELINES[name],
            "ms",
            time / ours,
            notes.get(name, note),
        )
        for name, time in times.items()
    ]
    step, lasts = _first_chunk(codec, chunks[0]), first / per_ms
    name = f"first chunk, {what}"
    return [*found, Timing(name, step, lasts, "its duration", "ms", lasts / step, note)]


def _streamed(codec: AudioCodec, chunks: list[Tensor]) -> Tensor:
    with codec.streaming() as stream:
        ids = []
        for chunk in chunks:
            tokens = stream.encode(chunk, levels=LEVELS)
            stream.decode(tokens)
            ids.append(tokens.ids)
    return torch.cat(ids, dim=1)


def _offline(codec: AudioCodec, wave: Tensor) -> Tensor:
    tokens = codec.encode(wave, levels=LEVELS)
    codec.decode(tokens)
    return tokens.ids


def _moshi() -> Any:
    """Their model with random weights, or None if it is not installed."""
    try:
        loaders = importlib.import_module("moshi.models.loaders")
    except ImportError:
        return None
    model = loaders.get_mimi(None, num_codebooks=LEVELS)
    with torch.no_grad():
        for name, buffer in model.named_buffers():  # their codes begin as zeros
            if name.endswith("embedding_sum"):
                buffer.normal_(std=0.3)
    return model


@torch.no_grad()
def _streamed_by_moshi(model: Any, chunks: list[Tensor]) -> Tensor:
    ids = []
    with model.streaming(1):
        for chunk in chunks:
            codes = model.encode(chunk)
            model.decode(codes)
            ids.append(codes.transpose(1, 2))
    return torch.cat(ids, dim=1)


def _read(weights: Sequence[Tensor], times: int) -> Tensor:
    """The sum of all weights, by products with vectors, each time."""
    rows = [one.flatten(1) for one in weights if one.dim() > 1]
    total = torch.zeros(())
    for _ in range(times):
        for one in rows:
            total = total + (one @ one.new_ones(one.shape[1])).sum()
    return total


def _check(found: Mapping[str, Tensor]) -> None:
    for name, ids in found.items():
        same = (ids == found["offline"]).float().mean().item()
        if same < 0.999:
            raise RuntimeError(f"{name}: only {same:.1%} of the tokens are those of the whole")


def _milliseconds(work: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median processor time of a second of audio, each in turn."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, function in work.items():
            start = time.process_time()
            function()
            times[name].append(1000 * (time.process_time() - start) / SECONDS)
    return {name: sorted(kept)[ROUNDS // 2] for name, kept in times.items()}


def _first_chunk(codec: AudioCodec, chunk: Tensor) -> float:
    """Milliseconds by the clock until the samples of a chunk are there."""
    with codec.streaming() as stream:
        start = time.perf_counter()
        stream.decode(stream.encode(chunk, levels=LEVELS))
        return 1000 * (time.perf_counter() - start)
