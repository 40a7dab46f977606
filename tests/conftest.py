"""Fixtures of all tests: the same seed and number of threads for each, and no network."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("MPLBACKEND", "Agg")
torch.set_num_threads(2)

SEED = 7


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
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
