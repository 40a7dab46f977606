"""Probes of tokens that hold the speaker or the words, and of tokens that do not."""

from itertools import combinations

import pytest
import torch

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.decoders.seanet import SEANetDecoder
from intaglio.codecs.encoders.seanet import SEANetEncoder
from intaglio.codecs.quantizers.fsq import FSQ
from intaglio.codecs.quantizers.residual import ResidualQuantizer
from intaglio.data.synthetic.audio import speechlike
from intaglio.recipes.evaluation.audio.comparison import OperatingPoint, Original
from intaglio.recipes.evaluation.comparison import evaluate
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.probing.probing import (
    CHANNELS,
    FOLDS,
    Probing,
    columns_of,
    folds_of,
    mel_features,
    pooled,
)
from intaglio.recipes.evaluation.rows import Output, Row, SystemResult

RATE = 8000
SPEAKERS = 4
WORDS = "apple bear cat dog eel fox goat hen ibis jay kiwi lion mole newt owl pig".split()
POSITIONS = 30


@pytest.fixture(scope="module")
def codec():
    """Two levels of 64 codes each, 400 positions a second."""
    torch.manual_seed(2)
    sizes = {"width": 2, "lstm_layers": 0}
    return AudioCodec(
        SEANetEncoder(16, (4, 5), **sizes),
        ResidualQuantizer([FSQ(16, (4, 4, 4)), FSQ(16, (4, 4, 4))]),
        SEANetDecoder(16, (4, 5), **sizes),
        sample_rate=RATE,
        name="made",
    )


def recordings(count=120):
    """Of speakers in turn, with two words each that no other has together."""
    pairs = list(combinations(WORDS, 2))
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(7))
    texts = [" ".join(pairs[one]) for one in order[:count].tolist()]
    return [
        Item(f"{n}.wav", torch.zeros(600), RATE, text, f"speaker {n % SPEAKERS}", text)
        for n, text in enumerate(texts)
    ]


def made(codec, items, of_item, levels=2):
    """A point whose ids of the last level are those of an item's, and the others random."""
    point = OperatingPoint("made", codec, levels)
    generator = torch.Generator().manual_seed(11)
    tokens = []
    for number, item in enumerate(items):
        ids = torch.randint(64, (1, POSITIONS, levels), generator=generator)
        ids[0, :, -1] = of_item(number, item, generator)
        tokens.append(codec.tokens(ids))
    output = Output([item.content for item in items], 1.0, tokens)
    return SystemResult(Row("made", 1.0, {}, len(items), is_ours=True), output), point


def speaker_ids(number, item, generator):
    return torch.full((POSITIONS,), 3 + 5 * (number % SPEAKERS))


def word_ids(number, item, generator):
    ids = torch.tensor([7 * WORDS.index(word) % 64 for word in item.text.split()])
    return ids.repeat(POSITIONS // 2)


def no_ids(number, item, generator):
    return torch.randint(64, (POSITIONS,), generator=generator)


def scores_of(codec, of_item, levels=2, names=("speaker", "words")):
    items = recordings()
    probing = Probing(items, names)
    result, point = made(codec, items, of_item, levels)
    return probing.probed(result, [point]).row.scores, probing


@pytest.mark.parametrize("levels", [1, 2])
def test_tokens_that_hold_the_speaker_name_every_one(codec, levels):
    score = scores_of(codec, speaker_ids, levels)[0]["speaker"]
    assert (score.mean, score.low, score.measured) == (100, 100, 120)


def test_tokens_that_hold_nothing_are_at_chance(codec):
    scores, probing = scores_of(codec, no_ids)
    rows = {row.system: row.scores for row in probing.references()}
    assert rows["chance"]["speaker"].mean == 100 / SPEAKERS
    assert scores["speaker"].mean == pytest.approx(25, abs=9)  # 2.3 standard deviations of 120
    assert scores["speaker"].low < scores["speaker"].mean < scores["speaker"].high
    assert rows["chance"]["words"].mean == pytest.approx(100 / 24)  # texts of a fold
    assert scores["words"].mean < 12


def test_a_probe_reads_the_levels_of_its_row_alone(codec):
    items = recordings()
    result, _ = made(codec, items, speaker_ids)
    first = [
        codec.tokens(one.ids[..., :1]) for one in result.output.tokens
    ]  # the last level holds the speaker
    only = SystemResult(result.row, result.output._replace(tokens=first))
    point = OperatingPoint("made", codec, 1)
    assert Probing(items, ["speaker"]).probed(only, [point]).row.scores["speaker"].mean < 40


def test_tokens_that_hold_the_words_find_texts_never_heard(codec):
    scores, _ = scores_of(codec, word_ids, levels=1)
    assert scores["words"].mean > 80 and scores["words"].low > 70
    assert scores["speaker"].mean < 40


def test_the_majority_is_the_commonest_speaker_of_the_training():
    items = [item._replace(speaker="a" if n % 5 else "b") for n, item in enumerate(recordings(100))]
    (chance, majority) = Probing(items, ["speaker"]).references()
    assert (chance.system, chance.scores["speaker"].mean) == ("chance", 50)
    assert (majority.system, majority.scores["speaker"].mean) == ("majority", 80)
    assert majority.scores["speaker"].low < 80 < majority.scores["speaker"].high


def test_recordings_of_a_text_are_held_out_together():
    sources = [f"Text {n % 20}!" if n % 2 else f"text {n % 20}" for n in range(200)]
    folds = folds_of(sources)
    assert sorted(folds.bincount().tolist()) == [200 // FOLDS] * FOLDS
    for n in range(20):
        assert len(folds[n::20].unique()) == 1
    assert not torch.equal(folds, folds_of(sources, seed=1))
    assert folds_of(["?", "!", "?"]).tolist()[0] == folds_of(["?", "!", "?"]).tolist()[2]


def test_speakers_of_few_recordings_do_not_count(codec):
    items = recordings(40)
    items = [items[0]._replace(speaker="rare"), items[1]._replace(speaker=""), *items[2:]]
    result, point = made(codec, items, speaker_ids)
    assert Probing(items, ["speaker"]).probed(result, [point]).row.scores["speaker"].measured == 38


def test_without_speakers_or_texts_it_says_so(codec):
    items = [item._replace(speaker="", text="") for item in recordings(20)]
    result, point = made(codec, items, no_ids)
    probing = Probing(items, ["speaker", "words"])
    scores = probing.probed(result, [point]).row.scores
    assert scores["speaker"].reason == (
        "absent: a probe takes two speakers of 5 recordings in a manifest, got 0"
    )
    assert scores["words"].reason == "absent: a probe of words takes 10 different texts, got 0"
    assert probing.references() == []


def test_positions_that_belong_to_nothing_have_no_influence(codec):
    (result, _) = made(codec, recordings(2), no_ids)
    tokens = result.output.tokens
    longer = [
        one._replace(
            ids=torch.cat([one.ids, one.ids[:, :7]], 1),
            mask=torch.cat([one.mask, torch.zeros(1, 7, dtype=torch.bool)], 1),
        )
        for one in tokens
    ]
    torch.testing.assert_close(pooled(longer, codec), pooled(tokens, codec))
    vectors = codec.quantizer.decode_ids(tokens[0].ids)[0].double()
    mean, std, _ = pooled(tokens, codec)[0].split([16, 16, CHANNELS])
    torch.testing.assert_close(mean, vectors.mean(0))
    torch.testing.assert_close(std, vectors.std(0, correction=0))


def test_the_row_of_the_originals_is_a_probe_of_their_spectra():
    generator = torch.Generator().manual_seed(1)
    pitches = torch.tensor([110.0, 150.0, 210.0, 330.0])
    time = torch.arange(2000) / RATE
    items = []
    for n, item in enumerate(recordings(40)):
        tone = (2 * torch.pi * pitches[n % SPEAKERS] * time).sin()
        noise = 0.05 * torch.randn(2000, generator=generator)
        items.append(item._replace(content=0.3 * tone + noise))
    probing = Probing(items, ["speaker"])
    (result,) = (probing.probed(one, []) for one in evaluate([Original()], items, metrics=[]))
    assert result.row.scores["speaker"].mean == 100


def test_the_shortest_recordings_have_features():
    for samples in (1, 50, 4000):
        item = Item("a", speechlike(4000, RATE, torch.Generator())[:samples], RATE)
        features = mel_features(item)
        assert features.shape == (160,) and features.isfinite().all()


def test_unknown_probes_are_refused():
    assert [column.name for column in columns_of(["words", "speaker"])] == ["speaker", "words"]
    with pytest.raises(ValueError, match="unknown probe smell; there are speaker, words, lm, none"):
        columns_of(["smell"])
