"""Fixtures of all tests: the same seed and number of threads for each, and no network."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.vq import VectorQuantizer

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")
if not torch.cuda.is_available():  # Triton's kernels are interpreted; said before it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")
# ATEN_CPU_CAPABILITY keeps torch's own kernels from newer instructions; oneDNN and MKL are told so.
# Attention in bfloat16 would even fail, for torch packs for oneDNN what its own kernels cannot.
OLDER = {
    "default": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
for name, value in OLDER.get(os.environ.get("ATEN_CPU_CAPABILITY", ""), {}).items():
    os.environ.setdefault(name, value)

SEED = 7
# One thread: two would wait for each other on small tensors. OMP_NUM_THREADS=2 tests with two.
THREADS = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state and threads, whatever ran before it."""
    torch.set_num_threads(THREADS)
    random.seed(SEED)
    numpy.random.seed(SEED)
    torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that leave this machine fail: what passes here passes without a network."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        outside = self.family in (socket.AF_INET, socket.AF_INET6)
        if outside and address[0] not in ("127.0.0.1", "::1", "localhost"):  # type: ignore[index]
            raise AssertionError(f"a test tried to connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def tiny_codec() -> AudioCodec:
    """A codec of WavTokenizer's kind, 1 kHz, 20 samples a token, small enough to run in no time."""
    codec = AudioCodec(
        SEANetEncoder(8, (2, 2, 5), width=4, lstm_layers=1),
        VectorQuantizer(8, 64, kmeans_iterations=0),
        VocosDecoder(8, 64, intermediate=48, num_layers=2, hop_length=20, n_fft=80, conditions=2),
        sample_rate=1000,
        name="tiny",
    )
    codec.quantizer.codebook.copy_(0.2 * torch.randn(64, 8))
    return codec.eval()


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded random generator."""
    return torch.Generator().manual_seed(SEED)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).parent.parent


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is the working directory during the test."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
