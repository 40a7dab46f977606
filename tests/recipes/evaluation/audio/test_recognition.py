"""What counts as a word error, and what the recogniser remembers."""

import pytest
import torch

from intaglio.data.clips import find
from intaglio.data.formats.wave import read_wave
from intaglio.data.sets import complete, folder_of
from intaglio.recipes.evaluation.audio.recognition import (
    CharacterErrors,
    Recogniser,
    WordErrors,
    compared,
    normalise,
)
from intaglio.recipes.evaluation.scores import Pair


class Parrot(Recogniser):
    """Hears what the length of the waveform says."""

    def __init__(self, *texts):
        super().__init__()
        self.texts = texts

    def hear(self, wave, sample_rate):
        return self.texts[len(wave) - 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't PANIC -- it's fine.", "dont panic its fine"),
        ("Press 1, or 12; 99 of 100!", "press one or twelve ninety nine of one hundred"),
        ("in 1984, room 007", "in one nine eight four room zero zero seven"),
        ("1,250 items", "one two five zero items"),
        ("3D_audio", "three d audio"),
        ("512 Ärzte", "five hundred twelve ärzte"),
        ("...", ""),
    ],
)
def test_normalisation(text, expected):
    assert normalise(text) == expected


def test_errors_are_over_all_words_not_the_mean_over_items(score):
    pytest.importorskip("jiwer", reason="pip install 'intaglio[metrics]'")
    listener = Parrot("One two, three FOUR.", "nine")
    pairs = [
        Pair(torch.zeros(1), torch.zeros(1), 8000, "one two three four"),
        Pair(torch.zeros(2), torch.zeros(2), 8000, "five"),
    ]
    assert score(WordErrors(listener), *pairs).mean == pytest.approx(100 / 5)
    # nine, five: two letters differ
    assert score(CharacterErrors(listener), *pairs).mean == pytest.approx(100 * 2 / (18 + 4))


def test_without_a_transcript_there_is_no_error_rate(score):
    pytest.importorskip("jiwer", reason="pip install 'intaglio[metrics]'")
    found = score(WordErrors(Parrot("a")), Pair(torch.zeros(1), torch.zeros(1), 8000))
    assert (found.mean, found.failures, found.reason) == (None, 1, "no transcript")


def test_words_that_were_not_said_are_marked():
    marked = compared("Followed by the pound key.", "Followed by the, pen key, key.")
    assert [word for word, right in marked if not right] in (["pen", "key,"], ["pen", "key."])
    assert [word for word, _ in marked] == "Followed by the, pen key, key.".split()
    assert compared("", "some words") == [("some", True), ("words", True)]
    assert compared("press 12", "press twelve") == [("press", True), ("twelve", True)]


def test_what_was_heard_is_remembered(monkeypatch):
    calls = []

    class Model:
        def transcribe(self, wave, **options):
            calls.append(len(wave))
            return [type("Segment", (), {"text": f" {len(calls)} "})], None

    listener = Recogniser()
    monkeypatch.setattr(listener, "_loaded", Model)
    wave = torch.rand(8000)
    assert [listener.hear(x, 8000) for x in (wave, wave.clone(), -wave)] == ["1", "1", "2"]
    assert calls == [16000, 16000]  # at the rate of the recogniser


def test_real_speech_is_understood(score):
    if not Recogniser().is_available():
        pytest.skip("pip install 'intaglio[metrics]'")
    folder = folder_of("speech-prompts")
    if not (folder.is_dir() and complete(folder)):
        pytest.skip("needs `intaglio data get speech-prompts`")
    _, records = find(folder)
    record = next(one for one in records if "already logged on" in one.text)
    wave, rate = read_wave(folder / record.path)
    pair = Pair(wave[0], wave[0], rate, record.text)
    assert score(WordErrors(Recogniser()), pair).mean < 20
