"""Bundle: any part as a folder that is safe to load and cannot be damaged unnoticed.

``config.json`` holds the format version, the recipe (all constructor arguments), the fingerprint
and the SHA-256 of ``model.safetensors``, which holds the weights with weight normalisation folded
in. No pickle, no Lightning. Also restores a part from a training checkpoint, under the same rules.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from intaglio.codecs.folding import fold, folded_state, unfolded
from intaglio.codecs.part import Part, build, describe
from intaglio.codecs.shipped import BUNDLE_FILES, located, shipped_names
from intaglio.codecs.trust import trusting
from intaglio.codecs.weights import (
    checked_size,
    filled,
    fitting,
    read_checkpoint,
    shapes_of,
    stored_shapes,
    tensors_of,
)
from intaglio.data.formats.atomic import replacing_set, settle
from intaglio.data.formats.named import named

FORMAT_VERSION = 1
CONFIG, WEIGHTS = BUNDLE_FILES
MAX_CONFIG_BYTES = 1 << 20

P = TypeVar("P", bound=Part)


def fingerprint(part: Part) -> str:
    """Hash of a part's recipe and weights, 32 hexadecimal digits.

    Of the recipe without arguments at their defaults, so that options added later change nothing.
    Weight normalisation is folded first, so a part has the same fingerprint before and after
    folding, on a disk and in a training run.
    """
    return _fingerprint(part, folded_state(part))


def _fingerprint(part: Part, state: dict[str, Tensor]) -> str:
    """As `fingerprint`, if the part had these weights, folded."""
    recipe = json.dumps(describe(part, defaults=False), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(recipe.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}{list(tensor.shape)}{tensor.dtype}".encode())
        data = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()[:32]


def save(part: Part, folder: str | Path, *, half: bool = False) -> Path:
    """Write ``part`` as a bundle, in one step: an existing one is replaced, or stays if this fails.

    Other files of the folder are kept. Weights of other precisions are written as float32, which
    they are read as.

    Args:
        part: what is written; not changed.
        folder: where to.
        half: round weights to float16, which halves the file. They are read back as float32, and
            have the fingerprint of the rounded ones, which is another.

    Raises:
        OSError: the folder cannot be written; nothing half-written is left.
        ValueError: a weight is beyond float16, or the folder holds files of these names that are
            no bundle; they stay.
    """
    folder = named(folder, "folder for the bundle")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, a bundle is a folder; choose another name")
    _check_free(folder)
    state = {name: _single(tensor) for name, tensor in folded_state(part).items()}
    stored = {name: _rounded(name, tensor) for name, tensor in state.items()} if half else state
    state = {name: tensor.to(state[name].dtype) for name, tensor in stored.items()}
    # .clone(): tensors that share memory are refused by the format
    weights = save_safetensors(
        {name: tensor.cpu().contiguous().clone() for name, tensor in stored.items()}
    )
    config = {
        "format_version": FORMAT_VERSION,
        "name": getattr(part, "name", type(part).__name__),
        "fingerprint": _fingerprint(part, state),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "recipe": describe(part),
    }
    text = json.dumps(config, indent=2) + "\n"
    with replacing_set(folder) as new:
        (new / WEIGHTS).write_bytes(weights)
        (new / CONFIG).write_text(text, encoding="utf-8")
    return folder


def _check_free(folder: Path) -> None:
    """Refuse to replace the files of another model: a bundle of ours, of any version, has a recipe
    and a checksum, and may be damaged otherwise."""
    others = [name for name in BUNDLE_FILES if (folder / name).exists()]
    try:
        if not others or {"recipe", "sha256"} <= json.loads((folder / CONFIG).read_bytes()).keys():
            return
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    raise ValueError(
        f"{folder} holds {' and '.join(others)} of something else than a bundle, which would be "
        "replaced; choose another folder"
    )


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _rounded(name: str, tensor: Tensor) -> Tensor:
    rounded = tensor.half() if tensor.dtype == torch.float32 else tensor
    if bool((rounded.isfinite() != tensor.isfinite()).any()):
        raise ValueError(f"{name} has values that float16 cannot hold; save it without half")
    return rounded


def read(folder: str | Path, trainable: bool = False) -> Part:
    """Part of a bundle, with its weights, in training mode as built.

    Args:
        folder: the bundle.
        trainable: keep weight normalisation, to train on; it is folded in otherwise.

    Raises:
        ValueError: a damaged, incomplete, newer or foreign bundle.
        FileNotFoundError: a file of the bundle is missing.
    """
    folder = Path(folder)
    settle(folder)
    config, weights = _one_set(folder)
    found = hashlib.sha256(weights).hexdigest()
    if found != config["sha256"]:
        raise ValueError(
            f"{folder / WEIGHTS} is damaged: its SHA-256 is {found[:12]}…, {CONFIG} says "
            f"{str(config['sha256'])[:12]}…; copy the bundle again"
        )
    try:
        state = load_safetensors(weights)
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    part = filled(fold(build(config["recipe"])).float(), state, str(folder))
    if fingerprint(part) != config["fingerprint"]:
        raise ValueError(
            f"{folder / CONFIG} does not belong to its weights: the fingerprint differs; "
            "copy the bundle again"
        )
    if trainable:
        whole = folded_state(part)  # in float32: norms of weights in float16 would be rounded, too
        part = build(config["recipe"])
        part.load_state_dict(unfolded(part, whole))
    return part


def _one_set(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Configuration and weights of a bundle, of which neither was replaced in between."""
    while True:
        config = read_config(folder)
        try:
            weights = _fitting_weights(config["recipe"], folder)
        except ValueError:
            if read_config(folder) == config:
                raise
        else:
            if read_config(folder) == config:
                return config, weights


def _fitting_weights(recipe: Any, folder: Path) -> bytes:
    path = folder / WEIGHTS
    fitting(recipe, stored_shapes(path), lambda recipe: fold(build(recipe)), str(folder))
    return path.read_bytes()


def read_config(folder: str | Path) -> dict[str, Any]:
    """The checked content of a bundle's ``config.json``.

    Raises:
        ValueError: it is no configuration of a bundle, or of a newer version.
    """
    path = Path(folder) / CONFIG
    if checked_size(path) > MAX_CONFIG_BYTES:
        raise ValueError(f"{path} has more than {MAX_CONFIG_BYTES} bytes; it is no bundle's")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    version = config.get("format_version") if isinstance(config, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError(f"{path} is not the configuration of an intaglio bundle")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}, this one reads up to {FORMAT_VERSION}: upgrade intaglio"
        )
    missing = {"recipe", "sha256", "fingerprint", "name"} - set(config)
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
    kinds = {"recipe": dict, "sha256": str, "fingerprint": str, "name": str}
    wrong = [name for name, kind in kinds.items() if not isinstance(config[name], kind)]
    if wrong or "class_path" not in config["recipe"]:
        raise ValueError(f"{path} has no sensible {(wrong or ['recipe'])[0]}")
    return config


def load_part(
    source: str | Path,
    kind: type[P],
    *names: str,
    trainable: bool = False,
    trust: Sequence[str] = (),
) -> P:
    """A trained part of some kind from a bundle or a training checkpoint.

    Args:
        source: a bundle's folder, a checkpoint (``.ckpt``), or a name that comes with the package;
            a bundle or a file of the user goes before a name.
        kind: class of the part.
        names: of the kind in messages, and of the part among the task's arguments; see `restore`.
        trainable: keep gradients, training mode and weight normalisation; otherwise the part is
            frozen and in evaluation mode.
        trust: modules, besides this package, whose parts the file may name. Their code runs.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is damaged, foreign, of a newer version, or of another kind.
    """
    path = located(source, *names)
    if not path.exists():
        known = ", ".join(shipped_names(names))
        raise FileNotFoundError(
            f"there is no {' or '.join(names)} at {path}: give a bundle folder, a checkpoint, or "
            f"the name of one that comes with the package ({known or 'none does'})"
        )
    if path.is_dir() and not (path / CONFIG).exists():
        raise FileNotFoundError(f"{path} is no bundle: it has no {CONFIG}")
    try:
        with trusting(trust):
            part = read(path, trainable) if path.is_dir() else restore(path, names, trainable)
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(part, kind):
        raise ValueError(f"{path} holds {type(part).__name__}, not a {' or '.join(names)}")
    return part if trainable else part.requires_grad_(False).eval()


def restore(
    checkpoint: str | Path, names: Sequence[str] = ("codec",), trainable: bool = False
) -> Part:
    """Part of a Lightning checkpoint: the first of a task's arguments ``names`` that it holds.

    Averaged weights, if the run kept them, are preferred; weight normalisation is folded in unless
    the part is to be ``trainable``. Lightning is not imported; the file is read
    with ``weights_only=True``; class paths outside this package are refused at any depth.

    Raises:
        ValueError: no checkpoint of this package, a damaged one, or a foreign class path.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path)
    known = _mapping(content.get("hyper_parameters"))
    name = next((name for name in names if isinstance(known.get(name), dict)), names[0])
    recipe = known.get(name)
    if not isinstance(recipe, dict) or "class_path" not in recipe or "state_dict" not in content:
        raise ValueError(f"{checkpoint} holds no recipe of a {name}: train with `intaglio fit`")
    averaged = _mapping(content.get("averaged_weights")).get(name, {})
    prefix, every = f"{name}.", _mapping(content["state_dict"]).items()
    own = {str(key)[len(prefix) :]: value for key, value in every if str(key).startswith(prefix)}
    state = tensors_of(own, path) | tensors_of(averaged, path)
    fitting(recipe, shapes_of(state), build, str(checkpoint))
    part = filled(build(recipe), state, str(checkpoint))
    return part if trainable else cast(Part, fold(part))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
