"""What a token file remembers of a recording: nothing is lost, nothing absurd is believed."""

import math

import pytest
import torch

from intaglio.data.formats.tokens import TokenHeader
from intaglio.recipes.tokenization.audio_file import (
    STEREO,
    SourceAudio,
    from_streams,
    source_audio,
    stereo_mode,
    to_streams,
)

HEADER = TokenHeader("tiny", "0" * 32, (63,), 201, 8000, 20, 1, 4001, {})
SOUND = {"sample_rate": 8000, "length": 4001}


@pytest.mark.parametrize(
    ("rate", "length", "good"),
    [
        (8000, 4001, True),
        (44100, 22055, True),
        (44100, 22100, False),
        (8000, 10**12, False),
        (2 * 10**9, 1000250000, False),
        (0, 4001, False),
        (-8000, -4001, False),
        (8000, True, False),
        ("8000", 4001, False),
        (8000.0, 4001, False),
    ],
)
def test_what_was_encoded_must_fit_the_header(rate, length, good):
    header = HEADER._replace(extras={"source": {"sample_rate": rate, "length": length}})
    if good:
        assert source_audio(header) == SourceAudio(rate, length, 1)
    else:
        with pytest.raises(ValueError, match="refused"):
            source_audio(header)
    assert source_audio(header._replace(extras={})) == SourceAudio(8000, 4001, 1)
    no_samples = header._replace(length=1, extras={"source": {"sample_rate": 8000, "length": 0}})
    with pytest.raises(ValueError, match="refused"):
        source_audio(no_samples)


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 0},
        {"channels": 9},
        {"channels": 2.0},
        {"channels": True},
        {"gain": 0.0},
        {"gain": -1.0},
        {"gain": math.inf},
        {"gain": math.nan},
        {"gain": "loud"},
        {"gain": 1},
        {"stereo": "wide"},
        {"stereo": ["folded"]},
        {"stereo": "folded"},  # of one channel
        {"stereo": "mid-side", "channels": 3},
        {"speed": 1},
    ],
    ids=str,
)
def test_absurd_claims_are_refused(change):
    with pytest.raises(ValueError, match="refused"):
        source_audio(HEADER._replace(extras={"source": SOUND | change}))


@pytest.mark.parametrize(
    ("recording", "codec_channels"),
    [
        (SourceAudio(8000, 4001, 1), 1),
        (SourceAudio(8000, 4001, 2), 1),
        (SourceAudio(8000, 4001, 2, "folded", 0.3), 1),
        (SourceAudio(8000, 4001, 2, "mid-side"), 1),
        (SourceAudio(8000, 4001, 1, gain=1e-3), 2),
        (SourceAudio(8000, 4001, 2), 2),
        (SourceAudio(8000, 4001, 12), 12),
    ],
)
def test_a_header_brings_a_recording_back(recording, codec_channels):
    extras = recording.extras(codec_channels)
    header = HEADER._replace(channels=codec_channels, extras=extras)
    assert source_audio(header) == recording
    if recording == SourceAudio(8000, 4001, codec_channels):
        assert extras == {"source": SOUND}  # nothing that follows from the codec


@pytest.mark.parametrize("stereo", STEREO)
@pytest.mark.parametrize(("channels", "codec_channels"), [(1, 1), (2, 1), (1, 2), (2, 2), (6, 1)])
def test_streams_bring_the_channels_back(channels, codec_channels, stereo, generator):
    wave = torch.randn(channels, 50, generator=generator)
    if stereo != "mix" and (codec_channels > 1 or channels > 2):
        with pytest.raises(ValueError, match=f"--stereo {stereo} is for"):
            stereo_mode(channels, codec_channels, stereo)
        return
    mode = stereo_mode(channels, codec_channels, stereo)
    streams = to_streams(wave, codec_channels, mode)
    assert streams.shape == (1 if mode == "mix" else 2, codec_channels, 50)
    back = from_streams(streams, channels, mode)
    mixed = mode == "mix" and channels > codec_channels
    torch.testing.assert_close(back, wave.mean(0).expand(channels, -1) if mixed else wave)
