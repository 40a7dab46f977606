"""Recordings to token files: equal to single ones, deterministic, with all damage reported."""

import io

import numpy as np
import pytest
import soundfile
import torch

from intaglio.codecs import load
from intaglio.codecs.streaming.segments import Segments
from intaglio.data.formats.tokens import read_tokens
from intaglio.data.formats.wave import read_wave, resample
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.tokenization import batch_audio
from intaglio.recipes.tokenization.batch import SourceFile
from intaglio.recipes.tokenization.batch_audio import AudioTokenizer
from intaglio.recipes.tokenization.encode_audio import AudioEncoding, encode_audio_file
from intaglio.recipes.tokenization.ray import TokenizeBatch

LENGTHS = (4001, 20, 9000, 1, 4100, 555, 3999, 12000)


@pytest.fixture
def recordings(record, tmp_path):
    """Files of several lengths, one at another rate, and a damaged one among them."""
    paths = [record(tmp_path / f"{size}.wav", size) for size in LENGTHS]
    paths.append(record(tmp_path / "other.flac", 4411, 11025, channels=2))
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    paths.insert(3, tmp_path / "bad.wav")
    return [SourceFile(path.name, path) for path in paths]


def expected(codec, path):
    wave, rate = read_wave(path)
    return codec.encode(resample(wave, rate, codec.sample_rate).unsqueeze(0)).ids[0]


@pytest.mark.parametrize("batch_seconds", [0.01, 1.0, 60.0])
def test_files_hold_the_tokens_of_single_recordings(bundle, recordings, batch_seconds):
    codec = load(bundle)
    outcomes = list(AudioTokenizer(codec, batch_seconds=batch_seconds).run(iter(recordings)))
    assert len(outcomes) == len(recordings)
    for recording, outcome in zip(recordings, outcomes, strict=True):
        if recording.name == "bad.wav":
            assert outcome.tokens == b"" and outcome.reason.startswith("bad.wav is not audio")
            continue
        assert outcome.reason == ""
        header, ids = read_tokens(io.BytesIO(outcome.tokens))
        assert torch.equal(ids, expected(codec, recording.content))
        assert header.fingerprint == codec.fingerprint and header.scale == ()
        assert header.positions == -(-header.length // codec.hop_length)
    assert header.extras == {"source": {"sample_rate": 11025, "length": 4411}}


def test_bytes_and_files_are_the_same_and_reasons_name_the_recording(bundle, recordings):
    tokenizer = AudioTokenizer(load(bundle))
    held = [SourceFile(name, path.read_bytes()) for name, path, *_ in recordings]
    assert list(tokenizer.run(held)) == list(tokenizer.run(recordings))
    fault = SourceFile("x", b"", "there is no x")
    gone = SourceFile("y.wav", recordings[0].content.with_name("gone.wav"))
    reasons = [outcome.reason for outcome in tokenizer.run([fault, gone])]
    assert reasons == ["there is no x", "y.wav does not exist"]
    assert list(tokenizer.run([])) == []


def test_batches_are_of_similar_length_and_bounded(bundle, recordings, monkeypatch):
    codec = load(bundle)
    sizes = []
    encode = codec.encode

    def watched(x, lengths):
        sizes.append(lengths.tolist())
        assert x.shape[0] * x.shape[-1] <= max(8000, int(lengths.max()))
        return encode(x, lengths)

    monkeypatch.setattr(codec, "encode", watched)
    list(AudioTokenizer(codec, batch_seconds=1.0).run(recordings))
    assert sorted(sum(sizes, [])) == sorted([*LENGTHS, 3201])
    assert max(map(len, sizes)) > 1


def test_a_long_recording_is_encoded_in_blocks(bundle, recordings, monkeypatch):
    codec = load(bundle)
    whole = list(AudioTokenizer(codec).run(recordings))
    monkeypatch.setattr(batch_audio, "LONG_SECONDS", 1.2)
    monkeypatch.setattr(batch_audio, "BLOCK_SECONDS", 0.3)
    blocks = []
    encode_blocks = codec.encode_blocks
    monkeypatch.setattr(
        codec, "encode_blocks", lambda x: encode_blocks(blocks.append(b.shape[-1]) or b for b in x)
    )
    assert list(AudioTokenizer(codec).run(recordings)) == whole
    assert blocks == [2400, 2400, 2400, 2400, 2400]


@pytest.mark.parametrize("segments", [None, Segments(2000, 200)])
def test_scales_are_kept_without_those_of_the_neighbours(bundle, recordings, segments):
    codec = load(bundle)
    codec.normalise, codec.segments = True, segments
    del recordings[3]  # the damaged one
    together = AudioTokenizer(codec).run(recordings)
    for recording, outcome in zip(recordings, together, strict=True):
        header, ids = read_tokens(io.BytesIO(outcome.tokens))
        wave = resample(*read_wave(recording.content), codec.sample_rate)
        alone = codec.encode(wave.unsqueeze(0))
        assert torch.equal(ids, alone.ids[0])
        assert header.scale == pytest.approx(alone.scale[0].tolist())  # sums are rounded
        assert len(header.scale) == (max(1, -(-(wave.shape[-1] - 200) // 1800)) if segments else 1)


def test_entropy_coding_is_smaller_where_it_can(bundle, record, tmp_path):
    path = record(tmp_path / "long.wav", 80_000)
    packed, coded = (
        next(AudioTokenizer(load(bundle), entropy=entropy).run([SourceFile("x", path)])).tokens
        for entropy in (False, True)
    )
    assert len(coded) < len(packed)
    first, second = (read_tokens(io.BytesIO(data)) for data in (packed, coded))
    assert (first[0].coding, second[0].coding) == ("packed", "range")
    assert torch.equal(first[1], second[1])


def test_a_batch_without_room_is_refused(bundle):
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="batch"):
            AudioTokenizer(load(bundle), batch_seconds=seconds)


def test_the_stage_for_ray_gives_token_files_and_reasons(bundle, recordings):
    stage = TokenizeBatch(str(bundle), "cpu", batch_seconds=1.0)
    batch = {
        "path": np.array([name for name, *_ in recordings], dtype=object),
        "bytes": np.array([path.read_bytes() for _, path, *_ in recordings], dtype=object),
        "speaker": np.arange(len(recordings)),
    }
    out = stage(batch)
    assert set(out) == {"path", "speaker", "tokens", "reason"}
    outcomes = list(AudioTokenizer(load(bundle)).run(recordings))
    assert out["tokens"].tolist() == [outcome.tokens for outcome in outcomes]
    assert out["reason"].tolist() == [outcome.reason for outcome in outcomes]
    assert out["speaker"] is batch["speaker"] and "bytes" in batch
    with pytest.raises(FileNotFoundError, match="no codec"):
        TokenizeBatch("gone")


def test_sound_is_tokenized_up_to_64_samples_for_each_byte(bundle, tmp_path, monkeypatch):
    """What has more is a failure that says what to do: `encode` reads it block by block."""
    monkeypatch.setattr(batch_audio, "LIMITS", batch_audio.LIMITS._replace(free_values=1 << 12))
    codec, paths = load(bundle), [tmp_path / f"{name}.flac" for name in ("few", "fewer")]
    wave = np.zeros(320_000, np.int16)
    soundfile.write(paths[1], wave, 16_000)
    wave[:3_000] = np.random.default_rng(0).integers(-9_999, 9_999, 3_000)
    soundfile.write(paths[0], wave, 16_000)
    ratios = [len(wave) / path.stat().st_size for path in paths]
    assert 16 < ratios[0] < 64 < ratios[1]
    sources = [SourceFile(path.name, path) for path in paths]
    read, refused = AudioTokenizer(codec).run(sources)
    assert read.reason == "" and read_tokens(io.BytesIO(read.tokens))[0].length > 100_000
    assert refused.tokens == b"" and "\n" not in refused.reason
    assert refused.reason.startswith("fewer.flac is truncated, or too long to be read as a whole")
    assert "read it in parts, as `intaglio encode` does" in refused.reason
    job = FileJob(paths[1], tmp_path / "fewer.intaglio")
    encode_audio_file(codec, job, AudioEncoding())
    assert read_tokens(io.BytesIO(job.target.read_bytes()))[0].length > 100_000
