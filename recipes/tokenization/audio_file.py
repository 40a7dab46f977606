"""What the token file of a recording says: its header, and what decoding must restore.

A stream is what a codec codes at once. Channels that are coded separately are streams of one batch,
and their tokens are concatenated along the groups of one file.
"""

import math
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from intaglio.codecs import AudioCodec
from intaglio.data.formats.open_audio import AUDIO_LIMITS
from intaglio.data.formats.tokens import TokenFileError, TokenHeader
from intaglio.recipes.tokenization.halving import Halving

BLOCK_SECONDS = 2.0  # coded at once; longer blocks take more memory and are not faster
LEAST_SHARE = 1 / 32  # of a block, however short memory is
STEREO = ("mix", "folded", "mid-side")


class SourceAudio(NamedTuple):
    """Format of a recording before encoding.

    Attributes:
        sample_rate: in Hz.
        length: samples of each channel.
        channels: number of channels.
        stereo: "mix": the codec's channels hold all (a mono codec the mean, a stereo codec a mono
            recording twice); "folded": left and right coded separately; "mid-side": half their sum
            and half their difference coded separately.
        gain: factor that encoding applied.
    """

    sample_rate: int
    length: int
    channels: int
    stereo: str = "mix"
    gain: float = 1.0

    @property
    def streams(self) -> int:
        """Signals that are coded separately."""
        return 1 if self.stereo == "mix" else 2

    def extras(self, codec_channels: int) -> dict[str, Any]:
        """Extras of a header; fields that are the codec's own are left out."""
        source: dict[str, Any] = {"sample_rate": self.sample_rate, "length": self.length}
        if self.channels != codec_channels:
            source["channels"] = self.channels
        if self.stereo != "mix":
            source["stereo"] = self.stereo
        if self.gain != 1:
            source["gain"] = self.gain
        return {"source": source}


_blocks: WeakKeyDictionary[AudioCodec, Halving] = WeakKeyDictionary()


def block_of(codec: AudioCodec) -> Halving:
    """Share of a block that a codec codes at once: all of it, unless it has met short memory."""
    if codec not in _blocks:
        _blocks[codec] = Halving(1.0, least=LEAST_SHARE, unit="of the usual block of a recording")
    return _blocks[codec]


def audio_header(
    codec: AudioCodec, *, vocab: tuple[int, ...], positions: int, length: int
) -> TokenHeader:
    """Header of tokens of a codec; ``length`` is in samples at the codec's rate."""
    return TokenHeader(
        codec=codec.name,
        fingerprint=codec.fingerprint,
        vocab=vocab,
        positions=positions,
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        channels=codec.channels,
        length=length,
        extras={},
    )


def source_audio(header: TokenHeader) -> SourceAudio:
    """Format of the recording that a header describes; the codec's own if it does not say.

    Raises:
        TokenFileError: it contradicts the rest of the header.
    """
    own = SourceAudio(header.sample_rate, header.length, header.channels)
    fields = header.extras.get("source", {})
    if not isinstance(fields, dict) or not set(fields) <= set(SourceAudio._fields):
        raise TokenFileError("refused: its header does not say what was encoded")
    source = own._replace(**fields)
    fault = _fault(source, header)
    if fault:
        raise TokenFileError(f"refused: {fault}")
    return source


def stereo_mode(channels: int, codec_channels: int, wanted: str) -> str:
    """How a recording is coded: as ``wanted``, but a mono one as "mix".

    Raises:
        ValueError: the channels do not fit the codec or what is wanted.
    """
    if codec_channels > 1 and wanted != "mix":
        raise ValueError(
            f"--stereo {wanted} is for codecs of one channel, this one has {codec_channels}"
        )
    if codec_channels > 1 and channels not in (1, codec_channels):
        raise ValueError(f"it has {channels} channels, the codec takes 1 or {codec_channels}")
    if wanted != "mix" and channels > 2:
        raise ValueError(f"it has {channels} channels; --stereo {wanted} is for two")
    return wanted if channels == 2 else "mix"


def to_streams(wave: Tensor, codec_channels: int, stereo: str) -> Tensor:
    """Streams, [streams, codec channels, samples], of a waveform [channels, samples]."""
    if stereo == "folded":
        return wave.unsqueeze(1)
    if stereo == "mid-side":
        left, right = wave
        return torch.stack([left + right, left - right]).unsqueeze(1) / 2
    if codec_channels == 1:
        wave = wave.mean(0, keepdim=True)
    return wave.expand(codec_channels, -1).unsqueeze(0)


def from_streams(streams: Tensor, channels: int, stereo: str) -> Tensor:
    """Waveform, [channels, samples], of streams [streams, codec channels, samples]."""
    if stereo == "folded":
        return streams[:, 0]
    if stereo == "mid-side":
        mid, side = streams[:, 0]
        return torch.stack([mid + side, mid - side])
    wave = streams[0]
    if len(wave) != channels:
        wave = wave.mean(0, keepdim=True).expand(channels, -1)
    return wave


def num_scales(codec: AudioCodec, length: int) -> int:
    """Number of scales of a stream of ``length`` samples at the codec's rate."""
    if not codec.normalise:
        return 0
    return 1 if codec.segments is None else int(codec.segments.pieces(torch.tensor(length)))


def _fault(source: SourceAudio, header: TokenHeader) -> str | None:
    """What is wrong with a source, or None. Types are not to be trusted."""
    rate, length, channels, stereo, gain = source
    if any(type(value) is not int for value in (rate, length, channels)):
        return "rate, length and channels of what was encoded are not integers"
    slack = 2 + header.length // 1_000_000  # earlier versions rounded the length to float32
    if (
        length < 1
        or not AUDIO_LIMITS.min_rate <= rate <= AUDIO_LIMITS.max_rate
        or abs(length * header.sample_rate // rate - header.length) > slack
    ):
        return (
            f"{length} samples at {rate} Hz cannot have become {header.length} at "
            f"{header.sample_rate} Hz"
        )
    if type(gain) is not float or not (math.isfinite(gain) and gain > 0):
        return f"a gain of {gain!r:.40} cannot be undone"
    try:
        known = stereo in STEREO and stereo == stereo_mode(channels, header.channels, stereo)
    except ValueError:
        known = False
    if not known or not 1 <= channels <= max(AUDIO_LIMITS.max_channels, header.channels):
        return f"{channels} channels cannot have been coded as {stereo!r:.40}"
    return None
