"""Classic codecs: aligned, as long as the original, and charged what they cost."""

import io
from pathlib import Path

import pytest
import soundfile
import torch

from intaglio.data.sets.tools import Programs, codec2_programs
from intaglio.recipes.evaluation.audio import baselines
from intaglio.recipes.evaluation.audio.baselines import Codec2, Opus, baseline, ogg_packet_sizes
from intaglio.recipes.evaluation.audio.metrics import STOI
from intaglio.recipes.evaluation.scores import Pair

RATE = 16_000


def delay(reference, decoded, reach=800):
    """Shift of ``decoded`` in samples, by cross-correlation."""
    size = 2 * len(reference)
    spectrum = torch.fft.rfft(decoded, size) * torch.fft.rfft(reference, size).conj()
    products = torch.fft.irfft(spectrum, size)
    return int(torch.cat([products[-reach:], products[: reach + 1]]).argmax()) - reach


@pytest.mark.parametrize("bits_per_second", [6_000, 12_000])
def test_opus_keeps_its_rate_and_its_place(bits_per_second, voice):
    decoded, bits = Opus(bits_per_second).roundtrip(voice, RATE)
    assert decoded.shape == voice.shape and decoded.dtype == torch.float32
    rate = bits * RATE / len(voice)  # variable: the pauses cost little
    assert 0.7 * bits_per_second < rate < 1.05 * bits_per_second
    assert abs(delay(voice, decoded)) <= 2


def test_headers_are_not_charged(voice):
    # A tenth of a second takes 5 frames, and one or two more for the encoder's delay.
    bits = Opus(6_000).roundtrip(voice[:1600], RATE).bits
    assert bits / 7 < 6_000 * 0.02 * 1.5


def test_opus_takes_rates_that_it_does_not_know(voice):
    wave = voice[: 22_050 + 7]
    decoded, _ = baseline("opus-24k").roundtrip(wave, 22_050)
    assert decoded.shape == wave.shape and abs(delay(wave, decoded)) <= 2


def test_more_bits_sound_better(voice):
    if STOI().absence():
        pytest.skip(STOI().absence())
    scores = [
        STOI()(Pair(voice, Opus(rate).roundtrip(voice, RATE).decoded, RATE))
        for rate in (6_000, 12_000, 32_000)
    ]
    assert scores == sorted(scores) and scores[0] < scores[-1] - 0.01


def ogg(samples):
    file = io.BytesIO()
    soundfile.write(file, samples.numpy(), RATE, format="OGG", subtype="OPUS")
    return file.getvalue()


def test_ogg_packets_are_all_but_the_pages(voice):
    stream = ogg(voice)
    pages = [at for at in range(len(stream)) if stream.startswith(b"OggS\0", at)]
    tables = sum(27 + stream[at + 26] for at in pages)
    sizes = ogg_packet_sizes(stream)
    assert sum(sizes) == len(stream) - tables
    assert sizes[0] == 19  # the identification header of one channel
    assert len(sizes) - 2 == pytest.approx(3.0 / 0.02, abs=2)


def test_ogg_packets_across_segments_and_pages():
    def page(lacing):
        return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + bytes(sum(lacing))

    assert ogg_packet_sizes(page([255, 255]) + page([3, 0, 255, 0])) == [513, 0, 255]


@pytest.mark.parametrize("damage", [lambda s: s[:-1], lambda s: s[:40], lambda s: b"x" + s])
def test_damaged_ogg_is_refused(damage, voice):
    with pytest.raises(ValueError, match="no whole Ogg page"):
        ogg_packet_sizes(damage(ogg(voice)))


@pytest.fixture(params=[1200, 1300, 2400, 3200])
def codec2(request):
    if codec2_programs() is None:
        pytest.skip("c2enc and c2dec are not there (Debian: apt-get install codec2)")
    return Codec2(request.param)


def test_codec2_keeps_its_rate_and_its_place(codec2, voice):
    decoded, bits = codec2.roundtrip(voice, RATE)
    assert decoded.shape == voice.shape
    assert bits * RATE / len(voice) == pytest.approx(codec2.mode, rel=0.02)
    if STOI().absence():
        pytest.skip(STOI().absence())
    # Moved by 20 ms to either side it must fit worse.
    here, late, early = (
        STOI()(Pair(voice[800:-800], decoded[800 + by : len(voice) - 800 + by], RATE))
        for by in (0, 320, -320)
    )
    assert here > max(late, early)


def test_absent_programs_are_named(monkeypatch, voice):
    monkeypatch.setattr(baselines, "codec2_programs", lambda: None)
    codec = baseline("codec2-1200")
    assert codec.absence() == "absent: c2enc and c2dec (Debian: apt-get install codec2)"
    with pytest.raises(FileNotFoundError, match="codec2-1200 is absent"):
        codec.roundtrip(voice, RATE)


def test_a_program_that_fails_is_not_believed(voice):
    failing = Path("/bin/false")
    if not failing.exists():
        pytest.skip("no /bin/false here")
    with pytest.raises(ValueError, match="/bin/false failed"):
        Codec2(1200, Programs(failing, failing, None)).roundtrip(voice, RATE)


@pytest.mark.parametrize("name", ["opus", "opus-5k", "codec2-700", "mp3-32k", ""])
def test_unknown_codecs_are_refused(name):
    with pytest.raises(ValueError):
        baseline(name)


@pytest.mark.parametrize("shape", [(0,), (1, 8000)])
def test_only_mono_waveforms_are_taken(shape):
    with pytest.raises(ValueError, match="opus-6k takes mono waveforms"):
        Opus(6_000).roundtrip(torch.zeros(shape), RATE)
