"""Codecs: EnCodec and DAC compared with transformers, and ONNX compared with PyTorch."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.speech_small import speech_small
from intaglio.codecs.audio.wavtokenizer import wavtokenizer
from intaglio.codecs.folding import fold
from intaglio.export import onnx
from intaglio.export.converters import dac, encodec
from intaglio.export.graphs import Graphs
from intaglio.recipes.benchmarks.timing import Timing, compare

SECONDS = 10
SAMPLE_RATE = 24_000


def run() -> list[Timing]:
    """All comparisons, with random weights.

    Raises:
        ModuleNotFoundError: transformers or the ONNX packages are missing.
        RuntimeError: the two implementations disagree.
    """
    results = [*_encodec(), *_dac()]
    for codec in (speech_small(), wavtokenizer()):
        results += _onnx(codec)
    return results


def _encodec() -> list[Timing]:
    import transformers

    torch.manual_seed(0)
    theirs: Any = transformers.EncodecModel(transformers.EncodecConfig()).eval()
    for layer in theirs.quantizer.layers:  # their codes are initialised with zeros
        layer.codebook.embed.normal_(std=0.3)
    ours = encodec.convert(theirs.state_dict())
    wave = _noise()
    with torch.no_grad():
        coded = theirs.encode(wave, bandwidth=24.0)
    return _compared(
        ours,
        wave,
        coded.audio_codes[0].transpose(1, 2),
        lambda: theirs.encode(wave, bandwidth=24.0),
        lambda: theirs.decode(coded.audio_codes, coded.audio_scales),
        "transformers EncodecModel",
        rounds=5,
    )


def _dac() -> list[Timing]:
    import transformers

    torch.manual_seed(0)
    config = transformers.DacConfig(
        sampling_rate=SAMPLE_RATE,
        downsampling_ratios=[2, 4, 5, 8],
        n_codebooks=32,
    )
    theirs: Any = transformers.DacModel(config).eval()
    wave = _noise()
    with torch.no_grad():
        coded = theirs.encode(wave)
    return _compared(
        dac.convert(theirs.state_dict(), SAMPLE_RATE),
        wave,
        coded.audio_codes.transpose(1, 2),
        lambda: theirs.encode(wave),
        lambda: theirs.decode(audio_codes=coded.audio_codes),
        "transformers DacModel",
        rounds=3,
    )


def _compared(
    ours: AudioCodec,
    wave: Tensor,
    codes: Tensor,
    encode: Any,
    decode: Any,
    name: str,
    *,
    rounds: int,
) -> list[Timing]:
    """Encoding, decoding, and both, compared with theirs."""
    tokens = ours.encode(wave)
    same = (tokens.ids == codes).float().mean().item()
    if same < 0.999:
        raise RuntimeError(f"only {same:.1%} of the tokens equal those of {name}")
    speed = f"{ours.name}, {SAMPLE_RATE // 1000} kHz, {SECONDS} s"
    note = f"{same:.2%} of {tokens.ids.numel()} tokens equal"
    pairs = [
        ("encode", lambda: ours.encode(wave), encode),
        ("decode", lambda: ours.decode(tokens), decode),
        (
            "encode + decode",
            lambda: ours.decode(ours.encode(wave)),
            lambda: (encode(), decode()),
        ),
    ]
    return [
        compare(f"{task}, {speed}", mine, theirs, baseline_name=name, note=note, rounds=rounds)
        for task, mine, theirs in pairs
    ]


def _onnx(codec: AudioCodec) -> list[Timing]:
    torch.manual_seed(0)
    codec.eval().requires_grad_(False)
    fold(codec)
    wave = 0.1 * torch.randn(1, 1, SECONDS * codec.sample_rate)
    graphs = Graphs(codec)
    ids = graphs.encoder(wave)
    speed = f"{codec.name}, {SECONDS} s, ONNX"
    with tempfile.TemporaryDirectory() as folder:
        onnx.write(graphs, Path(folder))
        encode, decode = onnx.run(Path(folder))
        return [
            compare(
                f"encode, {speed}",
                lambda: encode(wave),
                lambda: graphs.encoder(wave),
                baseline_name="PyTorch",
            ),
            compare(
                f"decode, {speed}",
                lambda: decode(ids),
                lambda: graphs.decoder(ids),
                baseline_name="PyTorch",
            ),
        ]


def _noise() -> Tensor:
    return 0.1 * torch.randn(1, 1, SECONDS * SAMPLE_RATE)
