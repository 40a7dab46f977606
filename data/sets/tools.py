"""Codec 2, the classic vocoder to compare with: of the system, or fetched and not installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from intaglio.data.formats.atomic import replacing_set
from intaglio.data.formats.locks import remove
from intaglio.data.sets.base import home
from intaglio.data.sets.packages import fetch_debian

LIBRARY = "libcodec2-1.0"  # of Debian 12; its number changes with the release


class Programs(NamedTuple):
    """The two programs, and the folder that LD_LIBRARY_PATH must name for them; None if nothing."""

    encoder: Path
    decoder: Path
    library: Path | None

    def environment(self) -> dict[str, str]:
        """The variables to run the programs with."""
        before = os.environ.get("LD_LIBRARY_PATH")
        added = [str(self.library)] if self.library else []
        path = os.pathsep.join(added + ([before] if before else []))
        return os.environ | ({"LD_LIBRARY_PATH": path} if path else {})


def codec2_programs() -> Programs | None:
    """Codec 2 of the system, else the fetched one, else None."""
    encoder, decoder = shutil.which("c2enc"), shutil.which("c2dec")
    if encoder and decoder:
        return Programs(Path(encoder), Path(decoder), None)
    return _fetched(home() / "tools" / "codec2")


def get_codec2() -> Programs:
    """Fetch Codec 2 from Debian, unless it is there, and return its programs.

    Raises:
        OSError: it cannot be fetched; nothing half-made stays.
    """
    if (found := codec2_programs()) is not None:
        return found
    folder = home() / "tools" / "codec2"
    with replacing_set(folder) as made:
        if (found := _fetched(folder)) is not None:  # by another process that was waited for
            return found
        fetch_debian(["codec2", _library()], made)
        if _fetched(made) is None:
            raise OSError("the Debian packages of codec2 hold no c2enc, c2dec and libcodec2")
        remove(folder)  # what is there lacks one of them
    programs = _fetched(folder)
    assert programs is not None
    return programs


def _library() -> str:
    """Name of the library package that the system's codec2 package depends on."""
    if shutil.which("apt-cache") is None:
        return LIBRARY
    found = subprocess.run(["apt-cache", "depends", "codec2"], capture_output=True, text=True)
    name = re.search(r"libcodec2-[\w.+-]+", found.stdout)
    return name[0] if name else LIBRARY


def _fetched(folder: Path) -> Programs | None:
    encoder, decoder = folder / "usr/bin/c2enc", folder / "usr/bin/c2dec"
    library = next(iter(sorted(folder.glob("usr/lib/**/libcodec2.so*"))), None)
    if not (encoder.is_file() and decoder.is_file() and library):
        return None
    return Programs(encoder, decoder, library.parent)
