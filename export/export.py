"""Export a codec in one or more formats, each compared with the codec before it is put in place."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from intaglio.codecs import Codec
from intaglio.codecs.folding import fold
from intaglio.data.formats.atomic import replacing_set
from intaglio.data.formats.named import named
from intaglio.export import onnx, program, stream, torchscript
from intaglio.export.card import CARD, check_free, earlier, kept, listed, write
from intaglio.export.graphs import Graphs, check
from intaglio.export.signals import signal_of
from intaglio.export.verify import verify

FORMATS: dict[str, ModuleType] = {"onnx": onnx, "torchscript": torchscript, "program": program}
STREAM = "stream"  # step by step, with explicit state, as ONNX
ENDINGS = {"onnx": ".onnx", "torchscript": ".ts", "program": ".pt2", STREAM: "_stream.onnx"}


def export(
    codec: Codec,
    folder: str | Path,
    formats: Sequence[str],
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> list[dict[str, Any]]:
    """Write the codec's encoder and decoder, and ``export.json`` that describes how to call them.

    Args:
        codec: a codec on the CPU; its weight normalisation is folded in.
        folder: where the files go; made if absent. They appear in one step, and replace those of
            an earlier export, but for other formats of the same codec.
        formats: of ``onnx``, ``torchscript``, ``program``, and ``stream`` of causal codecs.
        overwrite: also replace an export of another codec, and files that no export lists.
        progress: called with each step, in words, before it is done; some take a minute.

    Returns:
        A record for each format: files with sizes, and what the verification compared.

    Raises:
        ValueError: an unknown format, a codec that cannot be exported, an exported graph that
            differs from the codec, or a folder with an export of another codec or with files of
            these names that no export lists; no file is written or replaced then.
        ModuleNotFoundError: a package that the format needs is missing.
    """
    unknown = [name for name in formats if name not in ENDINGS]
    if unknown or not formats:
        raise ValueError(f"formats are {', '.join(ENDINGS)}; got {', '.join(unknown) or 'none'}")
    if "onnx" in formats or STREAM in formats:
        onnx.check_installed()
    check(codec)
    if STREAM in formats:
        stream.StepGraphs(codec)
    folder = named(folder, "folder for the export")
    names = [f"{part}{ENDINGS[name]}" for name in formats for part in ("encoder", "decoder")]
    if not overwrite:
        check_free(folder, names, "another program", codec.fingerprint)
    fold(codec).eval()
    graphs = Graphs(codec)
    card = earlier(folder)
    old = [one for one in kept(folder, card, codec.fingerprint) if one["format"] not in formats]
    drop = listed(card.get("exports", [])) - listed(old)
    records: list[dict[str, Any]] = []
    with replacing_set(folder, drop=drop) as new:
        for kind in formats:
            progress(f"{kind}: writing")
            if kind == STREAM:
                records.append(stream.write(codec, new))
                continue
            FORMATS[kind].write(graphs, new)
            paths = sorted(path for path in new.iterdir() if path.name not in listed(records))
            progress(f"{kind}: comparing it with the codec")
            result = verify(codec, *FORMATS[kind].run(new))
            sizes = {path.name: path.stat().st_size for path in paths}
            records.append({"format": kind, "files": sizes, "verified": result._asdict()})
        write(new / CARD, _card(codec, graphs, old + records))
    return records


def _card(codec: Codec, graphs: Graphs, records: list[dict[str, Any]]) -> dict[str, Any]:
    """What a caller of the files needs to know."""
    card: dict[str, Any] = {"codec": codec.name, "fingerprint": codec.fingerprint}
    card |= signal_of(codec).card(graphs.names)
    card["ids"] = "int64 [batch, positions, groups], what the encoder gives and the decoder takes"
    return card | {"vocab": list(codec.vocab), "exports": records}
