"""``intaglio export``: a codec as ONNX, TorchScript or a program, a generator as a Llama."""

import argparse
from typing import Any

from intaglio.export.export import ENDINGS, export
from intaglio.recipes.commands.options.codec import chosen_any_codec
from intaglio.recipes.commands.options.trust import add_trust_option
from intaglio.recipes.commands.options.words import names
from intaglio.recipes.errors import say

LLAMA = "llama"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Each export is run before it is put in place, on signals of ten lengths or on several\n"
        "images, alone and in batches; it is refused if a token differs. Batches may have any\n"
        "size and signals any length; images have the size that the codec was trained on.\n"
        "stream: ONNX of one step of a causal codec, with its state as input and output.\n\n"
        "An autoregressive generator becomes a LlamaForCausalLM if a Llama can express it;\n"
        "it is refused if its logits differ. export.json explains its ids.\n\n"
        "examples:\n  intaglio export demo/codec -o exported --format onnx,torchscript,program\n"
        "  intaglio export RUN/checkpoints/last.ckpt -o exported --format llama"
    )
    parser.add_argument(
        "codec",
        metavar="PART",
        help="bundle folder or training checkpoint of a codec or a generator, or the name of one "
        "that comes with the package: speech, emoji",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="folder for the files")
    parser.add_argument(
        "--format",
        type=_formats,
        default="onnx",
        help="onnx, torchscript, program, stream, or several of these separated by commas; "
        "llama for a generator (onnx)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what is there of another model or of others",
    )
    add_trust_option(parser)


def run(args: argparse.Namespace) -> None:
    """Export, and print what was written and compared."""
    args.device = "cpu"  # exports are made and compared there
    if args.format != [LLAMA]:
        return _codec(args)
    from intaglio.export import llama
    from intaglio.generators.load import load

    record = llama.export(load(args.codec), args.out, say, overwrite=args.overwrite)
    result = record["verified"]
    _print_files(args.out, record)
    print(f"  {result['logits']} logits within {result['error']:.1g}, ", end="")
    print(f"{result['greedy']:.2%} of the greedy tokens equal")


def _formats(text: str) -> list[str]:
    """Formats of a codec, or that of a generator, for argparse."""
    found = names(text)
    if unknown := [name for name in found if name not in (*ENDINGS, LLAMA)]:
        known = ", ".join((*ENDINGS, LLAMA))
        raise argparse.ArgumentTypeError(f"formats are {known}, not {', '.join(unknown)}")
    if LLAMA in found and len(found) > 1:
        raise argparse.ArgumentTypeError(f"{LLAMA} is for a generator, the others are for a codec")
    return found


def _codec(args: argparse.Namespace) -> None:
    codec, replace = chosen_any_codec(args), args.overwrite
    for record in export(codec, args.out, args.format, overwrite=replace, progress=say):
        result = record["verified"]
        ties = f", {result['ties']} of them rounding ties" if result["ties"] else ""
        _print_files(args.out, record)
        print(f"  {result['tokens']} tokens equal {_tried(result['shapes'])}{ties}; ", end="")
        print(f"within {result['error']:.1g} of what the codec decodes")


def _print_files(folder: str, record: dict[str, Any]) -> None:
    for name, size in record["files"].items():
        print(f"{folder}/{name}  {size / 1e6:.1f} MB")


def _tried(shapes: list[list[int]]) -> str:
    if len(shapes[0]) == 4:
        return f"in {sum(shape[0] for shape in shapes)} images"
    lengths = len({shape[-1] for shape in shapes})
    return f"at {lengths} lengths" if lengths > 1 else "chunk by chunk"
