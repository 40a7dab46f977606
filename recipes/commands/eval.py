"""``intaglio eval``: quality of codecs of audio and of images, and of generators on tokens."""

import argparse
from collections.abc import Sequence
from typing import Any

from intaglio.recipes.commands import eval_audio, eval_generators, eval_images
from intaglio.recipes.commands.options.words import Parser

KINDS = {"audio": eval_audio, "image": eval_images, "generator": eval_generators}


class KindParser(Parser):
    """Parser of one kind: it reports unknown options itself, with its own usage."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse all words, or exit with status 2."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be evaluated, each with its own options."""
    examples = "\n".join(module.EXAMPLES for module in KINDS.values())
    parser.epilog = (
        f"examples:\n{examples}\n\n`intaglio eval KIND --help` lists the options of one."
    )
    kinds = parser.add_subparsers(metavar="KIND", parser_class=KindParser, title="what to evaluate")
    missing = f"say what to evaluate: {', '.join(KINDS)}"
    parser.set_defaults(run=lambda _: parser.error(missing))
    for name, module in KINDS.items():
        kind = kinds.add_parser(
            name,
            help=module.ABOUT,
            description=module.ABOUT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(kind)
        kind.set_defaults(run=module.run)


def run(args: argparse.Namespace) -> None:
    """Evaluate and print the table.

    Raises:
        OSError, ValueError, ModuleNotFoundError: as the kind that was named.
    """
    args.run(args)
