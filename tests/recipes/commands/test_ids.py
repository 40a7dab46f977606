"""``intaglio ids``: token files and shards as ids for a language model, with nothing lost."""

import io
import json
import os
import sys
from hashlib import sha256
from pathlib import Path

import numpy
import pytest
import torch

from intaglio.data.formats.shards import ShardRow, ShardWriter, row_text, write_row
from intaglio.data.formats.tokens import TokenHeader, write_tokens

VOCAB = (4096, 7)
IDS = {"a": torch.tensor([[5, 6], [4095, 0]]), "b": torch.tensor([[0, 1]])}
FLAT = {"a": [5, 4102, 4095, 4096], "b": [0, 4097]}
END = 4103


def token_file(ids, fingerprint="ab" * 16, vocab=VOCAB):
    file = io.BytesIO()
    header = TokenHeader("c", fingerprint, vocab, len(ids), 16000, 320, 1, 320 * len(ids), {})
    write_tokens(file, header, ids)
    return file.getvalue()


@pytest.fixture
def folder(in_tmp_path):
    """A token file and a shard with another, which knows its text."""
    (in_tmp_path / "tokens").mkdir()
    (in_tmp_path / "tokens" / "a.intaglio").write_bytes(token_file(IDS["a"]))
    with (in_tmp_path / "tokens" / "b.tar").open("wb") as file:
        writer = ShardWriter(file)
        about = json.dumps({"text": "grün"}).encode()
        writer.add("b", {"intaglio": token_file(IDS["b"]), "json": about})
        writer.close()
    return in_tmp_path


@pytest.fixture
def listed_set(in_tmp_path):
    """Two shards, one in a sub-folder, with their rows and the list of these."""
    lines = []
    for name, key in (("set/000000.tar", "a"), ("set/sub/000001.tar", "b")):
        shard = in_tmp_path / name
        shard.parent.mkdir(parents=True, exist_ok=True)
        with shard.open("wb") as file:
            writer = ShardWriter(file)
            writer.add(key, {"intaglio": token_file(IDS[key])})
            writer.close()
        row = ShardRow(
            shard.name, 1, shard.stat().st_size, sha256(shard.read_bytes()).hexdigest(), {}
        )
        write_row(shard, row)
        lines.append(row_text(row) + "\n")
    (in_tmp_path / "set" / "shards.jsonl").write_text("".join(lines))
    return in_tmp_path / "set"


def test_an_array_has_all_items_and_their_ends(intaglio, folder):
    status, out, err = intaglio("ids", "tokens", "-o", "ids.npy")
    assert status == 0 and out.startswith("2 items, 8 ids below 4,104 in ids.npy"), err
    ids = numpy.load("ids.npy", mmap_mode="r")
    assert ids.dtype == numpy.uint16 and ids.tolist() == [*FLAT["a"], END, *FLAT["b"], END]
    card = json.loads((folder / "ids.json").read_text())
    assert card == {
        **{"codec": "c", "fingerprint": "ab" * 16, "vocab": list(VOCAB), "offsets": [0, 4096]},
        **{"end": END, "vocab_size": END + 1, "items": 2, "ids": 8},
    }


def test_the_lines_of_the_document_make_batches(intaglio, in_tmp_path):
    (in_tmp_path / "a.intaglio").write_bytes(token_file(torch.arange(8000).view(4000, 2) % 7))
    assert intaglio("ids", "a.intaglio", "-o", "ids.npy").status == 0
    document = (Path(__file__).parents[3] / "docs" / "language_models.md").read_text()
    names = {}
    exec(document.partition("```text\n")[2].partition("```")[0], names)
    assert names["inputs"].shape == names["targets"].shape == (8, 1024)
    assert torch.equal(names["inputs"][:, 1:], names["targets"][:, :-1])


@pytest.mark.parametrize(("size", "kind"), [(1 << 17, "uint32"), (1 << 32, "uint64")])
def test_ids_take_the_bits_that_their_vocabulary_needs(intaglio, in_tmp_path, size, kind):
    ids = torch.tensor([[size - 1]])
    (in_tmp_path / "a.intaglio").write_bytes(token_file(ids, vocab=(size,)))
    assert intaglio("ids", "a.intaglio", "-o", "ids.npy").status == 0
    ids = numpy.load("ids.npy")
    assert ids.dtype == kind and ids.tolist() == [size - 1, size]
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'intaglio[parquet]'")
    assert intaglio("ids", "a.intaglio", "-o", "ids.parquet").status == 0
    assert parquet.read_table("ids.parquet").to_pylist()[0]["ids"] == [size - 1]


def test_a_table_has_a_row_for_each_item(intaglio, folder):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'intaglio[parquet]'")
    status, _, err = intaglio("ids", "tokens", "-o", "ids.parquet")
    assert status == 0, err
    table = parquet.read_table("ids.parquet")
    rows = table.to_pylist()
    assert {row["key"]: row["ids"] for row in rows} == FLAT
    assert [json.loads(row["about"]) for row in rows] == [{}, {"text": "grün"}]
    assert json.loads(table.schema.metadata[b"intaglio"])["end"] == END


def test_tokens_of_two_codecs_are_refused_and_nothing_stays(refusal, folder):
    (folder / "tokens" / "c.intaglio").write_bytes(token_file(IDS["b"], "cd" * 16))
    line = refusal("ids", "tokens", "-o", "ids.npy")
    assert line.startswith("c was made with c (cdcd") and "one codec" in line
    assert [path.name for path in folder.iterdir()] == ["tokens"]


def test_a_damaged_record_is_named(refusal, folder):
    with (folder / "tokens" / "b.tar").open("wb") as file:
        writer = ShardWriter(file)
        writer.add("b", {"intaglio": token_file(IDS["b"]), "json": b"[" * 100_000})
        writer.close()
    line = refusal("ids", "tokens", "-o", "ids.npy")
    assert line.startswith("tokens/b.tar, b.intaglio: a damaged record: ")


def test_damage_is_named(refusal, folder):
    path = folder / "tokens" / "a.intaglio"
    path.write_bytes(path.read_bytes()[:-1])
    assert refusal("ids", "tokens", "-o", "ids.npy").startswith("tokens/a.intaglio: ")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["tokens", "-o", "ids.txt"], "not .txt"),
        (["nothing", "-o", "ids.npy"], "nothing"),
        (["tokens", "-o", "no/ids.npy"], "there is no folder no"),
        (["tokens", "-o", "old.npy"], "--overwrite"),
        (["tokens", "-o", "scores.npy"], "scores.json exists"),
        (
            ["tokens", "-o", "tokens/b.npy"],
            "tokens/b.json is for the row of the shard tokens/b.tar",
        ),
        (["tokens", "-o", "tokens/b.npy", "--overwrite"], "row of the shard"),
        (["tokens/a.intaglio", "-o", "link.npy", "--overwrite"], "the input itself"),
        (["tokens", "-o", "folder.npy", "--overwrite"], "is a folder"),
    ],
)
def test_wrong_words(refusal, folder, words, reason):
    for name in ("old.npy", "scores.json"):
        (folder / name).write_bytes(b"mine")
    (folder / "link.npy").symlink_to("tokens/a.intaglio")
    (folder / "folder.npy").mkdir()
    before = sorted(folder.rglob("*"))
    assert reason in refusal("ids", *words)
    assert (folder / "old.npy").read_bytes() == (folder / "scores.json").read_bytes() == b"mine"
    assert sorted(folder.rglob("*")) == before


def test_overwrite_replaces_both_files(intaglio, folder):
    for name in ("ids.npy", "ids.json", "other"):
        (folder / name).write_bytes(b"old")
    assert intaglio("ids", "tokens", "-o", "ids.npy", "--overwrite").status == 0
    assert len(numpy.load("ids.npy")) == json.loads((folder / "ids.json").read_text())["ids"] == 8
    assert (folder / "other").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("sub/000001.json", "sub/000001.json is missing, set/shards.jsonl lists it"),
        ("sub/000001.tar", "sub/000001.tar is missing, its row set/sub/000001.json is there"),
        (["sub/000001.tar", "sub/000001.json"], "000001.tar is missing, set/shards.jsonl lists it"),
        (["shards.jsonl", "000000.tar"], "set/000000.tar is missing, its row"),
        ("shards.jsonl", "000000.tar has a row, but no shards.jsonl lists it: the set is not fin"),
    ],
)
def test_sets_that_are_not_whole_are_refused(intaglio, refusal, folder, listed_set, lost, reason):
    assert intaglio("ids", "set", "-o", "whole.npy").status == 0
    assert len(numpy.load("whole.npy")) == 8
    for name in [lost] if isinstance(lost, str) else lost:
        (listed_set / name).unlink()
    assert reason in refusal("ids", "set", "-o", "ids.npy")
    assert not (folder / "ids.npy").exists()


def test_shards_of_two_sets_are_refused(refusal, listed_set):
    rows = listed_set / "shards.jsonl"
    rows.write_text(rows.read_text().replace('"samples": 1', '"samples": 2'))
    assert "000000.json is not as listed in set/shards.jsonl" in refusal(
        "ids", "set", "-o", "x.npy"
    )
    rows.write_text("")
    assert "set/000000.tar is not listed in set/shards" in refusal("ids", "set", "-o", "x.npy")


def test_names_that_are_no_text_are_escaped_in_a_table(intaglio, in_tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'intaglio[parquet]'")
    (in_tmp_path / "tokens").mkdir()
    name = os.fsdecode(b"bad\xff")
    (in_tmp_path / "tokens" / f"{name}.intaglio").write_bytes(token_file(IDS["a"]))
    with (in_tmp_path / "tokens" / "b.tar").open("wb") as file:
        writer = ShardWriter(file)
        about = json.dumps({"path": f"{name}.wav", "text": "grün"}).encode()
        writer.add("b", {"intaglio": token_file(IDS["b"]), "json": about})
        writer.close()
    status, _, err = intaglio("ids", "tokens", "-o", "ids.parquet")
    assert status == 0, err
    rows = {row["key"]: row["about"] for row in parquet.read_table("ids.parquet").to_pylist()}
    assert rows.keys() == {r"bad\udcff", "b"} and "grün" in rows["b"]
    assert json.loads(rows["b"])["path"] == f"{name}.wav"


def test_a_missing_pyarrow_is_asked_for_first(refusal, in_tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = refusal("ids", "never read", "-o", "ids.parquet")
    assert "pip install 'intaglio[parquet]'" in line and list(in_tmp_path.iterdir()) == []
