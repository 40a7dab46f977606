"""Manifests keep what is written, refuse what is no record, and split without leaks."""

import random

import pytest

from intaglio.data.manifest import (
    Record,
    read_manifest,
    source_key,
    split_of,
    write_manifest,
)

RECORDS = [
    Record("a/1.wav", 1.5, "Grüezi “mitenand”\nline", "eva", "gsw"),
    Record("b.flac"),
    Record("c.flac", 2.0, source="book"),
]


def test_what_is_written_is_read_back(tmp_path):
    write_manifest(tmp_path / "m.jsonl", RECORDS)
    assert read_manifest(tmp_path / "m.jsonl") == RECORDS
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    write_manifest(tmp_path / "m.jsonl", RECORDS)

    def failing():
        yield RECORDS[0]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_manifest(tmp_path / "m.jsonl", failing())
    assert read_manifest(tmp_path / "m.jsonl") == RECORDS
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_foreign_keys_and_empty_lines_are_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('\n{"path": "a.wav", "snr": 3, "text": null, "seconds": 2}\n\n')
    assert read_manifest(path) == [Record("a.wav", 2.0)]


def test_a_number_is_the_name_of_a_class(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "a", "label": 0}\n{"path": "b", "label": 12}')
    assert [record.label for record in read_manifest(path)] == ["0", "12"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('"a.wav"', 'object with a "path"'),
        ('{"text": "hi"}', 'object with a "path"'),
        ('{"path": 3}', 'object with a "path"'),
        ('{"path": ""}', 'empty "path"'),
        ('{"path": "a", "seconds": "1"}', "must be a number, got '1'"),
        ('{"path": "a", "seconds": true}', "must be a number"),
        ('{"path": "a", "seconds": -1}', "at least 0, got -1"),
        ('{"path": "a", "seconds": NaN}', "at least 0, got nan"),
        ('{"path": "a", "text": ["hi"]}', '"text" must be text'),
        ('{"path": "a", "text": false}', '"text" must be text, got False'),
        ('{"path": "a", "speaker": 0}', '"speaker" must be text, got 0'),
        ('{"path": "a", "label": 1.5}', '"label" must be text, got 1.5'),
        ('{"path": "a", "label": false}', '"label" must be text, got False'),
        ('{"path": "a", "seconds": 1e999}', "at least 0, got inf"),
        (f'{{"path": "a", "seconds": {10**400}}}', "at least 0, got 1000"),
    ],
)
def test_errors_name_the_line(tmp_path, line, message):
    path = tmp_path / "m.jsonl"
    path.write_text('{"path": "a.wav"}\n' + line + "\n")
    with pytest.raises(ValueError, match=f"m.jsonl, line 2: .*{message}") as caught:
        read_manifest(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_manifest(tmp_path / "m.jsonl")


def test_the_source_is_the_text_and_else_the_path():
    assert source_key(Record("a.wav", text="Hello.", source="tape 3")) == "tape 3"
    assert source_key(Record("a.wav", text="Hello.")) == "Hello."
    assert source_key(Record("x/a.wav", text=" … ")) == "x/a"
    assert source_key(Record("x/a.flac")) == source_key(Record("x/a.wav"))


def test_the_same_words_fall_on_the_same_side():
    for number in range(200):
        text = f"Sentence number {number}, spoken."
        twin = f"  sentence NUMBER {number} spoken!"
        assert split_of(text, (0.3, 0.3)) == split_of(twin, (0.3, 0.3))


def test_shares_are_kept_and_seeds_differ():
    names = [f"clip {number}" for number in range(4_000)]
    sides = [split_of(name, (0.2, 0.1), seed=1) for name in names]
    assert abs(sides.count("validation") / 4_000 - 0.2) < 0.025  # four standard deviations
    assert abs(sides.count("test") / 4_000 - 0.1) < 0.019
    other = [split_of(name, (0.2, 0.1), seed=2) for name in names]
    assert 0.3 < sum(a != b for a, b in zip(sides, other, strict=True)) / 4_000 < 0.6
    shuffled = random.sample(names, len(names))
    assert {name: split_of(name, (0.2, 0.1), seed=1) for name in shuffled} == dict(
        zip(names, sides, strict=True)
    )


def test_the_split_is_the_same_for_ever():
    """Changing this golden row would move clips of everybody's test sets into training."""
    sides = "".join(split_of(f"golden {number}", (0.25, 0.25), seed=3)[1] for number in range(24))
    assert sides == "eearrrearrrrarerrarrrrer"


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_are_refused(fractions):
    with pytest.raises(ValueError, match="shares"):
        split_of("a", fractions)
