"""Load a generator by the path of a bundle or a training checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.codecs.bundle import load_part
from intaglio.generators.generator import Generator


def load(source: str | Path, trainable: bool = False, trust: Sequence[str] = ()) -> Generator:
    """Generator with its trained weights, which know the codec of its tokens.

    Args:
        source: a bundle (folder with ``config.json`` and ``model.safetensors``), a training
            checkpoint (``.ckpt``), or a name that comes with the package (``emoji``).
            Weights that are stored in float16 become float32, of which the fingerprint is.
        trainable: keep gradients and training mode on, for fine-tuning; otherwise the generator is
            frozen and in evaluation mode.
        trust: modules, besides this package, whose parts the file may name, as ``["mylib"]``. Their
            code runs.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, foreign, of a newer version, or not a generator.
    """
    return load_part(source, Generator, "generator", trainable=trainable, trust=trust)
