"""Metrics of a decoded signal against its original, and their names on the command line.

Multi-scale mel distance as in the evaluation of DAC (Kumar et al., NeurIPS 2023): windows of 2048
and 512 samples with 150 and 80 mel bands and a hop of a quarter window; for each the mean absolute
difference of log10 of the squared magnitudes plus that of the magnitudes; the two are added. Here
at the signals' own rate unless another is given; that evaluation resamples to 22.05 and 44.1 kHz.
SI-SDR after
Le Roux et al. (ICASSP 2019), with both means removed. STOI, ESTOI (pystoi) and wideband PESQ
(pesq, ITU-T P.862.2) are what the named packages compute.
"""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.codecs.layers.stft import MelSpectrogram
from intaglio.data.formats.wave import resample
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.audio.recognition import CharacterErrors, Recogniser, WordErrors
from intaglio.recipes.evaluation.scores import Metric, Pair

MEL_SCALES = ((2048, 150), (512, 80))  # samples of the window, mel bands
MEL_FLOOR = 1e-5
LOWEST_RATE = 1_000  # Hz
SPEECH_RATE = 16_000  # Hz; what PESQ wideband and DNSMOS take


class _AtRate(Metric):
    """Base of the metrics that take signals of any rate.

    Args:
        rate: in Hz, to resample to first, so that results at different rates compare; None
            measures at the signals' own.
    """

    def __init__(self, rate: int | None = None) -> None:
        if rate is not None and rate < LOWEST_RATE:
            raise WrongUsage(f"metrics compare at {LOWEST_RATE} Hz at least, not at {rate}")
        self.rate = rate

    def at_rate(self, pair: Pair) -> Pair:
        if self.rate is None:
            return pair
        signals = resample(torch.stack(pair[:2]).float(), pair.sample_rate, self.rate)
        return Pair(signals[0], signals[1], self.rate, pair.text)


class MelDistance(_AtRate):
    """Multi-scale mel distance; 0 for equal signals."""

    name = "mel"
    label = "Mel distance"
    decimals = 2
    higher_is_better = False

    def __call__(self, pair: Pair) -> float:
        """Distance of a pair; items shorter than half the longest window cannot be measured."""
        pair = self.at_rate(pair)
        signals = torch.stack([pair.reference, pair.decoded]).float()
        total = 0.0
        for window, num_mels in MEL_SCALES:
            spectrogram = MelSpectrogram(
                pair.sample_rate,
                window,
                hop_length=window // 4,
                num_mels=num_mels,
                norm="slaney",
                scale="slaney",
            )
            mels = spectrogram(signals)
            logs = 2 * mels.clamp(min=MEL_FLOOR).log10()
            total += float(F.l1_loss(logs[1], logs[0]) + F.l1_loss(mels[1], mels[0]))
        return total


class SISDR(_AtRate):
    """Scale-invariant signal-to-distortion ratio."""

    name = "si_sdr"
    label = "SI-SDR"
    unit = "dB"
    decimals = 1

    def __call__(self, pair: Pair) -> float:
        """Ratio in dB; a silent original or a perfect copy has none."""
        reference, decoded = (x.double() - x.double().mean() for x in self.at_rate(pair)[:2])
        target = (decoded @ reference) / (reference @ reference) * reference
        noise = decoded - target
        ratio = float((target @ target) / (noise @ noise))
        if not 0 < ratio < math.inf:
            raise ValueError("SI-SDR is unbounded: silence, or a copy of the original")
        return 10 * math.log10(ratio)


class STOI(Metric):
    """Short-time objective intelligibility, 0 to 1 (Taal et al., 2011)."""

    name = "stoi"
    label = "STOI"
    packages = ("pystoi",)
    extra = "metrics"
    extended = False

    def __call__(self, pair: Pair) -> float:
        """Intelligibility of the decoded signal; takes about 0.4 s that are not silent."""
        from pystoi import stoi

        if not pair.reference.any():
            raise ValueError("STOI is not defined for a silent original")
        reference, decoded = (x.double().numpy() for x in pair[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pystoi gives 1e-5 and a warning for what is too short
            try:
                return float(stoi(reference, decoded, pair.sample_rate, extended=self.extended))
            except RuntimeWarning as warning:
                raise ValueError(f"STOI: {warning}") from warning


class ESTOI(STOI):
    """Extended STOI, for modulated maskers too (Jensen and Taal, 2016)."""

    name = "estoi"
    label = "ESTOI"
    extended = True


class PESQ(Metric):
    """Perceptual evaluation of speech quality, wideband, at 16 kHz: 1.0 (bad) to 4.64."""

    name = "pesq"
    label = "PESQ-wb"
    unit = "MOS"
    decimals = 2
    packages = ("pesq",)
    extra = "pesq"

    def __call__(self, pair: Pair) -> float:
        """Predicted opinion score; fails on silence and below a quarter of a second."""
        from pesq import PesqError, pesq

        if not (pair.reference.any() and pair.decoded.any()):
            raise ValueError("PESQ is not defined for silence")
        reference, decoded = (speech(x, pair.sample_rate).numpy() for x in pair[:2])
        try:
            return float(pesq(SPEECH_RATE, reference, decoded, "wb"))
        except PesqError as error:
            raise ValueError(f"PESQ: {error.args[0].decode()}") from error


class DNSMOS(Metric):
    """Overall quality of speech without a reference, 1 to 5 (Reddy et al., ICASSP 2022)."""

    name = "dnsmos"
    label = "DNSMOS"
    unit = "MOS"
    decimals = 2
    intrusive = False
    packages = ("speechmos", "librosa")
    extra = "mos"

    def __call__(self, pair: Pair) -> float:
        """Predicted opinion score of the decoded signal, scaled to a peak of 1 first."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of librosa's imports, which are not ours
            from speechmos import dnsmos

        wave = speech(pair.decoded, pair.sample_rate)
        if not wave.any():
            raise ValueError("DNSMOS: a silent signal")
        # The model was trained on full-scale speech, and its package refuses values beyond 1.
        wave = (wave / wave.abs().max()).clamp(-1, 1)
        return float(dnsmos.run(wave.numpy(), SPEECH_RATE)["ovrl_mos"])


def speech(wave: Tensor, sample_rate: int) -> Tensor:
    """A waveform [samples] at 16 kHz, float32."""
    return resample(wave.float().unsqueeze(0), sample_rate, SPEECH_RATE).squeeze(0)


def select(
    names: Sequence[str] | None = None,
    recogniser: Recogniser | None = None,
    rate: int | None = None,
) -> list[Metric]:
    """Metrics by name, in the order of the table.

    Args:
        names: which ones; all of them if None.
        recogniser: what WER and CER listen with; a new one if None.
        rate: in Hz, at which mel distance and SI-SDR compare; the signals' own if None.

    Raises:
        ValueError: an unknown name, or a rate below `LOWEST_RATE`.
    """
    listener = Recogniser() if recogniser is None else recogniser
    errors = [WordErrors(listener), CharacterErrors(listener)]
    metrics = [STOI(), ESTOI(), PESQ(), *errors, DNSMOS(), MelDistance(rate), SISDR(rate)]
    known = [metric.name for metric in metrics]
    if unknown := sorted(set(names or ()) - set(known)):
        raise WrongUsage(f"unknown metric {', '.join(unknown)}; there are {', '.join(known)}")
    return [metric for metric in metrics if names is None or metric.name in names]
