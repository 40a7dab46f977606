"""Peak memory of encoding and decoding an hour, compared with a minute, each in its own process."""

import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
import torch

from intaglio.codecs import AudioCodec
from intaglio.codecs.audio.dac import dac
from intaglio.codecs.audio.encodec import encodec
from intaglio.codecs.audio.wavtokenizer import wavtokenizer
from intaglio.codecs.bundle import save
from intaglio.recipes.benchmarks.timing import Timing

MINUTES = 60

# Runs a command line, in bfloat16 if the first word says so, and prints the peak memory in KiB: not
# by getrusage, whose peak is never below that of the process that started this one.
COMMAND_LINE = """
import sys
from pathlib import Path
import torch
from intaglio.recipes.cli import main

half = sys.argv.pop(1) == "1"
with torch.autocast("cpu", torch.bfloat16, enabled=half):
    status = main()
lines = Path("/proc/self/status").read_text().splitlines()
print(*(line.split()[1] for line in lines if line.startswith("VmHWM")))
sys.exit(status)
"""


def run(minutes: int = MINUTES) -> list[Timing]:
    """The commands ``encode`` and ``decode`` with random weights.

    DAC takes most of the time, even though its convolutions are computed in bfloat16 here, which
    halves it.

    Args:
        minutes: of the long recording.
    """
    torch.manual_seed(0)
    results = [_result(codec, minutes) for codec in (encodec(), wavtokenizer())]
    return [*results, _result(dac(16_000), minutes, half=True)]


def _result(codec: AudioCodec, minutes: int, *, half: bool = False) -> Timing:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(codec, folder / "codec")
        short, long = (_peak(folder, codec.sample_rate, length, half) for length in (1, minutes))
    return Timing(
        f"encode and decode, {codec.name}, {codec.sample_rate // 1000} kHz, {minutes} minutes",
        long,
        short,
        "one minute",
        "MiB",
        short / long,
        f"{long / short:.2f} times the memory" + (", bfloat16" if half else ""),
    )


def _peak(folder: Path, sample_rate: int, minutes: int, half: bool) -> float:
    """Peak memory, MiB, of the two commands on noise of the given duration."""
    recording = folder / "in.wav"
    with soundfile.SoundFile(recording, "w", sample_rate, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(0.1 * torch.randn(60 * sample_rate).numpy())
    tokens, decoded = folder / "tokens.intaglio", folder / "out.wav"
    options = ["--codec", str(folder / "codec"), "--overwrite"]
    return max(
        _measured([command, str(source), "-o", str(target), *options], half)
        for command, source, target in (("encode", recording, tokens), ("decode", tokens, decoded))
    )


def _measured(words: list[str], half: bool) -> float:
    """Peak memory, MiB, of a command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_LINE, str(int(half)), *words], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stdout.split()[-1]) / 1024
