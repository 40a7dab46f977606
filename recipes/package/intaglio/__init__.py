"""Discrete codecs for audio and images, and generators over their tokens.

A codec turns a signal into integers and back::

    import intaglio

    codec = intaglio.load("speech")  # or a folder that `save` wrote, or a training checkpoint
    tokens = codec.encode(wave)  # wave: [batch, channels, samples] in [-1, 1]
    print(tokens.ids)  # int64 [batch, positions, groups]
    decoded = codec.decode(tokens)  # the layout and the length of `wave`
    intaglio.save(codec, "another_codec")

A published system is one function, a part of one is a class, and parts are put together by hand::

    from intaglio.codecs.audio.encodec import encodec
    from intaglio.codecs.quantizers import FSQ

    codec = encodec()  # fresh weights
    quantizer = FSQ(8, levels=(8, 5, 5, 5))

Sub-packages: `codecs` (systems and the parts they are made of), `generators` (models that draw
tokens), `data` (folders, sets and file formats), `export` (ONNX, TorchScript, exported programs)
and `recipes` (training, evaluation and the command line, ``intaglio --help``). Classes:
`AudioCodec`, `ImageCodec` and their base `Codec`, `Generator`, and what they return, `Tokens`,
`Quantized` and `Reconstruction`; ``help(intaglio.Codec)`` explains one of them. All of these are
imported when they are first asked for; ``import intaglio`` alone does not import torch.
"""

import importlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio import codecs, data, export, generators, recipes
    from intaglio.codecs import AudioCodec as AudioCodec
    from intaglio.codecs import Codec as Codec
    from intaglio.codecs import ImageCodec as ImageCodec
    from intaglio.codecs import Quantized as Quantized
    from intaglio.codecs import Reconstruction as Reconstruction
    from intaglio.codecs import Tokens as Tokens
    from intaglio.codecs import load, save
    from intaglio.generators import Generator as Generator

    __version__: str

# Classes are not in __all__: `help(intaglio)` would print thousands of lines of their methods.
__all__ = ["__version__", "codecs", "data", "export", "generators", "load", "recipes", "save"]
_CLASSES = (
    *("AudioCodec", "Codec", "Generator", "ImageCodec"),
    *("Quantized", "Reconstruction", "Tokens"),
)

# A wheel has the sub-packages beside this file. In a checkout they are folders of its root, and an
# editable install puts `recipes/package` on the path, where nothing but this package lies.
if not Path(__file__).with_name("codecs").is_dir():
    __path__ = [str(Path(__file__).parents[3])]

if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name):
        if name not in (*__all__, *_CLASSES):
            raise AttributeError(f"module 'intaglio' has no attribute {name!r}")
        if name == "__version__":
            return importlib.metadata.version("intaglio")
        if name in ("codecs", "data", "export", "generators", "recipes"):
            return importlib.import_module(f".{name}", "intaglio")
        home = "intaglio.generators" if name == "Generator" else "intaglio.codecs"
        return getattr(importlib.import_module(home), name)

    def __dir__():
        return sorted({*globals(), *__all__, *_CLASSES})
