"""Load a codec by the name or path of a bundle or a training checkpoint."""

from pathlib import Path

from intaglio.codecs.bundle import CONFIG, read, restore
from intaglio.codecs.codec import Codec


def load(source: str | Path, trainable: bool = False) -> Codec:
    """Codec with its trained weights.

    Args:
        source: a bundle (folder with ``config.json`` and ``model.safetensors``) or a training
            checkpoint (``.ckpt``).
        trainable: keep gradients and training mode on, for fine-tuning; otherwise the codec is
            frozen and in evaluation mode.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, foreign, of a newer version, or not a codec.
    """
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no codec at {path}: give a bundle folder or a checkpoint"
        )
    if path.is_dir() and not (path / CONFIG).is_file():
        raise FileNotFoundError(f"{path} is no bundle: it has no {CONFIG}")
    codec = read(path, trainable) if path.is_dir() else restore(path, trainable=trainable)
    if not isinstance(codec, Codec):
        raise ValueError(f"{path} holds a {type(codec).__name__}, not a codec")
    if trainable:
        return codec
    return codec.requires_grad_(False).eval()
