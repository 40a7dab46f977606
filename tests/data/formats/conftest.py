"""What it costs to read a file that was made to cost much."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

SECONDS = 0.2  # of one processor, on a machine with nothing else to do
SLOWER = 4  # times, on a busy one
MEMORY = 100  # MiB above start-up
LOOP = 0.01  # seconds that the loop below takes on such a machine

MEASURED = """
import sys, time
from pathlib import Path
if sys.argv[1] == "image":
    from intaglio.data.formats.image import probe_image as probe, read_image as read
else:
    from intaglio.data.formats.wave import probe, read_wave as read
from intaglio.data.formats import open_audio

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def spent(work):
    start = time.process_time()
    outcome = work()
    return time.process_time() - start, outcome

def outcome(look, path):
    open_audio._parts.cache_clear()
    try:
        found = look(path)
        return f"read {list(getattr(found, 'shape', found))}"
    except ValueError as error:
        return f"refused {error}"

for path in sys.argv[2:]:
    loop = spent(lambda: sum(range(500_000)))[0]
    for look in (probe, read):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
        before = peak()
        seconds, said = spent(lambda: outcome(look, path))
        print(peak() - before, seconds, loop, repr(said))
"""


class Cost(NamedTuple):
    """Of a file by its name: MiB above start-up, seconds, those of a loop, and the outcome."""

    name: str
    memory: float
    seconds: float
    loop: float
    outcome: str

    def is_small(self, *, busy: bool = True) -> bool:
        """Whether it is within the limits, on a busy machine or on one as fast as the loop."""
        times = SLOWER if busy else max(1, self.loop / LOOP)
        return self.memory < MEMORY and self.seconds < SECONDS * times


@pytest.fixture
def costs(tmp_path) -> Callable[..., list[Cost]]:
    """Two costs a file, as probed and as read, of tuples that begin with a name and a content."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of memory is read from /proc")

    def measured(kind: str, files: Iterable[tuple], first: dict[str, bytes]) -> list[Cost]:
        """``first``, by suffix, are read before, as they load libraries."""
        names, paths = [], []
        for suffix, data in first.items():
            paths.append(tmp_path / f"first{suffix}")
            paths[-1].write_bytes(data)
        for name, data, *_ in files:
            names.append(name)
            paths.append(tmp_path / f"{len(paths)}{Path(name).suffix}")
            paths[-1].write_bytes(data)
        command = [sys.executable, "-c", MEASURED, kind, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""  # libraries would warn, and log what they raise
        lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()[2 * len(first) :]]
        assert len(lines) == 2 * len(names)
        return [
            Cost(names[number // 2], *map(float, numbers), outcome)
            for number, (*numbers, outcome) in enumerate(lines)
        ]

    return measured
