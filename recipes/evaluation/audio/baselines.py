"""Classic codecs to compare with: Opus and Codec2, each charged the bits its receiver needs.

Opus (RFC 6716) comes inside libsndfile, so it is there wherever this package is; at 6 kbit/s it
scores the same as the program ``opusenc``, within 0.005 STOI. Charged are the audio packets, as a
call over a network would carry them, and not Ogg's pages, which would add a third at this rate.
Codec2 (Rowe, 2010) runs as the programs ``c2enc`` and ``c2dec``; charged are the frames that cover
the signal, at their nominal bits.

A decoded signal is moved by the delay of its codec before it is compared. libsndfile does so for
Opus. Codec2 makes up the phases, so that correlating waveforms finds neither its delay nor its
polarity; its delay is a constant of 20 ms, the shift that gives the best STOI in every mode
(searched in steps of 2.5 ms over 19 sentences).
"""

import io
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from intaglio.data.formats.wave import resample
from intaglio.data.sets.tools import Programs, codec2_programs
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.evaluation.audio.recordings import duration
from intaglio.recipes.evaluation.comparison import System
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.rows import Output, RoundTrip

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_HEADERS = 2  # packets: identification and comments
OPUS_LOWEST, OPUS_HIGHEST = 6_000, 256_000  # bit/s at libsndfile's compression levels 1 and 0

CODEC2_RATE = 8_000
CODEC2_DELAY = 160  # samples at 8 kHz; measured, see the docstring
# Samples and bits of a frame by mode; c2enc fills frames up to whole bytes, which is not charged.
CODEC2_FRAMES = {1200: (320, 48), 1300: (320, 52), 2400: (160, 48), 3200: (160, 64)}


class Baseline(System):
    """Base of the classic codecs.

    Attributes:
        name: such as ``opus-6k``.
    """

    def code(self, items: Sequence[Item]) -> Output:
        """Encode and decode all items."""
        trips = [self.roundtrip(item.content, item.sample_rate) for item in items]
        bits = float(sum(trip.bits for trip in trips) / duration(items))
        return Output([trip.decoded for trip in trips], bits)

    def roundtrip(self, wave: Tensor, sample_rate: int) -> RoundTrip:
        """Encode and decode a waveform, float [samples], in [-1, 1].

        Raises:
            ValueError: a wrong shape, or no samples.
            FileNotFoundError: the codec is absent.
        """
        if wave.dim() != 1 or len(wave) == 0:
            raise ValueError(f"{self.name} takes mono waveforms [samples], got {list(wave.shape)}")
        decoded, bits = self._code(wave.detach().cpu().float().clamp(-1, 1), sample_rate)
        decoded = F.pad(decoded, (0, max(0, len(wave) - len(decoded))))[: len(wave)]
        return RoundTrip(decoded, bits)

    def _code(self, wave: Tensor, sample_rate: int) -> tuple[Tensor, int]:
        raise NotImplementedError


class Opus(Baseline):
    """Opus at a target bit rate, variable rate, 20 ms frames.

    Args:
        bits_per_second: target, 6,000 to 256,000.
    """

    def __init__(self, bits_per_second: int) -> None:
        if not OPUS_LOWEST <= bits_per_second <= OPUS_HIGHEST:
            raise WrongUsage(
                f"Opus takes {OPUS_LOWEST} to {OPUS_HIGHEST} bit/s, not {bits_per_second}"
            )
        self.name = f"opus-{bits_per_second / 1000:g}k"
        self.level = (OPUS_HIGHEST - bits_per_second) / (OPUS_HIGHEST - OPUS_LOWEST)

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        if "OPUS" in soundfile.available_subtypes("OGG"):
            return ""
        return "absent: libsndfile without Opus; pip install -U soundfile"

    def _code(self, wave: Tensor, sample_rate: int) -> tuple[Tensor, int]:
        rate = next((one for one in OPUS_RATES if one >= sample_rate), OPUS_RATES[-1])
        file = io.BytesIO()
        with soundfile.SoundFile(
            file, "w", rate, 1, format="OGG", subtype="OPUS", compression_level=self.level
        ) as writer:
            writer.write(_resampled(wave, sample_rate, rate).numpy())
        packets = ogg_packet_sizes(file.getvalue())[OPUS_HEADERS:]
        decoded, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
        return _resampled(torch.from_numpy(decoded), rate, sample_rate), 8 * sum(packets)


class Codec2(Baseline):
    """Codec2, for speech at 8 kHz.

    Args:
        bits_per_second: mode: 1200, 1300, 2400 or 3200.
        programs: where ``c2enc`` and ``c2dec`` are; looked for if None.
    """

    def __init__(self, bits_per_second: int, programs: Programs | None = None) -> None:
        if bits_per_second not in CODEC2_FRAMES:
            raise WrongUsage(f"Codec2 has modes {list(CODEC2_FRAMES)}, not {bits_per_second}")
        self.name = f"codec2-{bits_per_second}"
        self.mode = bits_per_second
        self.programs = codec2_programs() if programs is None else programs

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        return "" if self.programs else "absent: c2enc and c2dec (Debian: apt-get install codec2)"

    def _code(self, wave: Tensor, sample_rate: int) -> tuple[Tensor, int]:
        if self.programs is None:
            raise FileNotFoundError(f"{self.name} is {self.absence()}")
        encoder, decoder = self.programs.encoder, self.programs.decoder
        frame, bits = CODEC2_FRAMES[self.mode]
        wave = _resampled(wave, sample_rate, CODEC2_RATE)
        frames = -(-len(wave) // frame)
        # The last samples leave the decoder one delay late.
        wave = F.pad(wave, (0, -(-(len(wave) + CODEC2_DELAY) // frame) * frame - len(wave)))
        pcm = (wave * 32767).round().clamp(-32768, 32767).numpy().astype("<i2").tobytes()
        with tempfile.TemporaryDirectory() as folder:
            coded = self._run(encoder, pcm, Path(folder))
            decoded = np.frombuffer(self._run(decoder, coded, Path(folder)), "<i2")
        signal = torch.from_numpy(decoded.astype(np.float32) / 32768)[CODEC2_DELAY:]
        return _resampled(signal, CODEC2_RATE, sample_rate), frames * bits

    def _run(self, program: Path, data: bytes, folder: Path) -> bytes:
        """What a program makes of ``data``; both only work on files."""
        assert self.programs is not None
        (folder / "in").write_bytes(data)
        done = subprocess.run(
            [program, str(self.mode), folder / "in", folder / "out"],
            capture_output=True,
            env=self.programs.environment(),
        )
        if done.returncode != 0:
            raise ValueError(f"{program} failed: {done.stderr.decode(errors='replace').strip()}")
        return (folder / "out").read_bytes()


def baseline(name: str) -> Baseline:
    """Classic codec by name: ``opus-6k``, ``opus-12k``, ``codec2-1200``, ``codec2-2400``…

    Raises:
        ValueError: there is no such codec, or not at this rate.
    """
    if match := re.fullmatch(r"opus-(\d+(?:\.\d+)?)k", name):
        return Opus(round(1000 * float(match[1])))
    if match := re.fullmatch(r"codec2-(\d+)", name):
        return Codec2(int(match[1]))
    raise WrongUsage(f"unknown baseline {name!r}: write opus-6k, opus-12k or codec2-1200")


def ogg_packet_sizes(stream: bytes) -> list[int]:
    """Bytes of each packet of an Ogg stream (RFC 3533), headers of the codec included.

    Raises:
        ValueError: it is no Ogg stream, or it is cut inside a page.
    """
    sizes, open_packet, at = [], 0, 0
    while at < len(stream):
        segments = stream[at + 27 : at + 27 + (stream[at + 26] if at + 26 < len(stream) else 0)]
        end = at + 27 + len(segments) + sum(segments)
        if stream[at : at + 4] != b"OggS" or not segments or end > len(stream):
            raise ValueError(f"no whole Ogg page at byte {at} of {len(stream)}")
        for segment in segments:
            open_packet += segment
            if segment < 255:  # a shorter segment ends its packet
                sizes.append(open_packet)
                open_packet = 0
        at = end
    return sizes


def _resampled(wave: Tensor, from_rate: int, to_rate: int) -> Tensor:
    return resample(wave.unsqueeze(0), from_rate, to_rate).squeeze(0)
