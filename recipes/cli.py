"""The console script ``intaglio``: hands training commands to Lightning, others to their modules.

Nothing heavy is imported before the command is known, so ``intaglio --help`` answers at once.
Set ``INTAGLIO_TRACEBACK=1`` to see the traceback behind a one-line error.
"""

import argparse
import difflib
import importlib
import importlib.metadata
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from intaglio.recipes.commands.options.words import Parser
from intaglio.recipes.errors import (
    USER_ERRORS,
    WrongUsage,
    explain,
    is_out_of_memory,
    say,
    show_traceback,
)

TRAINING = ("fit", "validate", "test", "predict")
COMMANDS = {
    "train": {
        "fit": "train a codec or a generator from a recipe",
        "validate": "compute the losses on the validation data",
        "test": "compute the losses on the test data",
        "predict": "write the tokens of all clips or images of the data next to the logs",
    },
    "use": {
        "encode": "turn audio or image files into token files",
        "decode": "turn token files back into audio or image files",
        "tokenize": "turn a data set into tar shards of tokens, in jobs that can be restarted",
        "ids": "write token files as plain ids for a language model",
        "sample": "draw images from a generator, given classes or texts",
        "info": "show what a token file, a bundle or a checkpoint holds",
    },
    "ship": {"export": "export a codec or a generator, and verify the result"},
    "measure": {
        "eval": "measure the quality of a codec or a generator",
        "bench": "compare speed and memory with named baselines",
    },
    "set up": {
        "data": "fetch a data set that needs no account",
        "demo": "score, export and fine-tune a codec on real speech, with a report",
        "recipes": "list the recipes to train from",
        "doctor": "show what is installed, what works and what is missing",
    },
}
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
USUAL = (signal.SIG_DFL, signal.default_int_handler)
EXAMPLES = """\
examples:
  intaglio demo                                        hear a codec: writes demo/report.html
  intaglio encode recordings/ -o tokens/ --codec speech
  intaglio fit -c audio/wavtokenizer --data.root /speech

`intaglio COMMAND --help` describes the options of a command.
"""


def main() -> int:
    """Run the command line.

    Returns:
        The exit status: 0 for success, 1 for an error of the user and 2 for wrong usage, which are
        reported in one line, 130 if interrupted. The parser exits with 2 itself, SIGTERM with 143
        and SIGHUP with 129, also in one line.
    """
    try:
        try:
            return _run(sys.argv[1:])
        finally:
            sys.stdout.flush()  # here, where a broken pipe is caught
    except KeyboardInterrupt:
        say("interrupted")
        return 128 + signal.SIGINT
    except SystemExit as stop:  # how Lightning ends an interrupted training
        if isinstance(stop.__context__, KeyboardInterrupt):
            return 128 + signal.SIGINT
        if isinstance(stop.code, int) and stop.code > 128:
            say(f"ended by {signal.Signals(stop.code - 128).name}")
        raise
    except BrokenPipeError:  # the reader of our output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not (isinstance(error, USER_ERRORS) or is_out_of_memory(error)):
            raise
        show_traceback(error)
        say(f"error: {explain(error)}")
        return 2 if isinstance(error, WrongUsage) else 1


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
        f"recipe without .yaml; `intaglio recipes` lists them"
    )


def _run(words: list[str]) -> int:
    if words and words[0] in TRAINING:
        if {"-h", "--help"} & {*words}:
            from intaglio.recipes.training.help import page

            print(page(words[0]), end="")
            return 0
        words = ["--help" if word == "--help-all" else word for word in words]
        from intaglio.recipes.lightning_cli import build

        sys.argv[1:] = _with_paths(words)  # Lightning warns if given words that the process has not
        build()
        return 0
    parser = Parser(
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
        hint = f": did you mean {near[0]}?" if near else ""
        parser.error(f"there is no command {name!r}{hint}")
    module = importlib.import_module(f"intaglio.recipes.commands.{name}")
    parser = Parser(
        prog=f"intaglio {name}",
        description=known[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    args = parser.parse_args(words[1:])
    with _cleaning_up():
        if not getattr(args, "trust", []):
            return module.run(args) or 0
        from intaglio.recipes.commands.options.trust import trusted

        with trusted(args.trust):
            return module.run(args) or 0


@contextmanager
def _cleaning_up() -> Iterator[None]:
    """End on signals in order: nothing half-written stays. A training has its own way."""
    ending = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in ending}
    usual = [number for number, way in before.items() if way in USUAL]
    if threading.current_thread() is not threading.main_thread():
        usual = []
    for number in usual:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in usual:
            signal.signal(number, before[number])


def _end(number: int, frame: FrameType | None) -> None:
    if _in_callback(frame):
        again = threading.Timer(0.01, os.kill, (os.getpid(), number))
        again.daemon = True
        return again.start()
    for each in ENDING:  # another one must not disturb the cleaning
        if hasattr(signal, each):
            signal.signal(getattr(signal, each), signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _in_callback(frame: FrameType | None) -> bool:
    """Whether a frame was called by libsndfile, which would lose an exception."""
    while frame is not None:
        code = frame.f_code
        if code.co_name.startswith("vio_") and code.co_filename.endswith("soundfile.py"):
            return True
        frame = frame.f_back
    return False


def _with_paths(words: list[str]) -> list[str]:
    """The words, with the name of each recipe after ``-c`` or ``--config`` replaced by its path."""
    found = list(words)
    for index, word in enumerate(words):
        option, equals, recipe = word.partition("=")
        if option not in ("-c", "--config"):
            continue
        if equals:
            found[index] = f"--config={find(recipe)}"
        elif index + 1 < len(words):
            found[index + 1] = find(words[index + 1])
    return found


def _table() -> str:
    """The commands by group."""
    lines = []
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:10}{about}" for name, about in group.items()]
    return "\n".join(lines).lstrip()
