"""``intaglio encode``: recordings and images to token files."""

import argparse

from intaglio.data.formats import entropy
from intaglio.recipes.commands.options.codec import add_codec_options, chosen_any_codec
from intaglio.recipes.commands.options.jobs import add_job_options, job_options
from intaglio.recipes.commands.options.words import whole
from intaglio.recipes.errors import WrongUsage
from intaglio.recipes.modalities import modality_of
from intaglio.recipes.modalities.files import encode_files
from intaglio.recipes.modalities.options import add_modality_options, modality_options
from intaglio.recipes.tokenization.encode_live import run_live

EPILOG = """\
examples:
  intaglio encode speech.wav -o speech.intaglio
  intaglio encode recordings/ more/take1.flac -o tokens/ --codec demo/codec
  intaglio encode concert.flac -o concert.intaglio --stereo mid-side --bitrate 12000
  ffmpeg -i talk.mkv -f wav - | intaglio encode - -o - > talk.intaglio
  arecord -f S16_LE -r 24000 | intaglio encode --stream - -o - --codec CAUSAL
  intaglio encode pictures/ -o tokens/ --codec BUNDLE

The codec decides whether recordings or images are read. Recordings may be of any length. They are
resampled to the codec's rate, and the token file stores what `decode` needs to undo it. An image is
given whole to a codec that takes any size, and resized for a codec of one size. In a folder, hidden
files and files with other suffixes are ignored; damaged ones are skipped, named at the end, and
make the exit status 1. The same command with --resume goes on after an interruption; give the same
options. Standard input is recognised by its content; it is kept in a temporary file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="audio or image file or folder, or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--out",
        required=True,
        help="token file for one input file, or - for standard output; otherwise a folder",
    )
    add_codec_options(parser)
    parser.add_argument(
        "--entropy", action="store_true", help="entropy-code where that saves bytes"
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="encode standard input while it comes, by a causal codec: a WAV stream of 16 or 32 "
        "bits; with -o -, the ids of every position are printed at once",
    )
    parser.add_argument(
        "--pcm-rate",
        type=whole(1),
        metavar="HZ",
        help="with --stream: bare 16-bit little-endian samples of one channel at this rate come",
    )
    add_job_options(parser)
    add_modality_options(parser, "encode")


def run(args: argparse.Namespace) -> None:
    """Encode every input.

    Raises:
        OSError: an input is missing, an output exists or cannot be written.
        ValueError: a codec, an option or an input is damaged or does not fit.
        ModuleNotFoundError: an extra is missing.
    """
    files = job_options(args)
    if args.entropy:  # a missing extra is reported now, not after hours
        entropy.check_installed()
    codec = chosen_any_codec(args)
    modality = modality_of(codec)
    given = modality_options(codec, modality, "encode", args)
    if args.stream or args.pcm_rate:
        if not (args.stream and args.inputs == ["-"]):
            raise WrongUsage("--stream and --pcm-rate are for standard input: --stream -")
        if args.entropy or not set(given) <= {"levels", "bitrate"}:
            raise WrongUsage("--stream takes --levels or --bitrate, no other options of encoding")
        options = modality.encoding(**given)
        run_live(codec, options, args.out, pcm_rate=args.pcm_rate, overwrite=args.overwrite)
        return
    encode_files(
        codec,
        args.inputs,
        args.out,
        options=modality.encoding(entropy=args.entropy, **given),
        files=files,
    )
