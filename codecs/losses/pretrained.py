"""Published networks whose weights the user has: where their files lie, and how they are read.

Nothing is fetched. A file is named, or it lies where torch.hub keeps what other programs have
fetched. It is read with ``weights_only=True`` and must fit the network tensor by tensor.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def hub_folder() -> Path:
    """Folder in which torch.hub keeps weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def kept(names: Sequence[str]) -> Path | None:
    """The first of the files, by name, that lies in the folder of torch.hub; None without any."""
    paths = (hub_folder() / name for name in names)
    return next((path for path in paths if path.is_file()), None)


def checksum(file: str | Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fill(network: nn.Module, file: str | Path, *, what: str) -> None:
    """Load the weights of a network from a file of tensors by name; more tensors are left alone.

    Args:
        network: to be filled. Counters of batch normalisation need not be in the file.
        file: as ``torch.save`` wrote it.
        what: whose weights are expected, for the message of an error.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is no file, holds no tensors by name, lacks one, or has one of another shape.
    """
    path, right = Path(file), f"it should be {what}: name it, or put it into {hub_folder()}"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {right}")
    if not path.is_file():  # to open a pipe that nobody writes to would take for ever
        raise ValueError(f"{path} is a folder, a device or a pipe, not a file of weights; {right}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # the archive's reader has a dozen kinds
        raise ValueError(f"{path} is no file of weights; {right}") from error
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name, value in wanted.items():
        found = content.get(name) if isinstance(content, dict) else None
        if not isinstance(found, Tensor):
            raise ValueError(f"{path} has no tensor {name}; {right}")
        if found.shape != value.shape:
            raise ValueError(
                f"{name} in {path} is {list(found.shape)}, not {list(value.shape)}; {right}"
            )
    network.load_state_dict({name: content[name] for name in wanted}, strict=False)
