"""``intaglio info``: the numbers are right, for token files, bundles and checkpoints."""

import hashlib
import json
import math
import re
from pathlib import Path

import pytest
import torch

from intaglio.codecs import AudioCodec, load
from intaglio.codecs.bundle import fingerprint, save
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.spectral import SpectralEncoder
from intaglio.codecs.part import build, describe
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.data.formats.shards import ShardRow, ShardWriter, write_row
from intaglio.data.formats.tokens import TokenHeader, write_tokens
from intaglio.generators import load as load_generator


@pytest.fixture
def tokens(tmp_path):
    """Two seconds of two groups, one with four equally frequent ids, one with a single id."""
    ids = torch.stack([torch.arange(100) % 4, torch.full((100,), 6)], 1)
    header = TokenHeader("tïny", "ab" * 16, (4096, 7), 100, 16000, 320, 1, 32000, {"by": "\x1b"})
    path = tmp_path / "a.intaglio"
    with path.open("wb") as file:
        write_tokens(file, header, ids)
    return path


def test_names_do_not_steer_the_terminal(intaglio, tiny_codec, tmp_path):
    tiny_codec.name = tiny_codec.init_args["name"] = "tiny\x1b[2J\u202e"
    status, out, err = intaglio("info", save(tiny_codec, tmp_path / "bundle"))
    assert (status, err) == (0, "") and r"tiny\x1b[2J\u202e" in out
    assert out.replace("\n", "").isprintable()


def test_a_token_file(intaglio, tokens):
    status, out, err = intaglio("info", tokens, "--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["codec"] == "tïny" and facts["fingerprint"] == "ab" * 16
    assert (facts["positions"], facts["groups"], facts["vocab"]) == (100, 2, [4096, 7])
    assert (facts["sample_rate"], facts["seconds"], facts["frame_rate"]) == (16000, 2.0, 50.0)
    assert facts["nominal_bits_per_second"] == pytest.approx(50 * (12 + math.log2(7)))
    assert facts["bytes"] == tokens.stat().st_size
    assert facts["actual_bits_per_second"] == 4 * facts["bytes"]
    assert facts["distinct_ids"] == [4, 1]
    assert facts["perplexity"] == pytest.approx([4, 1])


def test_a_token_file_with_scale_and_entropy_coding(intaglio, tmp_path):
    ids = (torch.arange(60_000) % 50 == 0).long()[:, None]
    header = TokenHeader("c", "ab" * 16, (8,), 60_000, 16000, 320, 1, 16000 * 1200, {})
    with (tmp_path / "a.intaglio").open("wb") as file:
        write_tokens(file, header._replace(coding="range", scale=(0.5, 2.0)), ids)
    facts = json.loads(intaglio("info", tmp_path / "a.intaglio", "--json").out)
    assert (facts["coding"], facts["scales"]) == ("range", 2)
    assert facts["distinct_ids"] == [2]
    entropy = -0.02 * math.log(0.02) - 0.98 * math.log(0.98)
    assert facts["perplexity"] == pytest.approx([math.exp(entropy)])
    assert facts["actual_bits_per_second"] < 0.1 * facts["nominal_bits_per_second"]


@pytest.fixture
def shard(tokens, tmp_path):
    """Three samples, the last without tokens, and their row."""
    path = tmp_path / "000.tar"
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for key in "ab":
            writer.add(key, {"intaglio": tokens.read_bytes(), "txt": b"so"})
        writer.add("c", {"txt": b"so"})
        writer.close()
    data = path.read_bytes()
    about = {"damaged": [{"name": "d.wav", "reason": "empty"}]}
    row = ShardRow("000.tar", 3, len(data), hashlib.sha256(data).hexdigest(), about)
    write_row(path, row)
    return path


def test_a_shard(intaglio, shard):
    facts = json.loads(intaglio("info", shard, "--json").out)
    assert facts["kind"] == "shard (.tar)" and facts["checksum"] == "good"
    assert (facts["samples"], facts["damaged_inputs"]) == (3, 1)
    assert facts["files"] == {"intaglio": 2, "txt": 3}
    assert facts["codecs"] == [f"tïny ({'ab' * 16})"]
    assert (facts["positions"], facts["seconds"]) == (200, 4.0)
    shard.with_suffix(".json").unlink()
    assert json.loads(intaglio("info", shard, "--json").out)["checksum"].startswith("none")


def test_a_shard_without_tokens_has_no_zeros_of_them(intaglio, tmp_path):
    path = tmp_path / "drawn.tar"
    with path.open("wb") as file:
        writer = ShardWriter(file)
        writer.add("a", {"png": b"pixels", "json": b"{}"})
        writer.close()
    facts = json.loads(intaglio("info", path, "--json").out)
    assert (facts["samples"], facts["files"]) == (1, {"json": 1, "png": 1})
    assert not facts.keys() & {"codecs", "positions", "seconds"}


def test_a_name_shows_all_that_comes_with_it(intaglio, bundle, in_tmp_path):
    codec, generator = json.loads(intaglio("info", "emoji", "--json").out)
    assert (codec["codec"], generator["generator"]) == ("image_small", "llamagen")
    assert generator["codec_fingerprint"] == codec["fingerprint"]
    assert codec["weights"] == generator["weights"] == "float16 in the file, float32 in memory"
    assert Path(codec["card"]).is_file()
    save(load(bundle), in_tmp_path / "emoji")  # the user's own goes before
    assert json.loads(intaglio("info", "emoji", "--json").out)["codec"] == "tiny"


def test_a_damaged_shard_is_one_line(refusal, shard, tokens):
    data = bytearray(shard.read_bytes())
    data[data.find(tokens.read_bytes()) + 300] ^= 1
    shard.write_bytes(data)
    assert "SHA-256" in refusal("info", shard)
    shard.with_suffix(".json").unlink()
    line = refusal("info", shard)
    assert "000.tar, a.intaglio: damaged" in line


def test_the_table_says_the_same(intaglio, tokens):
    status, out, _ = intaglio("info", tokens)
    rows = dict(line.split("  ", 1) for line in out.splitlines())
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert status == 0 and rows["codec"] == "tïny"
    assert rows["vocab"] == "4,096 7" and rows["seconds"] == "2.00"
    assert "\x1b" not in out  # nothing of a stranger's file controls the terminal


def test_a_bundle(intaglio, bundle):
    codec = load(bundle)
    status, out, _ = intaglio("info", bundle, "--json")
    facts = json.loads(out)
    assert status == 0 and facts["kind"] == "bundle" and facts["checksum"] == "good"
    assert (facts["codec"], facts["fingerprint"]) == ("tiny", codec.fingerprint)
    assert (facts["sample_rate"], facts["hop_length"], facts["vocab"]) == (8000, 20, [63])
    assert facts["nominal_bits_per_second"] == pytest.approx(400 * math.log2(63))
    parts = [facts[f"{part}_parameters"] for part in ("encoder", "quantizer", "decoder")]
    assert facts["parameters"] == sum(parts) == sum(p.numel() for p in codec.parameters())
    assert facts["bytes"] == sum(file.stat().st_size for file in bundle.iterdir())


def test_a_checkpoint(intaglio, bundle, tmp_path):
    codec = build(describe(load(bundle)))  # not folded, as in a training run
    state = {f"codec.{name}": tensor for name, tensor in codec.state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save({"hyper_parameters": {"codec": describe(codec)}, "state_dict": state}, path)
    status, out, _ = intaglio("info", path, "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["kind"] == "training checkpoint" and facts["fingerprint"] == codec.fingerprint


def test_a_generator_says_what_it_draws_and_of_which_codec(
    intaglio, generator_bundle, image_bundle, tmp_path
):
    generator = load_generator(generator_bundle)
    facts = json.loads(intaglio("info", generator_bundle, "--json").out)
    assert (facts["kind"], facts["generator"], facts["checksum"]) == (
        "bundle",
        "tiny pipeline",
        "good",
    )
    assert facts["fingerprint"] == fingerprint(generator)
    assert facts["class"] == "intaglio.generators.generator.Generator"
    assert (facts["order"], facts["head"]) == ("RasterOrder", "CategoricalHead")
    assert (facts["condition"], facts["vocab"]) == ("ClassCondition", [512])
    assert (facts["shape"], facts["positions"], facts["groups"]) == ([4, 4], 16, 1)
    assert facts["parameters"] == sum(p.numel() for p in generator.parameters())
    codec = load(image_bundle)
    assert (facts["codec"], facts["codec_fingerprint"]) == (codec.name, codec.fingerprint)
    assert (facts["classes"], facts["class_names"]) == (3, ["cat", "dog", "tree"])
    # as a checkpoint of a training with the codec's path among the arguments
    state = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    arguments = {"generator": describe(generator), "codec": str(image_bundle)}
    torch.save({"hyper_parameters": arguments, "state_dict": state}, tmp_path / "a.ckpt")
    trained = json.loads(intaglio("info", tmp_path / "a.ckpt", "--json").out)
    assert trained["kind"] == "training checkpoint"
    assert {**trained, "kind": 0, "bytes": 0, "checksum": 0} == {
        **facts,
        "kind": 0,
        "bytes": 0,
        "checksum": 0,
    }


def test_a_generator_before_its_training_and_with_many_classes(
    intaglio, generator_bundle, tmp_path
):
    generator = load_generator(generator_bundle)
    many = tuple(f"class {number}" for number in range(30))
    generator.provenance = generator.provenance._replace(classes=many)
    out = intaglio("info", save(generator, tmp_path / "many")).out
    assert "class 19 … and 10 more" in out and "class 20" not in out
    generator.provenance = None
    facts = json.loads(intaglio("info", save(generator, tmp_path / "new"), "--json").out)
    assert facts["trained_on"] == "nothing yet" and "codec" not in facts


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.wav", b"RIFF....WAVE", "not a token file"),
        ("a.intaglio", b"", "truncated: it is empty"),
        ("a.ckpt", b"junk", "no readable training checkpoint"),
        ("gone", None, "there is no such file"),
        ("gone.ckpt", None, "there is no codec or generator at"),
    ],
)
def test_what_cannot_be_read_is_one_line(refusal, tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    line = refusal("info", tmp_path / name)
    assert reason in line and name in line


def test_a_folder_that_is_no_bundle_is_one_line(refusal, tmp_path):
    assert "is no bundle" in refusal("info", tmp_path)


def test_a_damaged_token_file_is_one_line(refusal, tokens):
    tokens.write_bytes(tokens.read_bytes() + b"\0")
    assert "1 bytes follow its end" in refusal("info", tokens)


@pytest.mark.parametrize(
    ("causal", "said"),
    [
        (True, r"\(20 \+ 30\) samples / 1000 Hz = 50.0 ms of latency, 40.0 ms until the first"),
        (False, "no: it is not causal"),
    ],
)
def test_the_latency_of_a_stream(causal, said, intaglio, tmp_path):
    codec = AudioCodec(
        SpectralEncoder(8, 10, (2,), num_layers=(1, 1), n_fft=40, width=8, causal=causal),
        FSQ(8, (5, 5)),
        VocosDecoder(
            8,
            32,
            intermediate=32,
            num_layers=1,
            hop_length=20,
            n_fft=80,
            attention=False,
            causal=causal,
        ),
        sample_rate=1000,
    )
    _, out, _ = intaglio("info", save(codec, tmp_path / "bundle"))
    assert re.search(f"streaming +{said}", out)
