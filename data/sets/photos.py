"""Cut-out photographs of animals, plants, food and things, each with a sentence.

The stamps of Tux Paint as Debian ships them. Drawings are left out: what stands in a folder
``cartoon``, and pictures in which `FLAT` or more of the pixels continue their neighbours exactly,
as no camera sees them. Most photographs have a transparent ground. The label is the folder.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from intaglio.data.formats.open_image import opened
from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import debian_copyright, fetch_debian

PACKAGE = "tuxpaint-stamps-default"
LICENCE = "GPL-2"
MIN_SIDE = 64
FLAT = 0.15
STEP = 0.7  # of 255; a smaller second difference counts as none
OPAQUE = 250
LUMA = (0.299, 0.587, 0.114)


def build(folder: Path) -> Iterator[Record]:
    """Move the photographs into ``folder``, one record each."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        unpacked = Path(temporary)
        fetch_debian([PACKAGE], unpacked)
        rights = debian_copyright(unpacked, PACKAGE)
        write_licence(folder, LICENCE, f"the Debian package {PACKAGE}", rights)
        root = unpacked / "usr/share/tuxpaint/stamps"
        for picture in sorted(root.rglob("*.png")):
            path, caption = picture.relative_to(root), picture.with_suffix(".txt")
            if picture.is_symlink() or "cartoon" in path.parts or not caption.is_file():
                continue
            with opened(picture) as image:
                if min(image.size) < MIN_SIDE or flat_share(image) >= FLAT:
                    continue
            text = caption.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(picture, folder / path)
            yield Record(path.as_posix(), text=text, label="/".join(path.parts[:-1]))


def flat_share(image: Image.Image) -> float:
    """Share of the pixels inside the opaque part that lie on the plane of their neighbours.

    1 if there is no inside.
    """
    values = torch.from_numpy(np.array(image.convert("RGBA"))).double()
    grey, opaque = values[..., :3] @ torch.tensor(LUMA).double(), values[..., 3] > OPAQUE
    centre = (slice(1, -1), slice(1, -1))
    around = [
        *((slice(None, -2), slice(1, -1)), (slice(2, None), slice(1, -1))),
        *((slice(1, -1), slice(None, -2)), (slice(1, -1), slice(2, None))),
    ]
    inside = opaque[centre]
    for place in around:
        inside = inside & opaque[place]
    bent = (4 * grey[centre] - torch.stack([grey[place] for place in around]).sum(0)).abs()
    return float((bent[inside] < STEP).double().mean()) if bool(inside.any()) else 1.0


PHOTOS = RealSet(
    name="photos",
    about="small photographs, most cut out, of 64 pixels and more; a sentence each",
    licence=LICENCE,
    source=f"Debian {PACKAGE}",
    items=305,
    minutes=0,
    megabytes=161,
    build=build,
    kind="image",
)
