"""``intaglio export``: a codec as ONNX, TorchScript or an exported program, verified."""

import argparse

from intaglio.recipes.codec_option import chosen_any_codec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Each export runs before it is put in place, on sounds of ten lengths or on several\n"
        "pictures, alone and in batches; it is refused if a token differs. Batches may have any\n"
        "size and sounds any length; pictures have the size that the codec was trained on.\n\n"
        "example:\n  intaglio export demo/codec -o exported --format onnx,torchscript,program"
    )
    parser.add_argument("codec", help="bundle folder or training checkpoint")
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--format", default="onnx", help="of onnx, torchscript, program; commas between (onnx)"
    )


def run(args: argparse.Namespace) -> None:
    """Export, and print what was written and compared."""
    from intaglio.export.export import export

    args.device = "cpu"  # exported graphs are made and compared there
    for record in export(chosen_any_codec(args), args.out, args.format.split(",")):
        result = record["verified"]
        ties = f", {result['ties']} of them rounding ties" if result["ties"] else ""
        for name, size in record["files"].items():
            print(f"{args.out}/{name}  {size / 1e6:.1f} MB")
        print(f"  {result['tokens']} tokens equal {_tried(result['shapes'])}{ties}; ", end="")
        print(f"within {result['error']:.1g} of what the codec decodes")


def _tried(shapes: list[list[int]]) -> str:
    if len(shapes[0]) == 4:
        return f"in {sum(shape[0] for shape in shapes)} pictures"
    return f"at {len({shape[-1] for shape in shapes})} lengths"
