"""Kernels as they are, or with a line changed; on a CPU Triton interprets them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

pytest.importorskip("triton", reason="Triton comes with torch for Linux and CUDA only")
FOLDER = Path(__file__).parents[4] / "generators" / "inference" / "kernels"


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def large_tiles(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """An interpreter takes as long for a small tile as for a large one."""
    if device.type == "cpu":
        for name in ("bands", "races", "rejection"):
            monkeypatch.setattr(f"intaglio.generators.inference.kernels.{name}.TILE", 1 << 14)


@pytest.fixture
def mutant(tmp_path: Path) -> Callable[[str, str, str], ModuleType]:
    """A module of kernels in which a text that stands there once is another."""

    def made(name: str, text: str, other: str) -> ModuleType:
        source = (FOLDER / f"{name}.py").read_text()
        assert source.count(text) == 1
        path = tmp_path / f"{name}_mutant.py"
        path.write_text(source.replace(text, other))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return made
