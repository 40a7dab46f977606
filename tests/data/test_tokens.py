"""Token shards as training data: views of an image, classes, sides of the split, and mixtures."""

import io
import itertools
import json

import pytest
import torch

from intaglio.data.formats.shards import ShardWriter
from intaglio.data.formats.tokens import Extent, image_header, write_tokens
from intaglio.data.manifest import Record
from intaglio.data.tokens import TokenItems, TokenShards, collate_tokens, read_token_set


def token_file(ids, vocab=(40,), fingerprint="f" * 32, grid=(2, 3), view=None):
    header = image_header(
        "tiny",
        fingerprint,
        vocab=vocab,
        positions=len(ids),
        hop_length=4,
        picture=Extent(4 * grid[0] or 8, 4 * grid[1] or 12, *grid),
        extras={} if view is None else {"view": str(view)},
    )
    file = io.BytesIO()
    write_tokens(file, header, ids)
    return file.getvalue()


@pytest.fixture
def shard(tmp_path):
    def write(name, samples):
        with (tmp_path / name).open("wb") as file:
            writer = ShardWriter(file)
            for key, files in samples.items():
                writer.add(key, files)
            writer.close()
        return tmp_path

    return write


@pytest.mark.parametrize(
    "files",
    [
        {"txt": "Käse".encode("latin-1")},
        *({"json": text} for text in (b"{", b"[1]", b"7", b'{"text": 3}', b'{"path": 3}')),
        *({"json": text} for text in (b'{"path": ""}', b'{"label": [1]}', b'{"seconds": "a"}')),
    ],
)
def test_a_damaged_text_next_to_tokens_is_named(shard, files):
    folder = shard("a.tar", {"x": {"intaglio": token_file(torch.zeros(6, 1).long())} | files})
    with pytest.raises(ValueError, match=r"a\.tar: x: a damaged record: "):
        read_token_set(folder)


def ids_of(number, view=0):
    return torch.full((6, 1), (number + 7 * view) % 40)


@pytest.fixture
def shards(shard):
    """30 images of two classes in two shards, two views each."""
    for name, numbers in (("000000.tar", range(20)), ("000001.tar", range(20, 30))):
        samples = {}
        for number in numbers:
            said = {"path": f"{number}.png", "text": f"picture {number}", "label": "ab"[number % 2]}
            for view in range(2):
                samples[f"{number:09}-{view}"] = {
                    "intaglio": token_file(ids_of(number, view), view=view),
                    "json": json.dumps(said).encode(),
                }
        folder = shard(name, samples)
    return folder


def number_of(path):
    return int(path.partition(".")[0])


def test_views_stay_together_and_sides_apart(shards):
    data = TokenShards(str(shards), validation_share=0.2, test_share=0.2, batch_size=4)
    data.setup()
    assert data.source.shape == (2, 3) and data.source.vocab == (40,)
    assert (data.source.codec, data.source.fingerprint) == ("tiny", "f" * 32)
    assert data.classes == ["a", "b"]
    paths = [entry.record.path for side in data.readers.values() for entry in side]
    assert sorted(paths, key=number_of) == [f"{number}.png" for number in range(30)]
    assert all(len(entry.views) == 2 for side in data.readers.values() for entry in side)
    assert all(data.readers.values())
    for loader in (*data.val_dataloader(), *data.test_dataloader()):
        for batch in loader:
            for tokens, label, caption, path in zip(*batch.values(), strict=True):
                number = number_of(path)
                assert torch.equal(tokens, ids_of(number)) and tokens.dtype == torch.int64
                assert label == number % 2 and caption == f"picture {number}"


def test_training_draws_views_by_seed_and_pass(shards):
    data = TokenShards(str(shards), batch_size=5)
    data.setup()
    seen = {}
    for batch in data.train_dataloader():
        assert batch["tokens"].shape == (5, 6, 1) and batch["label"].shape == (5,)
        for tokens, path in zip(batch["tokens"], batch["path"], strict=True):
            number = number_of(path)
            views = [torch.equal(tokens, ids_of(number, view)) for view in range(2)]
            assert sum(views) == 1
            seen[path] = views[1]
    assert 0 < sum(seen.values()) < len(seen)
    items = TokenItems(data.readers["train"], data.labels, seed=0)
    drawn = [collate_tokens([items[number, 3] for number in range(9)]) for _ in range(2)]
    assert torch.equal(drawn[0]["tokens"], drawn[1]["tokens"])
    assert len(drawn[0]["tokens"].unique(dim=0)) == 2


def test_images_of_a_shard_without_records_are_their_keys(shard):
    folder = shard(
        "a.tar",
        {
            "cats/x-0": {"intaglio": token_file(ids_of(1), view=0), "txt": b"a cat\n"},
            "cats/x-1": {"intaglio": token_file(ids_of(2), view=1), "txt": b"a cat\n"},
            "dogs/y-0": {"intaglio": token_file(ids_of(3))},
        },
    )
    _, entries = read_token_set(folder)
    assert [(entry.record.path, entry.record.text) for entry in entries] == [
        ("cats/x", "a cat"),
        ("dogs/y-0", ""),
    ]
    assert [len(entry.views) for entry in entries] == [2, 1]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("shards.jsonl", b"\xff", r"shards\.jsonl is not UTF-8 text"),
        ("shards.jsonl", b"[]", r"shards\.jsonl is damaged: it is no list of rows"),
        ("a.json", b"\xff", r"a\.json is not as listed"),
    ],
)
def test_damaged_lists_of_shards_are_named(shard, name, content, reason):
    folder = shard("a.tar", {"x": {"intaglio": token_file(torch.zeros(6, 1).long())}})
    (folder / "shards.jsonl").write_text('{"shard": "a.tar"}\n')
    (folder / "a.json").write_text('{"shard": "a.tar"}\n')
    assert len(read_token_set(folder)[1]) == 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_token_set(folder)


def test_records_of_other_tools_are_read(shard):
    said = b'{"label": 0, "text": null, "sha256": "7", "speaker": null}'
    tokens = {"intaglio": token_file(torch.zeros(6, 1).long())}
    folder = shard("a.tar", {"x": tokens | {"json": said, "txt": b"a cat"}})
    _, [entry] = read_token_set(folder)
    assert entry.record == Record("x", text="a cat", label="0")


def test_a_sequence_has_a_length_and_large_codebooks_keep_their_ids(shard):
    ids = torch.tensor([[63_999], [40_000], [0]])
    folder = shard("a.tar", {"x": {"intaglio": token_file(ids, (64_000,), grid=(0, 0))}})
    source, (entry,) = read_token_set(folder)
    assert source.shape == (3,) and torch.equal(entry.views[0].long(), ids)


def test_sequences_of_any_length_are_padded_and_masked(shard):
    """Items of 1 to 5 positions: zeros behind each, and a mask of what is there."""
    lengths = [1 + number % 5 for number in range(40)]
    samples = {
        f"{number:03}": {
            "intaglio": token_file(torch.full((length, 1), number % 40), grid=(0, 0)),
            "json": json.dumps({"path": f"{number}.wav"}).encode(),
        }
        for number, length in enumerate(lengths)
    }
    data = TokenShards(str(shard("a.tar", samples)), batch_size=4, validation_share=0.3)
    data.setup()
    assert data.source.shape == (5,) and data.source.any_length
    for batch in itertools.chain(data.train_dataloader(), *data.val_dataloader()):
        numbers = [number_of(path) for path in batch["path"]]
        wanted = torch.tensor([lengths[number] for number in numbers])
        assert batch["mask"].dtype == torch.bool and torch.equal(batch["mask"].sum(1), wanted)
        assert batch["tokens"].shape == (len(numbers), int(wanted.max()), 1)
        for tokens, mask, number in zip(batch["tokens"], batch["mask"], numbers, strict=True):
            assert (tokens[mask] == number % 40).all() and not tokens[~mask].any()
    kept = sum(len(entry.views[0]) for entry in data.readers["train"])
    assert data.training_tokens().shape == (kept, 1)


def test_what_is_no_set_is_refused(shard, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of token shards"):
        TokenShards(str(tmp_path / "nowhere")).setup()
    with pytest.raises(ValueError, match="there are no token shards"):
        TokenShards(str(tmp_path)).setup()
    first = {"intaglio": token_file(ids_of(1))}
    others = {"fingerprint": "0" * 32}, {"grid": (0, 0)}, {"grid": (3, 2)}, {"vocab": (50,)}
    for other in others:
        folder = shard("a.tar", {"x": first, "y": {"intaglio": token_file(ids_of(2), **other)}})
        with pytest.raises(ValueError, match=r"a.tar: y is of tiny .* others of tiny ffffffffffff"):
            TokenShards(str(folder)).setup()
    folder = shard("a.tar", {"x": {"txt": b"no tokens"}})
    with pytest.raises(ValueError, match="x has no tokens; make some with tokenize"):
        TokenShards(str(folder)).setup()
    damaged = bytearray(first["intaglio"])
    damaged[-9] ^= 1
    folder = shard("a.tar", {"x": {"intaglio": bytes(damaged)}})
    with pytest.raises(ValueError, match="a.tar: x: "):
        TokenShards(str(folder)).setup()
    folder = shard("a.tar", {"x": first})
    with pytest.raises(ValueError, match="none of 1 item of .* is for training"):
        TokenShards(str(folder), validation_share=0.0, test_share=0.9999).setup()


def test_conditions_are_counted_where_they_are_trained_on(shards):
    data = TokenShards(str(shards), validation_share=0.2, test_share=0.2, batch_size=4)
    data.setup()
    counts, texts = data.conditions()
    records = [entry.record for entry in data.readers["train"]]
    assert counts == tuple(sum(record.label == name for record in records) for name in "ab")
    assert texts == len(records) < 30
    assert data.summary().startswith(f"{shards}: 30 items of tiny, 2 classes, 30 with a text: ")
