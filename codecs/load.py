"""Load a codec by the path of a bundle or a training checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.codecs.bundle import load_part
from intaglio.codecs.codec import Codec


def load(source: str | Path, trainable: bool = False, trust: Sequence[str] = ()) -> Codec:
    """Codec with its trained weights.

    Args:
        source: a bundle (folder with ``config.json`` and ``model.safetensors``), a training
            checkpoint (``.ckpt``), or a name that comes with the package (``speech``, ``emoji``).
            Weights that are stored in float16 become float32, of which the fingerprint is.
        trainable: keep gradients and training mode on, for fine-tuning; otherwise the codec is
            frozen and in evaluation mode.
        trust: modules, besides this package, whose parts the file may name, as ``["mylib"]``. Their
            code runs.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, foreign, of a newer version, or not a codec.
    """
    return load_part(source, Codec, "codec", trainable=trainable, trust=trust)
