"""The console script ``intaglio``: training commands go to Lightning, the others to their modules.

Nothing heavy is imported before a command is known: ``intaglio --help`` answers at once.
Set ``INTAGLIO_TRACEBACK=1`` to see the traceback behind a one-line error.
"""

import argparse
import difflib
import importlib
import importlib.metadata
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from intaglio.recipes.errors import USER_ERRORS, explain

if TYPE_CHECKING:
    from lightning.pytorch.cli import LightningCLI

TRAINING = ("fit", "validate", "test", "predict")
COMMANDS = {
    "train": {
        "fit": "train a codec or a generator by a recipe",
        "validate": "losses on the validation data",
        "test": "losses on the test data",
        "predict": "tokens of all clips of the data, as files beside the logs",
    },
    "use": {
        "encode": "audio or image files to token files",
        "decode": "token files to audio or image files",
        "tokenize": "a data set to tar shards of tokens, in jobs that may be killed",
        "sample": "images drawn by a generator, by class or text",
        "info": "what a token file, a bundle or a checkpoint holds",
    },
    "ship": {"export": "a codec as ONNX, TorchScript or an exported program, verified"},
    "measure": {
        "eval": "quality of a codec on a folder of recordings or images",
        "bench": "speed and memory against named baselines",
    },
    "set up": {
        "data": "bring a data set that needs no account",
        "demo": "the whole way on real speech, with a report",
        "doctor": "what is installed, what works, what is missing",
    },
}
OLD_CALLS = r"\s+.*(JsonargparseDeprecationWarning|deprecated in v4)"
EXAMPLES = """\
examples:
  intaglio demo                                        train a small codec, write demo/report.html
  intaglio encode recordings/ -o tokens/ --codec demo/codec
  intaglio fit -c audio/wavtokenizer --data.root /speech

`intaglio COMMAND --help` tells more about a command.
"""


def main() -> int:
    """Run the command line.

    Returns:
        The exit status: 0 good, 1 an error of the input, told in one line, 130 interrupted. Wrong
        usage exits with 2 from within the parser.
    """
    try:
        try:
            return _run(sys.argv[1:])
        finally:
            sys.stdout.flush()  # here, where a broken pipe is caught
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:  # how Lightning ends an interrupted training
        if isinstance(stop.__context__, KeyboardInterrupt):
            return 130
        raise
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except USER_ERRORS as error:
        if os.environ.get("INTAGLIO_TRACEBACK", "0") != "0":
            traceback.print_exc()
        print(f"intaglio: error: {explain(error)}", file=sys.stderr)
        return 1


def find(recipe: str) -> str:
    """Path of a recipe, given its path or the name of a shipped one without ``.yaml``.

    Raises:
        ValueError: there is no such recipe.
    """
    if Path(recipe).is_file():
        return recipe
    folder = Path(__file__).parent
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml")]
    names = [path.as_posix() for path in paths]
    if recipe in names:
        return str(folder / f"{recipe}.yaml")
    near = difflib.get_close_matches(recipe, names, n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise ValueError(
        f"there is no recipe {recipe!r}{hint}; give the path of a YAML file, or the name of a "
        f"recipe in {folder} without .yaml"
    )


def build(args: list[str] | None = None, run: bool = True) -> "LightningCLI":
    """Build what a recipe names and maybe run it.

    Args:
        args: words of the command line; those of the process if None.
        run: the first word is a command to run; otherwise there is none and nothing runs.

    Raises:
        ValueError: the words or the recipe do not fit, or a part of it refuses its arguments.
    """
    # Lightning 2.6 still calls what jsonargparse 5 will drop, and advises to leave the
    # modules out of the hyperparameters, which are what rebuilds a codec from a checkpoint.
    warnings.filterwarnings("ignore", OLD_CALLS, DeprecationWarning)
    warnings.filterwarnings("ignore", r"Attribute .* is an instance of `nn\.Module`", UserWarning)
    # frozen parts are in evaluation mode on purpose
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode", UserWarning)
    from jsonargparse import ArgumentError
    from lightning.pytorch import LightningDataModule, LightningModule

    from intaglio.recipes.callbacks.config import RecipeInCheckpoint
    from intaglio.recipes.lightning_cli import Training

    try:
        return Training(
            LightningModule,
            LightningDataModule,
            save_config_callback=RecipeInCheckpoint,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"parser_mode": "omegaconf+"},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )
    except ArgumentError as error:
        raise ValueError(str(error)) from error


def _run(words: list[str]) -> int:
    if words and words[0] in TRAINING:
        sys.argv[1:] = _with_paths(words)  # Lightning warns if given words that the process has not
        build()
        return 0
    parser = argparse.ArgumentParser(
        prog="intaglio",
        usage="intaglio COMMAND …",
        description="Discrete codecs for audio and images, and generators over their tokens.",
        epilog=f"{_table()}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("intaglio")
    parser.add_argument("--version", action="version", version=f"intaglio {version}")
    parser.add_argument("command", metavar="COMMAND", help="one of the commands below")
    if not words:
        parser.print_help(sys.stderr)
        return 2
    name = parser.parse_args(words[:1]).command
    known = {name: about for group in COMMANDS.values() for name, about in group.items()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f": did you mean {near[0]}?" if near else "; `intaglio --help` lists the commands"
        parser.error(f"there is no command {name!r}{hint}")
    module = importlib.import_module(f"intaglio.recipes.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"intaglio {name}",
        description=known[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return module.run(parser.parse_args(words[1:])) or 0


def _with_paths(words: list[str]) -> list[str]:
    """The words with every recipe's name, behind ``-c`` or ``--config``, replaced by its path."""
    found = list(words)
    for place, word in enumerate(words):
        option, equals, recipe = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        if equals:
            found[place] = f"--config={find(recipe)}"
        elif place + 1 < len(words):
            found[place + 1] = find(words[place + 1])
    return found


def _table() -> str:
    """The commands by group."""
    lines = []
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:10}{about}" for name, about in group.items()]
    return "\n".join(lines).lstrip()
