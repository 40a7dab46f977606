"""Whole recordings with their text: what is taken, and what a batch holds."""

import pytest
import torch

from intaglio.data.formats.wave import write_wave
from intaglio.data.manifest import Record, write_manifest
from intaglio.data.utterances import Utterances


@pytest.fixture
def manifest(tmp_path):
    """Ten recordings of half a second and more with a text; one silent, one short, one long."""
    seconds = {f"{n}.wav": 0.5 + 0.05 * n for n in range(10)}
    seconds |= {"silent.wav": 0.5, "short.wav": 0.1, "long.wav": 2.0}
    records = []
    for number, (name, duration) in enumerate(seconds.items()):
        generator = torch.Generator().manual_seed(number)
        wave = 0.1 * torch.randn(1, int(8000 * duration), generator=generator)
        write_wave(tmp_path / name, wave, 8000)
        text = "" if name == "silent.wav" else f"this is number {number}"
        records.append(Record(name, duration, text, speaker="ab"[number % 2]))
    write_manifest(tmp_path / "manifest.jsonl", records)
    return str(tmp_path / "manifest.jsonl")


def test_batches_are_whole_recordings_with_their_text(manifest, caplog):
    data = Utterances(
        manifest,
        16_000,
        batch_size=5,
        validation_share=0,
        test_share=0,
        max_seconds=1.5,
        speeds=(1.0, 1.25),
    )
    data.setup()
    for reason in ("1 without text (silent.wav)", "1 shorter", "1 longer than 1.5 s (long.wav)"):
        assert reason in caplog.text
    batches = list(data.train_dataloader())
    texts = [text for batch in batches for text in batch["text"]]
    assert sorted(texts) == [f"this is number {n}" for n in range(10)]
    for batch in batches:
        for row, length, text in zip(
            batch["wave"], batch["lengths"].tolist(), batch["text"], strict=True
        ):
            samples = 16_000 * (0.5 + 0.05 * int(text.split()[-1]))
            assert min(abs(length - samples / speed) for speed in (1, 1.25)) <= 2
            assert 0.5 < float(row.abs().max()) <= 0.9 and not row[:, length:].any()


def test_speakers_are_held_out(manifest):
    data = Utterances(manifest, 16_000, test_speakers=["b"], validation_share=0, batch_size=2)
    data.setup()
    assert {clip.record.speaker for clip in data.readers["train"].clips} == {"a"}
