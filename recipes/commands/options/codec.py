"""Which codec a command uses, and where it runs: ``--codec``, ``--trust`` and ``--device``."""

import argparse
import os
from pathlib import Path
from typing import TypeVar

import torch

from intaglio.codecs import AudioCodec, Codec, ImageCodec, load
from intaglio.codecs.shipped import located, shipped, shipped_names
from intaglio.recipes.commands.options.trust import add_trust_option
from intaglio.recipes.errors import WrongUsage

VARIABLE = "INTAGLIO_CODEC"
DEMO = Path("demo/codec")

C = TypeVar("C", bound=Codec)


def add_codec_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the options; with ``several``, ``--codec`` may be repeated and gives a list."""
    parser.add_argument(
        "--codec",
        metavar="BUNDLE",
        action="append" if several else "store",
        help="bundle folder, training checkpoint, or the name of a codec of the package "
        f"({', '.join(shipped_names(['codec']))}); else ${VARIABLE}, else {DEMO} if it exists",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, mps; auto takes CUDA if there is one"
    )
    add_trust_option(parser)


def chosen_any_codec(args: argparse.Namespace) -> Codec:
    """The codec that the options name, of any modality, on its device, frozen.

    Raises:
        FileNotFoundError: there is no such codec.
        ValueError: none is named, it is damaged, or there is no such device.
    """
    return load_any_codec(args.codec or default_source(), args.device)


def default_source(generator: str | None = None) -> str:
    """The codec to use if the options name none; for a generator of the package, its own.

    Raises:
        ValueError: there is none.
    """
    if generator and shipped(generator, "codec") == located(generator, "codec"):
        return generator
    source = os.environ.get(VARIABLE) or (str(DEMO) if DEMO.is_dir() else None)
    if source is None:
        raise WrongUsage(
            f"no codec is named: give --codec BUNDLE or the name of one in the package "
            f"({', '.join(shipped_names(['codec']))}), set {VARIABLE}, or run `intaglio demo`"
        )
    return source


def load_codec(source: str, device_name: str) -> AudioCodec:
    """An audio codec by its bundle or checkpoint, on a device by its name, frozen.

    Raises:
        FileNotFoundError: there is no such codec.
        ValueError: it is damaged or no audio codec, or there is no such device.
    """
    return _of_kind(AudioCodec, source, device_name)


def load_any_codec(source: str, device_name: str) -> Codec:
    """As `load_codec`, of any modality."""
    device = _device(device_name)
    return load(source).to(device)


def load_image_codec(source: str, device_name: str) -> ImageCodec:
    """As `load_codec`, of images."""
    return _of_kind(ImageCodec, source, device_name)


def _of_kind(kind: type[C], source: str, device_name: str) -> C:
    codec = load_any_codec(source, device_name)
    if not isinstance(codec, kind):
        name = type(codec).__name__
        raise ValueError(f"{source} holds {name}, not a codec of {kind.signal}s")
    return codec


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds no numbers
        if device.type == "cpu" and device.index:
            raise RuntimeError("there is one CPU")  # which torch takes any number for
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the way it was built
        raise WrongUsage(
            f"there is no device {name!r} here; `intaglio doctor` lists them"
        ) from error
    return device
