"""Exports a codec for a report, and compares the files with it, each with its own check."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from intaglio.codecs import AudioCodec
from intaglio.recipes.errors import explain
from intaglio.recipes.evaluation.items import Item
from intaglio.recipes.evaluation.report.page import ExportedFile

if TYPE_CHECKING:
    from intaglio.export.verify import Difference


def exported_files(
    codec: AudioCodec, folder: Path, item: Item, *, say: Callable[[str], None]
) -> list[ExportedFile]:
    """Export to ONNX, and compare the exported pair with the codec on an utterance.

    Args:
        codec: on the CPU.
        folder: where the files go; their paths begin with its name.
        item: the utterance, at the codec's rate.
        say: takes lines for the console: what fails, or why nothing is exported.
    """
    try:
        from intaglio.export import onnx
        from intaglio.export.export import export
        from intaglio.export.graphs import Graphs
        from intaglio.export.verify import compare

        [record] = export(codec, folder, ["onnx"])
        encoder, decoder = onnx.run(folder)
    except ModuleNotFoundError as error:
        say(f"continuing without ONNX: {explain(error)}")
        return []
    except ValueError as error:  # a graph that differs from the codec
        say(f"the export FAILED: {explain(error)}")
        return [ExportedFile(folder.name, 0, explain(error), False)]
    wave, generator = item.content[None, None], torch.Generator().manual_seed(0)
    files = _checked(record, compare(Graphs(codec), wave, encoder, decoder, generator), item.name)
    for file in files:
        if not file.passed:
            say(f"the exported {file.path} FAILED: {file.check}")
    return [file._replace(path=f"{folder.name}/{file.path}") for file in files]


def _checked(record: dict[str, Any], found: "Difference", name: str) -> list[ExportedFile]:
    """The encoder and the decoder, each with its own check on an utterance."""
    from intaglio.export.verify import MAX_ERROR

    verified = record["verified"]
    equal = f"equal{_but_for(found.ties)}" if not found.wrong else f"{found.wrong} DIFFER"
    checks = {
        "encoder.onnx": (
            f"{verified['tokens']} tokens of made-up sounds equal{_but_for(verified['ties'])}; "
            f"{found.tokens} of {name}: {equal}",
            found.wrong == 0,
        ),
        "decoder.onnx": (
            f"samples within {verified['error']:.1g} for made-up sounds, within {found.error:.1g} "
            f"for {name}",
            found.error <= MAX_ERROR,
        ),
    }
    sizes = record["files"]
    return [ExportedFile(file, sizes[file], *checks[file]) for file in sizes]


def _but_for(ties: int) -> str:
    return f" but for {ties} rounding tie{'s' if ties > 1 else ''}" if ties else ""
