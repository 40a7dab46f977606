"""Which demuxer of FFmpeg reads a file, by its first bytes.

To let FFmpeg find out means to let all of its demuxers look at a megabyte, some again and again.
"""

import re

# Demuxers that hold audio and never open a second file or an address, as playlists do.
DEMUXERS = "aac,ac3,amr,asf,flac,g722,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,wav"
SIGNATURES = {
    "mov": rb"....(?:ftyp|moov|mdat|free|skip|wide|pnot|udta)",
    "matroska": rb"\x1a\x45\xdf\xa3",
    "asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "aac": rb"\xff[\xf0\xf1\xf8\xf9]",
    "ac3": rb"\x0b\x77|\x77\x0b",
    "amr": rb"#!AMR",
    "ogg": rb"OggS",
    "flac": rb"fLaC",
    "wav": rb"(?:RIFF|RIFX|RF64)....WAVE",
}
BY_SUFFIX = {".aac": "aac", ".ac3": "ac3", ".amr": "amr"}  # which may be cut at the beginning
_SIGNATURE = re.compile(
    b"|".join(b"(?P<%s>%s)" % (name.encode(), mark) for name, mark in SIGNATURES.items()), re.DOTALL
)


def by_signature(head: bytes) -> str | None:
    """Name of the demuxer of a file by its first 16 bytes behind tags, or None."""
    found = _SIGNATURE.match(head)
    return found.lastgroup if found else None
