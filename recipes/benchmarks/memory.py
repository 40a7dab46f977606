"""Peak memory of encoding and decoding an hour beside a minute, each in a process of its own."""

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
from intaglio.recipes.benchmarks.timing import Result

MINUTES = 60


def run(minutes: int = MINUTES) -> list[Result]:
    """The commands ``encode`` and ``decode`` with random weights.

    DAC takes most of the time, although its convolutions are computed in bfloat16 here, where they
    take half of it.

    Args:
        minutes: of the long recording.
    """
    torch.manual_seed(0)
    whole = [_result(codec, minutes) for codec in (encodec(), wavtokenizer())]
    return [*whole, _result(dac(16_000), minutes, half=True)]


def _result(codec: AudioCodec, minutes: int, *, half: bool = False) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(codec, folder / "codec")
        short, long = (_peak(folder, codec.sample_rate, length, half) for length in (1, minutes))
    return Result(
        f"encode and decode, {codec.name}, {codec.sample_rate // 1000} kHz, {minutes} minutes",
        long,
        short,
        "one minute",
        "MiB",
        short / long,
        f"{long / short:.2f} times the memory" + (", bfloat16" if half else ""),
    )


def _peak(folder: Path, sample_rate: int, minutes: int, half: bool) -> float:
    """Peak memory, MiB, of the two commands on noise of so many minutes."""
    recording = folder / "in.wav"
    with soundfile.SoundFile(recording, "w", sample_rate, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(0.1 * torch.randn(60 * sample_rate).numpy())
    words = (
        ["encode", str(recording), "-o", str(folder / "tokens.intaglio")],
        ["decode", str(folder / "tokens.intaglio"), "-o", str(folder / "out.wav")],
    )
    peaks = []
    for command in words:
        tail = ["--codec", str(folder / "codec"), "--overwrite"]
        code = (
            "import sys; from intaglio.recipes.benchmarks.memory import report; "
            f"sys.argv[1:] = {[*command, *tail]}; report({half})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    return max(peaks)


def report(half: bool) -> None:
    """Run the command line of this process, then print its peak memory in KiB.

    Args:
        half: compute convolutions and matrix products in bfloat16.
    """
    from intaglio.recipes.cli import main

    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        status = main()
    # not getrusage, whose peak is never below that of the process that started this one
    [line] = [line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")]
    print(line.split()[1])
    sys.exit(status)
