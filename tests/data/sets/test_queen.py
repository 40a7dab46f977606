"""The game's archive is read as described: a tiny one made here gives back its lines."""

import io
import struct

import pytest
import soundfile
import torch

from intaglio.data.manifest import read_manifest
from intaglio.data.sets import get
from intaglio.data.sets.queen import Archive, Line, pieces, script
from intaglio.data.synthetic.audio import speechlike


def string(text: str, align: int = 2, at: int = 0) -> bytes:
    """Length, bytes, and zeros up to the alignment of the place after it; one byte if empty."""
    raw = bytes([len(text)]) + text.encode("cp850")
    return raw + bytes(-(at + len(raw)) % align if text else 0)


def dialogue(talk: int, joe: list[tuple[int, str]], other: list[tuple[int, str]], again) -> bytes:
    levels = -1  # negative in the game for some trees
    start = 32 + 96
    lines, starts = b"", []
    for sentences in (joe, other):
        starts.append(start + len(lines))
        for number, text in sentences:
            at = start + len(lines) + 4
            lines += struct.pack(">hH", 0, number) + string(text, 4, at)
    again_at = start + len(lines)
    for text in again:
        lines += string(text, 2, start + len(lines))
    head = struct.pack(">hhhhh", levels, 0, talk, len(joe), len(other)).ljust(22, b"\0")
    head += struct.pack(">HHH", starts[1], 0, again_at)
    return bytes(20) + head.ljust(start, b"\0") + lines


def cut_scene(sentences: list[str]) -> bytes:
    head = bytes(2) + struct.pack(">hHHH", -len(sentences), 0, 0, 10)
    body = head + string("queen", 2, len(head))
    for sentence in sentences:
        body += string(sentence, 2, len(body))
    return bytes(20) + body


def archive(files: dict[str, bytes]) -> bytes:
    head = b"QTBL" + b"PEM10v" + bytes(2) + b"\1" + struct.pack(">H", len(files))
    offset = len(head) + 21 * len(files)
    table, body = b"", b""
    for name, content in files.items():
        place = struct.pack(">BII", 1, offset + len(body), len(content))
        table += name.encode().ljust(12, b"\0") + place
        body += content
    return head + table + body


@pytest.fixture(scope="module")
def sound() -> bytes:
    wave = speechlike(11_025, 11_025, torch.Generator().manual_seed(0))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.numpy(), 11_025, format="MP3")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content(sound) -> bytes:
    remarks = ["Jungle", "It is green.*01 Very green.", "Parrot"]
    remarks += [f"It doesn't seem to open {number}" for number in range(1, 41)]
    talk = dialogue(
        7,
        [(0, "Hello."), (0x1A, "Bye*XY100,200,31 for now.")],
        [(5, "Grüß *AAdich!")],
        ["Hm.", "Ha."],
    )
    sparky = dialogue(8, [(3, "What?")], [(4, "Mumble.")], ["Mm.", ""])
    files = {
        "BOB2.DOG": talk,
        "SPARKY.DOG": sparky,
        "C1A.CUT": cut_scene(["First.", "*", "#note", "Fourth*AB and on."]),
        "QUEEN2.JAS": "\r\n".join(remarks).encode("cp850"),
    }
    spoken = ["07SSSSJ1", "07001AJ1", "07001AJ2", "070005P1", "070005P2", "07XXXXP1", "07XXXXJ1"]
    spoken += ["080003J1", "080004P1", "C1A__011", "C1A__041", "C1A__042"]
    spoken += ["JOE00021", "JOE00421", "JOE00422", "UNKNOWN1"]
    return archive(files | {f"{name}.SB": sound for name in spoken})


def test_lines_are_joined_with_their_sounds(content):
    assert script(Archive(content)) == {
        "07001AJ1": Line("JOE", "Bye"),
        "07001AJ2": Line("JOE", "for now."),
        "070005P1": Line("BOB", "Grüß"),
        "070005P2": Line("BOB", "dich!"),
        "07SSSSJ1": Line("JOE", "Hello."),
        "07XXXXJ1": Line("JOE", "Ha."),
        "07XXXXP1": Line("BOB", "Hm."),
        "080003J1": Line("JOE", "What?"),
        "C1A__011": Line("SCENE", "First."),
        "C1A__041": Line("SCENE", "Fourth"),
        "C1A__042": Line("SCENE", "and on."),
        "JOE00021": Line("JOE", "It doesn't seem to open 2"),
        "JOE00421": Line("JOE", "It is green."),
        "JOE00422": Line("JOE", "Very green."),
    }


def test_a_sound_with_two_texts_is_left_out(sound):
    remarks = "\n".join(f"It doesn't seem to open {number}" for number in range(1, 41)).encode()
    trees = [dialogue(7, [(1, "One."), (2, word)], [], ["", ""]) for word in ("Two.", "Too.")]
    files = {"A.DOG": trees[0], "B.DOG": trees[1], "QUEEN2.JAS": remarks}
    made = archive(files | {"070001J1.SB": sound, "070002J1.SB": sound})
    assert script(Archive(made)) == {"070001J1": Line("JOE", "One.")}


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("Whole.", ["Whole."]),
        ("One*AA two*BB", ["One", " two", ""]),
        ("One*XY12345678901 two", ["One", " two"]),
        ("*AAOne", ["", "One"]),
        ("One*", ["One", ""]),
    ],
)
def test_pieces(sentence, parts):
    assert pieces(sentence) == parts


def test_the_set_keeps_the_mp3_files(debian, content, sound):
    name = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
    rights = "usr/share/doc/flight-of-the-amazon-queen/copyright"
    debian.offer("flight-of-the-amazon-queen", {name: content, rights: b"play it"})
    folder = get("speech-queen")
    records = read_manifest(folder / "manifest.jsonl")
    assert len(records) == 14 and "play it" in (folder / "LICENSE.txt").read_text()
    assert {record.path for record in records if record.speaker == "BOB"} == {
        "BOB/070005P1.mp3",
        "BOB/070005P2.mp3",
        "BOB/07XXXXP1.mp3",
    }
    for record in records:
        assert (folder / record.path).read_bytes() == sound
        assert record.seconds == 1.0 and record.language == "en"


@pytest.mark.parametrize("kept", [0, 3, 14, 15, 30, 200, 1_500])
def test_cut_archives_are_refused(content, kept):
    with pytest.raises(ValueError, match="archive"):
        script(Archive(content[:kept]))


def test_damaged_texts_are_refused(sound):
    with pytest.raises(ValueError, match="damaged"):
        script(Archive(archive({"A.DOG": bytes(30)})))
    with pytest.raises(ValueError, match="damaged"):
        script(Archive(archive({"A.SB": sound})))
    with pytest.raises(ValueError, match="lacks the responses"):
        script(Archive(archive({"QUEEN2.JAS": b"nothing"})))
