"""Files out of Debian, Python and npm packages: fetched by their own clients, not installed."""

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath


def fetch_debian(packages: Sequence[str], folder: Path) -> None:
    """Unpack Debian packages into ``folder``; nothing is installed, and root is not needed.

    Raises:
        OSError: apt-get or dpkg-deb is missing, or the packages cannot be had.
    """
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise OSError(
            f"{', '.join(packages)}: Debian packages need {' and '.join(missing)}, which this "
            "system lacks; `intaglio data get speech-pip` does without"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".archives-", dir=folder) as temporary:
        download = ["apt-get", "download", *packages]
        reason = _run(download, temporary)
        if reason and os.geteuid() == 0:
            logging.getLogger(__name__).warning(
                "apt-get download failed; running apt-get update once"
            )
            reason = _run(["apt-get", "update"], temporary) or _run(download, temporary)
        if reason:
            raise OSError(
                f"apt-get cannot download {', '.join(packages)}: {reason}; run `apt-get update` "
                "as root, check the network and try again"
            )
        archives = sorted(Path(temporary).glob("*.deb"))
        if len(archives) < len(packages):
            raise OSError(f"apt-get left {len(archives)} archives for {', '.join(packages)}")
        for archive in archives:
            if reason := _run(["dpkg-deb", "-x", str(archive), str(folder)], temporary):
                raise OSError(f"dpkg-deb cannot unpack {archive.name}: {reason}")


def fetch_source(requirement: str, folder: Path) -> Path:
    """Source archive of a Python package, fetched by pip into ``folder``; nothing is installed.

    Args:
        requirement: name and version, as ``name==1.0``.
        folder: an empty folder.

    Raises:
        OSError: pip is missing or cannot fetch it.
    """
    name = requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    reason = _run([*command, "--no-binary", name, "--dest", ".", requirement], str(folder))
    archives = sorted(folder.glob("*.tar.gz"))
    if reason or not archives:
        reason = reason or "it left no source archive"
        raise OSError(f"pip cannot download {requirement}: {reason}; check the network")
    return archives[0]


def fetch_npm(requirement: str, folder: Path) -> Path:
    """Archive of an npm package, fetched by npm into ``folder``; nothing of it is run or installed.

    Args:
        requirement: name and version, as ``name@1.0.0``.
        folder: an empty folder.

    Raises:
        OSError: npm is missing or cannot fetch it.
    """
    if shutil.which("npm") is None:
        raise OSError(f"{requirement}: npm packages need npm (Debian: apt-get install npm)")
    folder.mkdir(parents=True, exist_ok=True)
    reason = _run(["npm", "pack", "--ignore-scripts", "--silent", requirement], str(folder))
    archives = sorted(folder.glob("*.tgz"))
    if reason or not archives:
        reason = reason or "it left no archive"
        raise OSError(f"npm cannot fetch {requirement}: {reason}; check the network")
    return archives[0]


def npm_files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Files of an npm archive, each with its path below the package; none is written anywhere."""
    with tarfile.open(archive) as opened:
        for member in opened:
            if (file := opened.extractfile(member)) is not None:
                yield PurePosixPath(*PurePosixPath(member.name).parts[1:]), file.read()


def debian_copyright(folder: Path, package: str) -> str:
    """Licence text of a package unpacked in ``folder``; empty if it has none."""
    path = folder / "usr/share/doc" / package / "copyright"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _run(command: list[str], folder: str) -> str:
    """Run a command in ``folder``; an empty string if it went well, else the reason in one line."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    # npm prints a code, then the reason, then advice
    reasons = [line for line in lines if line.startswith(("npm error ", "npm ERR! "))]
    if reasons := [line for line in reasons if line.split()[2] != "code"]:
        return reasons[0]
    # apt begins warnings with W: (one is about its own sandbox) and errors with E:; pip says ERROR:
    errors = [line for line in lines if line.startswith(("E:", "ERROR:"))] or [
        line for line in lines if not line.startswith("W:")
    ]
    return errors[-1] if errors else f"{command[0]} ended with status {done.returncode}"
