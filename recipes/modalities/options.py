"""The options of a command that are for codecs of one modality only."""

import argparse
from typing import Any

from intaglio.codecs import Codec
from intaglio.recipes import modalities
from intaglio.recipes.modalities.base import AnyModality, Command, Option


def add_modality_options(parser: argparse.ArgumentParser, command: Command) -> None:
    """Declare the options of every modality; those that several share only once.

    None has a default: the functions that are given the values have them.
    """
    known: set[str] = set()
    for modality in modalities.MODALITIES:
        group = parser.add_argument_group(f"for {modality.plural}")
        exclusive: dict[str, Any] = {}
        for option in modality.options.get(command, ()):
            if option.flag in known:
                continue
            known.add(option.flag)
            home: Any = group
            if option.exclusive:
                if option.exclusive not in exclusive:
                    exclusive[option.exclusive] = group.add_mutually_exclusive_group()
                home = exclusive[option.exclusive]
            _add(home, option)


def modality_options(
    codec: Codec, modality: AnyModality, command: Command, args: argparse.Namespace
) -> dict[str, Any]:
    """Values of the options that were given, by the names of their arguments.

    Raises:
        ValueError: an option is for other modalities than the codec's.
    """
    own = {option.argument for option in modality.options.get(command, ())}
    for other in modalities.MODALITIES:
        options = other.options.get(command, ())
        given = {
            option.argument for option in options if getattr(args, option.argument) is not None
        }
        if given - own:
            flags = [option.flag for option in options if option.argument not in own]
            raise ValueError(
                f"{_listed(flags)} {'is' if len(flags) == 1 else 'are'} for {other.plural}, "
                f"{codec.name} is a codec of {modality.plural}"
            )
    return {name: getattr(args, name) for name in own if getattr(args, name) is not None}


def _add(home: Any, option: Option) -> None:
    if option.type is None:
        home.add_argument(
            option.flag,
            action="store_true",
            default=None,
            dest=option.argument,
            help=option.help,
        )
        return
    home.add_argument(
        option.flag,
        dest=option.argument,
        type=option.type,
        metavar=option.metavar,
        choices=option.choices,
        help=option.help,
    )


def _listed(flags: list[str]) -> str:
    *others, last = flags
    return f"{', '.join(others)} and {last}" if others else last
