"""``intaglio decode``: token files to recordings and images."""

import argparse

from intaglio.recipes.commands.options.codec import add_codec_options, chosen_any_codec
from intaglio.recipes.commands.options.jobs import add_job_options, job_options
from intaglio.recipes.modalities import modality_of
from intaglio.recipes.modalities.files import decode_files
from intaglio.recipes.modalities.options import add_modality_options, modality_options

EPILOG = """\
examples:
  intaglio decode speech.intaglio -o speech.wav
  intaglio decode tokens/ -o decoded/ --codec demo/codec
  intaglio decode - -o - < speech.intaglio | aplay
  intaglio decode picture.intaglio -o picture.webp --codec BUNDLE

Recordings are written as 16-bit WAV (or FLAC, if OUT ends so) with the rate, the channels and the
number of samples that they had. Images are written as PNG (or WebP or JPEG, if OUT ends so); a
codec that takes any size restores the size that the image had. Only the codec that made a token
file can decode it. Damaged files of a folder are skipped, named at the end, and make the exit
status 1. The same command with --resume goes on after an interruption; give the same options.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs", nargs="+", metavar="IN", help="token file or folder, or - for standard input"
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help="file for one input file, or - for WAV or PNG on standard output; otherwise a folder",
    )
    add_codec_options(parser)
    add_job_options(parser)
    add_modality_options(parser, "decode")


def run(args: argparse.Namespace) -> None:
    """Decode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec or an input is damaged, or they do not belong together.
    """
    files = job_options(args)
    codec = chosen_any_codec(args)
    modality = modality_of(codec)
    given = modality_options(codec, modality, "decode", args)
    options = modality.decoding(**given)
    decode_files(
        codec,
        args.inputs,
        args.out,
        options=options,
        files=files,
    )
