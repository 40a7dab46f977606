"""Telephone prompts, clean wide-band studio speech with its text, in five languages.

The recordings of the Asterisk telephone exchange as Debian ships them: G.722 (real 16 kHz), one
speaker a language; the English and the Spanish speaker are the same woman. Silence, beeps and clips
without text are left out.
"""

import gzip
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from intaglio.data.formats.wave import read_wave, write_wave
from intaglio.data.manifest import Record
from intaglio.data.sets.base import RealSet, write_licence
from intaglio.data.sets.packages import debian_copyright, fetch_debian

LICENCE = "CC BY-SA 3.0"
LANGUAGES = ("en", "es", "fr", "it", "ru")
ANNOTATION = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")


def english(folder: Path) -> Iterator[Record]:
    """Write the English clips into ``folder``, one record each."""
    return _build(folder, ("en",))


def all_languages(folder: Path) -> Iterator[Record]:
    """Write the clips of all languages into ``folder``, one record each."""
    return _build(folder, LANGUAGES)


PROMPTS = RealSet(
    name="speech-prompts",
    about="English telephone prompts with text, one speaker, studio, 16 kHz",
    licence=LICENCE,
    source="Debian asterisk-core-sounds-en, asterisk-core-sounds-en-g722",
    items=551,
    minutes=24.3,
    megabytes=11,
    build=english,
)
ALL_PROMPTS = RealSet(
    name="speech-prompts-all",
    about="the same in English, Spanish, French, Italian, Russian; 4 speakers",
    licence=f"{LICENCE}, Russian CC BY 3.0",
    source="Debian asterisk-core-sounds-{en,es,fr,it,ru} and -g722",
    items=2673,
    minutes=123.1,
    megabytes=54,
    build=all_languages,
)


def read_texts(path: Path) -> dict[str, str]:
    """Spoken texts by clip name from a gzipped list of ``name: text`` lines.

    Notes in brackets are not spoken and are cut out; a name whose text is nothing but a note, such
    as a beep, is left out. Of two texts for one name the first counts.
    """
    texts: dict[str, str] = {}
    for line in gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines():
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            texts.setdefault(name.strip(), " ".join(ANNOTATION.sub(" ", text).split()))
    return {name: text for name, text in texts.items() if any(c.isalnum() for c in text)}


def _build(folder: Path, languages: tuple[str, ...]) -> Iterator[Record]:
    packages = [
        f"asterisk-core-sounds-{language}{end}" for language in languages for end in ("", "-g722")
    ]
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=folder) as temporary:
        unpacked = Path(temporary)
        fetch_debian(packages, unpacked)
        rights = debian_copyright(unpacked, packages[0])
        write_licence(folder, LICENCE, f"the Debian packages {', '.join(packages)}", rights)
        for language in languages:
            yield from _language(folder, unpacked, language)


def _language(folder: Path, unpacked: Path, language: str) -> Iterator[Record]:
    package = f"asterisk-core-sounds-{language}"
    texts = read_texts(unpacked / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz")
    for voice in sorted((unpacked / "usr/share/asterisk/sounds").glob(f"{language}_*")):
        for clip in sorted(voice.rglob("*.g722")):
            name = clip.relative_to(voice).with_suffix("").as_posix()
            if name not in texts:
                continue
            wave, rate = read_wave(clip)
            path = f"{language}/{name}.flac"
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_wave(folder / path, wave, rate)
            seconds = round(wave.shape[1] / rate, 4)
            speaker = voice.name.rpartition("_")[2].lower()
            yield Record(path, seconds, texts[name], speaker, language)
