"""Audio: recordings of any length, by `AudioCodec`."""

from pathlib import Path
from typing import Any

from intaglio.codecs import AudioCodec, Tokens
from intaglio.codecs.streaming.live import latency
from intaglio.data.formats.tokens import TokenHeader
from intaglio.data.formats.wave import wave_format
from intaglio.recipes.commands.options.words import POSITIVE, real, whole
from intaglio.recipes.file_jobs import FileJob
from intaglio.recipes.modalities.base import Modality, Option
from intaglio.recipes.tokenization.audio_file import STEREO
from intaglio.recipes.tokenization.batch_audio import AudioTokenizer
from intaglio.recipes.tokenization.decode_audio import (
    AUDIO_SUFFIX,
    AudioDecoding,
    decode_audio_file,
)
from intaglio.recipes.tokenization.encode_audio import (
    AudioEncoding,
    encode_audio_file,
    write_audio_item,
)

ENCODE = (
    Option(
        "--levels",
        "number of levels of the quantizer to use (all)",
        type=whole(1),
        exclusive="bitrate",
    ),
    Option(
        "--bitrate",
        "use as many levels as fit into BITS per second",
        type=POSITIVE,
        metavar="BITS",
        exclusive="bitrate",
    ),
    Option(
        "--stereo",
        "two channels in a codec of one: their mean (mix, the default), each separately (folded), "
        "or half their sum and difference (mid-side)",
        choices=STEREO,
    ),
    Option(
        "--loudness",
        "bring every recording to this loudness, such as -16, as far as its peak allows; decoding "
        "undoes it",
        type=real(),
        metavar="LUFS",
    ),
)
DECODE = (Option("--codec-rate", "keep the codec's sample rate, do not resample", type=None),)
TOKENIZE = (Option("--batch-seconds", "audio encoded at once (60)", type=POSITIVE),)


class AudioModality(Modality[AudioCodec]):
    """Waveforms."""

    codec, tokenizer = AudioCodec, AudioTokenizer
    plural, item = "audio", "a recording"
    encoding, decoding = AudioEncoding, AudioDecoding
    options = {"encode": ENCODE, "decode": DECODE, "tokenize": TOKENIZE}
    decoded_suffix = AUDIO_SUFFIX

    def check_encoding(self, codec: AudioCodec, options: AudioEncoding) -> None:
        """Raise ValueError for a loudness that there is not."""
        options.check()

    def check_decoded(self, path: Path) -> None:
        """Raise ValueError unless it is WAV or FLAC."""
        wave_format(path)

    def encode_file(self, codec: AudioCodec, job: FileJob, options: AudioEncoding) -> None:
        """See `encode_audio_file`."""
        encode_audio_file(codec, job, options)

    def decode_file(self, codec: AudioCodec, job: FileJob, options: AudioDecoding) -> None:
        """See `decode_audio_file`."""
        decode_audio_file(codec, job, options)

    def write_item(self, codec: AudioCodec, tokens: Tokens, target: Path, *, item: int = 0) -> None:
        """See `write_audio_item`."""
        write_audio_item(codec, tokens, target, item=item)

    def codec_facts(self, codec: AudioCodec) -> dict[str, Any]:
        """Rates, and how late a stream is."""
        return {
            "sample_rate": codec.sample_rate,
            "channels": codec.channels,
            "hop_length": codec.hop_length,
            "frame_rate": codec.frame_rate,
            "nominal_bits_per_second": codec.bits_per_second,
            "streaming": _latency(codec),
        }

    def token_facts(self, header: TokenHeader, size: int) -> dict[str, Any]:
        """Rates, and the duration."""
        seconds = header.length / header.sample_rate
        frame_rate = header.sample_rate / header.hop_length
        return {
            "sample_rate": header.sample_rate,
            "channels": header.channels,
            "length": header.length,
            "seconds": seconds,
            "frame_rate": frame_rate,
            "nominal_bits_per_second": frame_rate * header.bits_per_position,
            "actual_bits_per_second": 8 * size / seconds if seconds else 0.0,
            "scales": len(header.scale),
        }


def _latency(codec: AudioCodec) -> str:
    """Algorithmic latency of a stream, with its formula."""
    try:
        frame, look_ahead, first = latency(codec)
    except ValueError:
        return "no: it is not causal"
    late = 1000 * (frame + look_ahead) / codec.sample_rate
    return (
        f"({frame} + {look_ahead}) samples / {codec.sample_rate} Hz = {late:.1f} ms of latency, "
        f"{1000 * first / codec.sample_rate:.1f} ms until the first samples"
    )
