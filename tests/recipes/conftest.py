"""Fixtures of the command line's tests: a way to call it, a tiny codec, a recording."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import soundfile
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.recipes.cli import main


class Outcome(NamedTuple):
    """Exit status of a call of the command line, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def intaglio(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Call the command line in this process; paths may be given as words."""
    monkeypatch.delenv("INTAGLIO_CODEC", raising=False)
    monkeypatch.delenv("INTAGLIO_TRACEBACK", raising=False)

    def call(*words: object) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["intaglio", *map(str, words)])
        try:
            status = main()
        except SystemExit as stop:
            status = stop.code
        return Outcome(status, *capfd.readouterr())

    return call


@pytest.fixture
def refusal(intaglio: Callable[..., Outcome]) -> Callable[..., str]:
    """Call the command line, expect one line and status 1; gives the line."""

    def call(*words: object) -> str:
        status, out, err = intaglio(*words)
        assert status == 1, err
        assert out == ""
        assert err.startswith("intaglio: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("intaglio: error: ").rstrip()

    return call


def tiny_codec(seed: int, name: str) -> AudioCodec:
    torch.manual_seed(seed)
    codec = AudioCodec(
        encoder=SEANetEncoder(16, (4, 5), width=4, lstm_layers=0),
        quantizer=FSQ(16, (9, 7)),
        decoder=VocosDecoder(
            16, 16, intermediate=32, num_layers=1, hop_length=20, n_fft=80, attention=False
        ),
        sample_rate=8000,
        name=name,
    )
    project = codec.quantizer.project_in
    with torch.no_grad():  # as after training: noise meets many codes
        latents = codec.encoder(0.1 * torch.randn(1, 1, 8000))
        project.weight /= project(latents).std((0, 1)).unsqueeze(1)
        project.bias -= project(latents).mean((0, 1))
    return codec


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny codec, 8 kHz, 400 tokens a second; not to be changed."""
    return save(tiny_codec(1, "tiny"), tmp_path_factory.mktemp("codec") / "tiny")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a codec of the same kind with other weights."""
    return save(tiny_codec(2, "other"), tmp_path_factory.mktemp("codec") / "other")


@pytest.fixture
def record() -> Callable[..., Path]:
    """Write noise as an audio file: ``record(path, samples, rate, channels)``."""

    def write(path: Path, samples: int = 4001, rate: int = 8000, channels: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * torch.randn(samples, channels).numpy(), rate)
        return path

    return write
