"""``intaglio export``: a codec as ONNX, TorchScript or an exported program, verified."""

import argparse

from intaglio.recipes.codec_option import chosen_codec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "Each export runs on inputs of ten lengths, alone and in batches, before it is put in\n"
        "place; it is refused if a token differs.\n\n"
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
    for record in export(chosen_codec(args), args.out, args.format.split(",")):
        result = record["verified"]
        ties = f", {result['ties']} of them rounding ties" if result["ties"] else ""
        for name, size in record["files"].items():
            print(f"{args.out}/{name}  {size / 1e6:.1f} MB")
        print(
            f"  {result['tokens']} tokens equal at {len(result['lengths'])} lengths{ties}; "
            f"samples within {result['wave_error']:.1g}"
        )
