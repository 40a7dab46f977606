"""The probing part of "Discrete Audio Tokens" (Mousavi et al., TMLR 2025), small enough for a CPU.

There, models of several layers are trained on frozen tokens of many data sets. Here the tokens of
a recording are pooled over time, see `pooled`, and a linear probe predicts the speaker, or finds
the text among others. Recordings are split into `FOLDS` by their text; each is scored by a probe
that saw neither it nor its text. The speakers are known, their recordings are not. The original's
row is a probe of a pooled log-mel spectrogram.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.audio_codec import AudioCodec
from intaglio.codecs.layers.stft import MelSpectrogram
from intaglio.codecs.tokens import Tokens
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.audio.comparison import ORIGINAL, OperatingPoint
from intaglio.recipes.evaluation.audio.metrics import SPEECH_RATE, speech
from intaglio.recipes.evaluation.audio.recognition import normalise
from intaglio.recipes.evaluation.generators.probes import CaptionProbe, ClassProbe, draw_candidates
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.probing.language_model import held_out_nats
from intaglio.recipes.evaluation.rows import Row, SystemResult
from intaglio.recipes.evaluation.scores import Metric, Score, Scores, mean_score

FOLDS = 5
MIN_CLIPS = FOLDS  # recordings of a speaker that counts
MIN_TEXTS = 2 * FOLDS
STEPS = 500  # of the language model
CHANCE, MAJORITY = "chance", "majority"
CHANNELS = 256  # of the random vector of an id
WINDOW, MEL_FLOOR = 1024, 1e-5


class ProbeColumn(Metric):
    """A column of the table: what is measured on tokens, and not on pairs of signals."""

    def __init__(self, name: str, label: str, unit: str, decimals: int, *, higher: bool) -> None:
        self.name, self.label, self.unit = name, label, unit
        self.decimals, self.higher_is_better = decimals, higher


PROBES = {
    "speaker": (ProbeColumn("speaker", "speaker", "%", 1, higher=True),),
    "words": (ProbeColumn("words", "words", "%", 1, higher=True),),
    "lm": (
        ProbeColumn("lm", "LM", "nats/s", 1, higher=False),
        ProbeColumn("lm_bigram", "bigram", "nats/s", 1, higher=False),
        ProbeColumn("lm_unigram", "unigram", "nats/s", 1, higher=False),
        ProbeColumn("lm_perplexity", "LM", "perplexity", 1, higher=False),
    ),
}


class Classes(NamedTuple):
    """Labels of recordings, int64 [items], -1 for those that do not count, and why there are none.

    Attributes:
        labels: of all recordings.
        reason: why nothing can be predicted; "" if it can.
    """

    labels: Tensor
    reason: str


class _Modelled(NamedTuple):
    scores: Scores
    parameters: int


class Probing:
    """Probes on one data set: the same folds, and the same questions, for every codec.

    Args:
        items: recordings, with their speakers, texts and sources, as far as they are known.
        names: of `PROBES`.
        seed: of the folds, the candidates, the model and the intervals.
        steps: of the training of the language model.
    """

    def __init__(
        self, items: Sequence[Item], names: Sequence[str], *, seed: int = 0, steps: int = STEPS
    ) -> None:
        self.items, self.names, self.seed, self.steps = list(items), list(names), seed, steps
        self.folds = folds_of([item.source or item.name for item in items], seed)
        self.speakers = _speakers([item.speaker for item in items])

    def probed(self, result: SystemResult, points: Sequence[OperatingPoint]) -> SystemResult:
        """A result with the scores of its tokens; those of the original with mel features.

        Args:
            result: of any system; one without tokens comes back as it is.
            points: codecs under test.
        """
        row, output = result
        point = next((point for point in points if point.name == row.system), None)
        if row.system == ORIGINAL:
            features = torch.stack([mel_features(item) for item in self.items])
            scores = self._probes(features) if {"speaker", "words"} & set(self.names) else {}
            return SystemResult(row._replace(scores=row.scores | scores), output)
        if point is None or output is None or not self.names:
            return result
        features = pooled(output.tokens, point.codec)
        scores = row.scores | self._probes(features)
        facts = dict(row.facts) | {"probing": {"folds": FOLDS, "features": features.shape[1]}}
        if "lm" in self.names:
            found = self._language_model(output.tokens)
            scores |= found.scores
            facts["language_model"] = {"steps": self.steps, "parameters": found.parameters}
        return SystemResult(row._replace(scores=scores, facts=facts), output)

    def references(self) -> list[Row]:
        """Rows of what takes no tokens: guessing, and the commonest speaker of the training."""
        chance: Scores = {}
        rows = []
        if "speaker" in self.names and not self.speakers.reason:
            counted = int((self.speakers.labels >= 0).sum())
            speakers = int(self.speakers.labels.max()) + 1
            chance["speaker"] = Score.of_set(100 / speakers, counted)
            right = self._crossed(self._commonest)
            score = mean_score([100 * one for one in right], seed=self.seed)
            rows.append(Row(MAJORITY, None, {"speaker": score}, counted))
        if "words" in self.names and (shares := self._crossed(self._guess)):
            chance["words"] = Score.of_set(100 * math.fsum(shares) / len(shares), len(shares))
        if chance:
            rows.insert(0, Row(CHANCE, None, chance, len(self.items)))
        return rows

    def _probes(self, features: Tensor) -> Scores:
        scores: Scores = {}
        if "speaker" in self.names:
            scores["speaker"] = self._score(
                self.speakers.reason,
                lambda held: ClassProbe(features[~held], self.speakers.labels[~held]).correct(
                    features[held], self.speakers.labels[held]
                ),
            )
        if "words" in self.names:
            scores["words"] = self._score(
                self._no_texts(), lambda held: self._retrieved(features, held)
            )
        return scores

    def _score(self, reason: str, right: Callable[[Tensor], list[float]]) -> Score:
        if reason:
            return Score.absent(f"absent: {reason}")
        try:
            values = [100 * one for one in self._crossed(right)]
        except ValueError as error:
            return Score.absent(f"absent: {error}")
        return mean_score(values, seed=self.seed)

    def _crossed(self, values: Callable[[Tensor], list[float]]) -> list[float]:
        """What a function of the mask of held-out items gives, over all folds."""
        return [one for fold in range(FOLDS) for one in values(self.folds == fold)]

    def _commonest(self, held: Tensor) -> list[float]:
        labels = self.speakers.labels
        known = labels[~held]
        commonest = known[known >= 0].bincount().argmax()
        held_labels = labels[held]
        return (held_labels[held_labels >= 0] == commonest).double().tolist()

    def _no_texts(self) -> str:
        texts = len({normalise(item.text) for item in self.items} - {""})
        if texts >= MIN_TEXTS:
            return ""
        return f"a probe of words takes {MIN_TEXTS} different texts, got {texts}"

    def _questions(self, held: Tensor) -> tuple[list[int], list[str], Tensor] | None:
        """Items of a fold that have a text, the different texts, and candidates among them."""
        texts = [normalise(item.text) for item in self.items]
        asked = [n for n in held.nonzero().flatten().tolist() if texts[n]]
        different = sorted({texts[n] for n in asked})
        if len(different) < 2:
            return None
        correct = [different.index(texts[n]) for n in asked]
        return asked, different, draw_candidates(correct, len(different), seed=self.seed)

    def _retrieved(self, features: Tensor, held: Tensor) -> list[float]:
        if (questions := self._questions(held)) is None:
            return []
        asked, different, candidates = questions
        texts = [normalise(item.text) for item in self.items]
        seen = [n for n in (~held).nonzero().flatten().tolist() if texts[n]]
        probe = CaptionProbe(features[seen], [texts[n] for n in seen])
        return probe.retrieved(features[asked], different, candidates)

    def _guess(self, held: Tensor) -> list[float]:
        if self._no_texts() or (questions := self._questions(held)) is None:
            return []
        asked, _, candidates = questions
        return [1 / candidates.shape[1]] * len(asked)

    def _language_model(self, tokens: Sequence[Tokens]) -> "_Modelled":
        held = self.folds == 0
        sequences = [one.ids[one.mask] for one in tokens]
        names = [column.name for column in PROBES["lm"]]
        if not bool(held.any()) or bool(held.all()):
            reason = f"absent: a language model takes recordings of 2 texts, got {len(tokens)}"
            return _Modelled(dict.fromkeys(names, Score.absent(reason)), 0)
        train = [one for one, out in zip(sequences, held.tolist(), strict=True) if not out]
        test = [one for one, out in zip(sequences, held.tolist(), strict=True) if out]
        kept = [item for item, out in zip(self.items, held.tolist(), strict=True) if out]
        found = held_out_nats(train, test, tokens[0].vocab, steps=self.steps, seed=self.seed)
        seconds = torch.tensor([len(i.content) / i.sample_rate for i in kept], dtype=torch.float64)
        ids = torch.tensor([one.numel() for one in test], dtype=torch.float64)
        scores = {
            name: self._ratio(nats, seconds)
            for name, nats in zip(names[:3], found[:3], strict=True)
        }
        per_id = self._ratio(found.model, ids)
        ends = [None if one is None else math.exp(one) for one in per_id[:3]]
        scores[names[3]] = per_id._replace(mean=ends[0], low=ends[1], high=ends[2])
        return _Modelled(scores, found.parameters)

    def _ratio(self, nats: Tensor, units: Tensor) -> Score:
        """Nats of a unit, over the recordings together."""
        return mean_score((nats / units).tolist(), weights=units.tolist(), seed=self.seed)


def columns_of(names: Sequence[str]) -> list[Metric]:
    """Columns of the table for some of `PROBES`.

    Raises:
        ValueError: an unknown name.
    """
    if unknown := sorted(set(names) - set(PROBES)):
        raise WrongUsage(f"unknown probe {', '.join(unknown)}; there are {', '.join(PROBES)}, none")
    return [column for name, found in PROBES.items() if name in names for column in found]


def folds_of(sources: Sequence[str], seed: int = 0) -> Tensor:
    """Number of the fold of each recording, int64 [items]; those of a source share theirs."""
    keys = [normalise(source) or source for source in sources]
    different = sorted(set(keys))
    order = torch.randperm(len(different), generator=torch.Generator().manual_seed(seed))
    fold = {key: int(place) % FOLDS for key, place in zip(different, order, strict=True)}
    return torch.tensor([fold[key] for key in keys])


@torch.no_grad()
def pooled(tokens: Sequence[Tokens], codec: AudioCodec) -> Tensor:
    """Features of recordings, float64 [items, 2 * dim + `CHANNELS`].

    Mean and standard deviation over time of the vectors that the tokens stand for, and the mean of
    a random vector of each id: a linear map of it is one of the histogram of the ids, as if the
    probe had learned an embedding of them.

    Args:
        tokens: of one recording each, of all levels or of the first ones.
        codec: that they are of.
    """
    device = next((weight.device for weight in codec.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    tables = [torch.randn(size, CHANNELS, generator=generator) for size in tokens[0].vocab]
    rows = []
    for one in tokens:
        vectors = codec.quantizer.decode_ids(one.ids.to(device)).double().cpu()
        mask = one.mask.repeat_interleave(codec.quantizer.stride, dim=1)
        groups = zip(tables, one.ids[one.mask].unbind(1), strict=True)
        histogram = torch.stack([table[ids].double().mean(0) for table, ids in groups]).sum(0)
        rows.append(torch.cat([_moments(vectors[mask]), histogram]))
    return torch.stack(rows)


def mel_features(item: Item) -> Tensor:
    """Mean and standard deviation over time of 80 log-mel bands at 16 kHz, float64 [160]."""
    spectrogram = MelSpectrogram(SPEECH_RATE, WINDOW, hop_length=WINDOW // 4, num_mels=80)
    wave = speech(item.content, item.sample_rate)
    mels = spectrogram(F.pad(wave, (0, max(0, WINDOW - len(wave)))).unsqueeze(0))[0]
    return _moments(mels.clamp_min(MEL_FLOOR).log().double().T)


def _moments(vectors: Tensor) -> Tensor:
    return torch.cat([vectors.mean(0), vectors.std(0, correction=0)])


def _speakers(names: Sequence[str]) -> Classes:
    clips = Counter(name for name in names if name)
    known = sorted(name for name, count in clips.items() if count >= MIN_CLIPS)
    number = {name: n for n, name in enumerate(known)}
    labels = torch.tensor([number.get(name, -1) for name in names], dtype=torch.int64)
    reason = f"a probe takes two speakers of {MIN_CLIPS} recordings in a manifest, got {len(known)}"
    return Classes(labels, "" if len(known) > 1 else reason)
