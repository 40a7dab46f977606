"""Header of a token file: its fields, their limits, and its form as JSON."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

MAX_HEADER_BYTES = 1 << 16
MAX_DEPTH = 32  # of nested JSON
MAX_GROUPS = 4096
MAX_CODEBOOK = 1 << 32
MAX_PIXELS = 1 << 28  # twice what image files may have
CODINGS = ("packed", "range")

_INTEGERS = ("positions", "sample_rate", "hop_length", "channels", "length")
# No allocation depends on these alone; they only keep nonsense out.
_AUDIO = {
    "positions": (0, 1 << 53),
    "sample_rate": (1, 1_000_000),
    "hop_length": (1, 1_000_000),
    "channels": (1, 1024),
    "length": (0, 1 << 53),
}
_IMAGE = {"positions": (1, 1 << 40), "hop_length": (1, 1 << 16)}
_SIDES = {"height": (1, 1 << 20), "width": (1, 1 << 20), "rows": (0, 1 << 20)}
_SIDES["columns"] = _SIDES["rows"]


class TokenFileError(ValueError):
    """A file that is damaged, truncated, of a newer version or no token file at all."""


class Extent(NamedTuple):
    """Size of a picture, and of the grid of positions that covers it.

    Attributes:
        height: pixels of the picture as it was before it was fitted to the codec.
        width: likewise.
        rows: of the grid, whose cells are ``hop_length`` pixels high and wide; it is no larger than
            it takes to cover the picture. 0 if the positions are no grid.
        columns: likewise.
    """

    height: int
    width: int
    rows: int = 0
    columns: int = 0

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns, or None."""
        return (self.rows, self.columns) if self.rows else None


class TokenHeader(NamedTuple):
    """What a token file says about its ids.

    Attributes:
        codec: name of the codec, for people; 1 to 200 printable characters.
        fingerprint: fingerprint of the codec that made and decodes the ids, 32 hexadecimal digits.
        vocab: codebook size of each group, 1 to 2^32 each.
        positions: number of positions.
        sample_rate: samples per second of the codec; 0 for images.
        hop_length: samples per position; of images, pixels of each side of a position.
        channels: channels of the waveform; 0 for images.
        length: samples per channel at ``sample_rate``; they fit into the positions. 0 for images.
        extras: further plain JSON data, free for the writer.
        modality: a name in `FORMS`: "audio" or "image".
        coding: how the chunks hold the ids; "packed" or "range".
        scale: gain of each segment that decoding must undo, float32 values above 0, at most one a
            position; empty if there is none.
        picture: size of an image and its grid; None for audio.
    """

    codec: str
    fingerprint: str
    vocab: tuple[int, ...]
    positions: int
    sample_rate: int
    hop_length: int
    channels: int
    length: int
    extras: dict[str, Any]
    modality: str = "audio"
    coding: str = "packed"
    scale: tuple[float, ...] = ()
    picture: Extent | None = None

    @property
    def bits_per_position(self) -> float:
        """Bits that one position carries, without entropy coding."""
        return sum(math.log2(size) for size in self.vocab)


class HeaderForm(NamedTuple):
    """What the headers of one modality hold, besides what those of all do.

    Attributes:
        ranges: lowest and highest value of each integer field; of those that are not here only 0
            is allowed, and they are not written.
        fault: finds what is wrong with a header whose integers are in their ranges, or None.
        picture: whether the size of a picture belongs to it.
    """

    ranges: dict[str, tuple[int, int]]
    fault: Callable[[TokenHeader], str | None]
    picture: bool = False

    @property
    def fields(self) -> set[str]:
        """Names in the JSON; the scale is not part of it, but follows the header."""
        every = {"codec", "fingerprint", "vocab", "positions", "extras", "modality", "coding"}
        return every | set(self.ranges) | ({"picture"} if self.picture else set())


def image_header(
    codec: str,
    fingerprint: str,
    *,
    vocab: tuple[int, ...],
    positions: int,
    hop_length: int,
    picture: Extent,
    extras: dict[str, Any],
) -> TokenHeader:
    """Header of the tokens of an image; the arguments are those of `TokenHeader`."""
    header = TokenHeader(codec, fingerprint, vocab, positions, 0, hop_length, 0, 0, extras)
    return header._replace(modality="image", picture=picture)


def header_text(header: TokenHeader) -> bytes:
    """JSON of a header, without its scale.

    Raises:
        ValueError: the header breaks its contract or is too long.
    """
    fault = _fault(header)
    if fault:
        raise ValueError(f"cannot write such a token file: {fault}")
    known = FORMS[header.modality].fields
    fields = {name: value for name, value in header._asdict().items() if name in known}
    if header.picture is not None:
        fields["picture"] = header.picture._asdict()
    text = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"the header takes {len(text)} bytes, more than {MAX_HEADER_BYTES}")
    return text


def parse_header(text: bytes) -> TokenHeader:
    """Header of its JSON, without scale.

    Raises:
        TokenFileError: it is no JSON, or breaks its contract.
    """
    try:
        fields = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise TokenFileError("damaged: its header is not valid JSON") from error
    if not _plain(fields):
        raise TokenFileError(f"damaged: its header is not finite, or nests deeper than {MAX_DEPTH}")
    if not isinstance(fields, dict):
        raise TokenFileError("damaged: its header does not have the fields of a token file")
    modality = fields.get("modality")
    form = FORMS.get(modality if isinstance(modality, str) else "audio", FORMS["audio"])
    if set(fields) != form.fields:
        raise TokenFileError("damaged: its header does not have the fields of a token file")
    if isinstance(fields["vocab"], list):
        fields["vocab"] = tuple(fields["vocab"])
    if "picture" in fields:
        picture = fields["picture"]
        if not isinstance(picture, dict) or set(picture) != set(Extent._fields):
            raise TokenFileError("damaged: its header does not give the size of its picture")
        fields["picture"] = Extent(**picture)
    unused: dict[str, Any] = dict.fromkeys(_INTEGERS, 0)
    return checked(TokenHeader(**unused | fields))


def checked(header: TokenHeader) -> TokenHeader:
    """The header itself.

    Raises:
        TokenFileError: it breaks its contract.
    """
    fault = _fault(header)
    if fault:
        raise TokenFileError(f"refused: {fault}")
    return header


def _fault(header: TokenHeader) -> str | None:
    """What is wrong with a header, or None. Types are not to be trusted."""
    if header.modality not in tuple(FORMS) or header.coding not in CODINGS:
        return (
            f"modality {header.modality!r:.40} with coding {header.coding!r:.40} is unknown here; "
            "if the file is intact, upgrade intaglio"
        )
    name = header.codec
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        return "the name of the codec must have 1 to 200 printable characters"
    digits = header.fingerprint
    if not isinstance(digits, str) or not re.fullmatch("[0-9a-f]{32}", digits):
        return f"the fingerprint must have 32 hexadecimal digits, got {digits!r:.40}"
    if not isinstance(header.vocab, tuple) or not 1 <= len(header.vocab) <= MAX_GROUPS:
        return f"vocab must list 1 to {MAX_GROUPS} codebooks"
    if not all(type(size) is int and 1 <= size <= MAX_CODEBOOK for size in header.vocab):
        return f"a codebook has 1 to {MAX_CODEBOOK} entries"
    form = FORMS[header.modality]
    if fault := _range_fault(header, form.ranges):
        return fault
    if not isinstance(header.extras, dict) or not _plain(header.extras):
        return f"extras must be a JSON object, finite and nested at most {MAX_DEPTH} deep"
    for name in set(_INTEGERS) - set(form.ranges):
        if getattr(header, name) != 0:
            return f"{header.modality} has no {name.replace('_', ' ')}"
    if (header.picture is not None) is not form.picture:
        return f"{header.modality} {'needs' if form.picture else 'has no'} picture"
    return form.fault(header)


def _plain(value: Any, depth: int = 0) -> bool:
    """Whether JSON holds finite numbers only, and nests no deeper than `MAX_DEPTH`."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth < MAX_DEPTH and all(_plain(one, depth + 1) for one in inner)
    return not isinstance(value, float) or math.isfinite(value)


def _range_fault(record: NamedTuple, ranges: dict[str, tuple[int, int]]) -> str | None:
    for name, (low, high) in ranges.items():
        value = getattr(record, name)
        if type(value) is not int or not low <= value <= high:
            return f"{name} must be an integer in [{low}, {high}], got {value!r:.40}"
    return None


def _image_fault(header: TokenHeader) -> str | None:
    assert header.picture is not None
    if header.scale:
        return "an image has no scale"
    if fault := _range_fault(header.picture, _SIDES):
        return fault
    height, width, *grid = header.picture
    if height * width > MAX_PIXELS:
        return f"{height} x {width} pixels are more than {MAX_PIXELS}"
    covering = [-(-side // header.hop_length) for side in (height, width)]
    if grid not in ([0, 0], covering):
        return (
            f"{height} x {width} pixels do not take {grid[0]} x {grid[1]} positions of "
            f"{header.hop_length}"
        )
    return None


def _audio_fault(header: TokenHeader) -> str | None:
    if header.length > header.positions * header.hop_length:
        return (
            f"{header.length} samples do not fit into {header.positions} positions of "
            f"{header.hop_length}"
        )
    return _scale_fault(header)


def _scale_fault(header: TokenHeader) -> str | None:
    if len(header.scale) > header.positions:
        return f"{len(header.scale)} scales for {header.positions} positions"
    values = np.array(header.scale, np.float64)
    with np.errstate(over="ignore"):
        wrong = ~(
            (np.sign(values) == 1) & np.isfinite(values) & (values.astype(np.float32) == values)
        )
    if wrong.any():
        return f"a scale must be a float32 above 0, got {header.scale[int(wrong.argmax())]!r}"
    return None


# One entry a modality; files of all but audio are of version 3.
FORMS = {
    "audio": HeaderForm(_AUDIO, _audio_fault),
    "image": HeaderForm(_IMAGE, _image_fault, picture=True),
}
