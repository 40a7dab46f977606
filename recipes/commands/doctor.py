"""``intaglio doctor``: shows what is installed, what works, and how to get what is missing."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

from packaging.requirements import Requirement

IMPORTS = {  # module: whether the core needs it, and the advice if its import fails
    "intaglio.codecs": (True, "install intaglio again"),
    "lightning.pytorch.cli": (False, "training needs it; install lightning again"),
}
PROGRAMS = {
    "c2enc": "`intaglio eval audio` compares with Codec 2; install the package codec2, or run "
    "`intaglio demo`, which fetches it",
    "opusenc": "for making Opus files by hand; intaglio itself uses soundfile",
    "ffmpeg": "for converting media by hand; intaglio itself uses the media extra",
}


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        group: heading in the table.
        name: what was checked.
        good: whether it is as it should be.
        needed: whether the core needs it.
        detail: what was found, or what to do.
    """

    group: str
    name: str
    good: bool
    needed: bool
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = "Please add the output to every bug report."
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Check everything and print it; the status is 0 if the core works, else 1."""
    checks = [*_packages(), *_imports(), *_devices(), _write_test(), *_programs()]
    works = all(check.good for check in checks if check.needed)
    missing = sum(not check.good for check in checks if not check.needed)
    if args.json:
        found = [check._asdict() for check in checks]
        print(json.dumps({"core_works": works, "missing": missing, "checks": found}, indent=2))
        return 0 if works else 1
    width = 2 + max(len(check.name) for check in checks)
    group = None
    for check in checks:
        if check.group != group:
            group = check.group
            print(group)
        mark = "ok" if check.good else "FAILS" if check.needed else "-"
        print(f"  {mark:6}{check.name:{width}}{check.detail}")
    core = "the core works" if works else "the core does not work: see the lines marked FAILS"
    print(f"result: {core}; optional things missing: {missing}")
    return 0 if works else 1


def _packages() -> Iterator[Check]:
    """Python, and every package that this one requires, including those of the extras."""
    good = sys.version_info >= (3, 11)
    yield Check(
        "system", "python", good, True, f"{platform.python_version()}, {platform.platform()}"
    )
    yield Check("system", "intaglio", True, True, version("intaglio"))
    for line in requires("intaglio") or []:
        wanted = Requirement(line)
        extra = _extra(wanted)
        if wanted.name == "intaglio" or extra == "dev":
            continue
        good, detail = _installed(wanted)
        if not good:
            package = f"intaglio[{extra}]" if extra else "intaglio"
            detail += f"; pip install '{package}'"
        group = f"extra: {extra}" if extra else "packages"
        yield Check(group, wanted.name, good, extra is None, detail)


def _extra(wanted: Requirement) -> str | None:
    """The extra that a requirement belongs to, None for the core."""
    marker = str(wanted.marker or "")
    return marker.partition('extra == "')[2].partition('"')[0] or None


def _installed(wanted: Requirement) -> tuple[bool, str]:
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return False, "not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return True, found
    return False, f"{found}, but {wanted.specifier} is needed"


def _imports() -> Iterator[Check]:
    """Packages whose import may fail although they are there; tried in other processes."""
    tries = [(module, _start_import(module)) for module in IMPORTS]
    for module, process in tries:
        lines = process.communicate()[1].strip().splitlines()
        if process.returncode == 0:
            yield Check("imports", module, True, True, "works")
            continue
        reason = lines[-1] if lines else f"status {process.returncode}"
        needed, use = IMPORTS[module]
        yield Check("imports", module, False, needed, f"{reason}; {use}")


def _start_import(module: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-P", "-c", f"import {module}"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _devices() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("devices", "torch", False, True, f"cannot be imported: {error}")
        return
    yield Check("devices", "cpu", True, True, f"{torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Check("devices", "cuda", False, False, "none; everything runs on the CPU, slowly")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = f"{properties.total_memory / 2**30:.0f} GiB"
        yield Check("devices", f"cuda:{index}", True, False, f"{properties.name}, {memory}")
    if torch.backends.mps.is_available():
        yield Check("devices", "mps", True, False, platform.processor())


def _write_test() -> Check:
    """Try to write where data sets are kept, without leaving a folder behind."""
    from intaglio.data.sets.base import home

    folder = home()
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(os.urandom(1 << 20))
    except OSError as error:
        advice = "set INTAGLIO_DATA to a folder that can be written"
        return Check("folders", "data", False, False, f"{folder}: {error.strerror}; {advice}")
    free = shutil.disk_usage(existing).free / 2**30
    return Check("folders", "data", True, False, f"{folder}, {free:.1f} GiB free")


def _programs() -> Iterator[Check]:
    from intaglio.data.sets.tools import codec2_programs

    codec2 = codec2_programs()  # what `eval` uses: of the system or fetched
    for name, use in PROGRAMS.items():
        path = shutil.which(name)
        if name == "c2enc":
            path = str(codec2.encoder) if codec2 else None
        yield Check("programs", name, path is not None, False, path or f"not found: {use}")
