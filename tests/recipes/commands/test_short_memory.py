"""Commands with too little memory go on with smaller batches and blocks, to the same results."""

import os
import subprocess
import sys

import pytest
import torch

from intaglio.codecs import AudioCodec, ImageCodec, load
from intaglio.codecs.bundle import save
from intaglio.codecs.decoders.convnet2d import ConvDecoder
from intaglio.codecs.decoders.vocos import VocosDecoder
from intaglio.codecs.encoders.convnet2d import ConvEncoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.data.formats.shards import read_row, read_shard
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.orders.raster import RasterOrder
from intaglio.recipes.sampling import pipeline
from intaglio.recipes.tokenization import batch_audio, decode_audio, encode_audio

SHORT = "intaglio: memory is short: it goes on with "


def no_memory(*_):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")


@pytest.fixture
def limit(monkeypatch):
    """Let a method of a class fail if ``size`` of its argument is larger than this."""

    def put(kind, name, size, most):
        method = getattr(kind, name)

        def limited(self, values, *args, **options):
            return method(self, values, *args, **options) if size(values) <= most else no_memory()

        monkeypatch.setattr(kind, name, limited)

    return put


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_long_recordings_are_coded_in_smaller_blocks(
    intaglio, record, bundle, limit, tmp_path, monkeypatch
):
    for number in range(3):
        record(tmp_path / "in" / f"{number}.wav", 30_000)

    def coded(name):
        words = ("-o", tmp_path / f"{name}-tokens", "--codec", bundle)
        status, _, err = intaglio("encode", tmp_path / "in", *words)
        assert status == 0, err
        again = intaglio("decode", words[1], "-o", tmp_path / f"{name}-wave", "--codec", bundle)
        assert again.status == 0, again.err
        return content(tmp_path / f"{name}-tokens"), content(tmp_path / f"{name}-wave"), err

    with monkeypatch.context() as patch:
        for module in (encode_audio, decode_audio):
            patch.setattr(module, "BLOCK_SECONDS", 0.5)
        tokens, waves, err = coded("small")
        assert SHORT not in err
    limit(AudioCodec, "check", lambda x: x.shape[-1], 5000)
    found = coded("short")
    assert found[:2] == (tokens, waves) and len(tokens) == 3
    assert found[2].count(SHORT) == 1
    assert f"{SHORT}0.25 of the usual block of a recording" in found[2]


def attentive_codec(width, sample_rate):
    """Its decoder attends to a window of the tokens."""
    torch.manual_seed(1)
    return AudioCodec(
        SEANetEncoder(8, (4, 5), width=width, lstm_layers=0),
        FSQ(8, (9, 7)),
        VocosDecoder(8, 32, intermediate=32, num_layers=1, hop_length=20, n_fft=80),
        sample_rate=sample_rate,
    )


def test_a_decoder_of_windows_decodes_shorter_ones(intaglio, record, limit, tmp_path):
    codec = attentive_codec(width=4, sample_rate=1000)
    assert codec.decoder.stream() is None
    save(codec, tmp_path / "codec")
    words = ("--codec", tmp_path / "codec")
    record(tmp_path / "a.wav", 1000 * 60, rate=1000)
    assert intaglio("encode", tmp_path / "a.wav", "-o", tmp_path / "t", *words).status == 0
    limit(AudioCodec, "decode", lambda tokens: tokens.ids.shape[1], 20 * 50)
    status, _, err = intaglio("decode", tmp_path / "t", "-o", tmp_path / "b.wav", *words)
    assert status == 0 and f"{SHORT}0.5 of the usual block" in err
    assert (tmp_path / "b.wav").stat().st_size == (tmp_path / "a.wav").stat().st_size


@pytest.mark.parametrize("kind", ["audio", "image"])
def test_batches_of_a_data_set_are_halved(
    intaglio, record, draw, bundle, image_bundle, limit, tmp_path, kind
):
    for number in range(9):
        if kind == "audio":
            record(tmp_path / "in" / f"{number}.wav", 2000 + 10 * number)
        else:
            draw(tmp_path / "in" / f"{number}.png")
    codec = bundle if kind == "audio" else image_bundle
    words = ("tokenize", tmp_path / "in", "--codec", codec, "-o")
    assert intaglio(*words, tmp_path / "whole").status == 0
    limit(AudioCodec if kind == "audio" else ImageCodec, "encode", len, 3)
    status, _, err = intaglio(*words, tmp_path / "out")
    assert status == 0 and content(tmp_path / "out") == content(tmp_path / "whole")
    noun = "recordings" if kind == "audio" else "images"
    assert err == f"{SHORT}2 {noun} at once\n"


def test_what_does_not_fit_alone_is_named_and_the_others_are_made(
    intaglio, record, bundle, limit, tmp_path, monkeypatch
):
    monkeypatch.setattr(batch_audio, "LEAST_SECONDS", 20.0)  # to halve once, not nine times
    for number in range(5):
        record(tmp_path / "in" / f"{number}.wav", 9000 if number == 2 else 2000)
    limit(AudioCodec, "encode", lambda x: x.shape[-1], 5000)
    limit(AudioCodec, "encode_blocks", lambda blocks: 1, 0)
    words = ("-o", tmp_path / "out", "--codec", bundle, "--max-bad-share", 1)
    assert intaglio("tokenize", tmp_path / "in", *words).status == 0
    (damaged,) = read_row(tmp_path / "out" / "000000.tar").about["damaged"]
    assert damaged["reason"].startswith("2.wav: there is not enough memory; free some")


def test_images_are_drawn_in_smaller_batches_from_the_same_numbers(
    intaglio, image_bundle, generator_bundle, tmp_path, monkeypatch
):
    words = ("sample", generator_bundle, "--codec", image_bundle, "--count", 7, "--per-shard", 9)
    assert intaglio(*words, "-o", tmp_path / "whole").status == 0
    drawn = pipeline.SamplingPipeline.draw
    tried = []

    def limited(self, requests, callback=None):
        tried.append([request.seed for request in requests])
        if len(requests) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return drawn(self, requests, callback)

    monkeypatch.setattr(pipeline.SamplingPipeline, "draw", limited)
    status, _, err = intaglio(*words, "-o", tmp_path / "out", "--batch-size", 7)
    assert status == 0 and err == f"{SHORT}1 image at once\n"
    assert [seeds for seeds in tried if len(seeds) <= 2] == [[seed] for seed in range(7)]
    samples = [list(read_shard(tmp_path / name / "000000.tar")) for name in ("whole", "out")]
    assert [one.key for one in samples[0]] == [one.key for one in samples[1]]


def test_an_image_that_does_not_fit_alone_is_named_and_the_others_are_drawn(
    intaglio, image_bundle, generator_bundle, tmp_path, monkeypatch
):
    drawn = pipeline.SamplingPipeline.draw

    def limited(self, requests, callback=None):
        if any(request.seed == 1 for request in requests):
            no_memory()
        return drawn(self, requests, callback)

    monkeypatch.setattr(pipeline.SamplingPipeline, "draw", limited)
    words = ("sample", generator_bundle, "--codec", image_bundle, "--count", 3, "-o")
    status, _, err = intaglio(*words, tmp_path / "out")
    assert status == 1
    assert "intaglio: skipped: image of seed 1: there is not enough memory; free some" in err
    assert err.endswith(
        "1 of 3 images do not fit into memory, and the files that they belong to "
        "are not written; see above\n"
    )
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "000000.png",
        "000002.png",
    ]
    monkeypatch.setattr(pipeline.SamplingPipeline, "draw", drawn)
    assert intaglio(*words, tmp_path / "out").status == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_memory_that_runs_out_while_a_codec_is_loaded_is_one_line(
    refusal, record, bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr("intaglio.recipes.commands.options.codec.load", no_memory)
    words = ("-o", tmp_path / "t", "--codec", bundle)
    line = refusal("encode", record(tmp_path / "a.wav"), *words)
    assert line.startswith("there is not enough memory; free some")


LIMITED = """
import resource, sys
import torch
torch.set_num_threads(1)
from intaglio.recipes import cli
from intaglio.recipes.commands import encode, sample
allowed, call = int(sys.argv[1]) * 2**20, {call}
sys.argv = ["intaglio", *sys.argv[2:]]
def limited(*args, **options):
    result = call(*args, **options)
    with open("/proc/self/status") as file:
        size = int(file.read().split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + allowed, size + allowed))
    return result
{call} = limited
sys.exit(cli.main())
"""


def limited(call, mebibytes, *words):
    """Run a command whose address space may grow by so much after a call; gives its messages."""
    code = LIMITED.format(call=call)
    words = [sys.executable, "-c", code, str(mebibytes), *map(str, words)]
    # by default glibc reserves 64 MiB for a thread that finds another one in its way
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    run = subprocess.run(words, capture_output=True, text=True, timeout=500, env=environment)
    assert run.returncode == 0, run.stderr
    return run.stderr


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")


@ON_LINUX
def test_a_recording_is_encoded_in_an_address_space_that_is_too_small(intaglio, record, tmp_path):
    codec = attentive_codec(width=64, sample_rate=48_000)
    words = ("--codec", save(codec, tmp_path / "codec"), "-o")
    source = record(tmp_path / "a.wav", 96_000, rate=48_000)
    err = limited("encode.chosen_any_codec", 150, "encode", source, *words, tmp_path / "t")
    assert err.startswith(SHORT) and err.count("\n") == 1
    assert intaglio("info", tmp_path / "t").status == 0


@ON_LINUX
def test_images_are_drawn_in_an_address_space_that_is_too_small(
    intaglio, tiny_generator_of, tmp_path
):
    torch.manual_seed(1)
    sizes = {"width": 32, "multipliers": (1,) * 5, "blocks": 1, "style": "magvit2", "groups": 4}
    codec = ImageCodec(
        ConvEncoder(3, **sizes), FSQ(3, (8, 8, 8)), ConvDecoder(3, **sizes), image_size=64
    )
    save(codec, tmp_path / "codec")
    generator = tiny_generator_of(load(tmp_path / "codec"), RasterOrder(), ClassCondition(3))
    save(generator, tmp_path / "generator")
    words = ("--codec", tmp_path / "codec", "--count", 64, "--batch-size", 64, "--per-shard", 64)
    words = ("sample", tmp_path / "generator", *words, "-o")
    err = limited("sample.load", 130, *words, tmp_path / "out")
    assert err.startswith(SHORT) and err.count("\n") == 1
    assert len(list(read_shard(tmp_path / "out" / "000000.tar"))) == 64
