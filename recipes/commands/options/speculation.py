"""Names of drafters and acceptance rules: ``jacobi``, ``jacobi:coupling=maximal,initial=last``.

A name stands for a class or a function, and its options are the arguments: one line makes a new one
known. Arguments called ``codec`` and ``rule`` are no options: they get what the command has.
"""

import argparse
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from intaglio.codecs import Codec
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.load import load
from intaglio.generators.samplers.acceptance.base import AcceptanceRule
from intaglio.generators.samplers.acceptance.continuous import (
    MixtureRejection,
    ReflectionCoupling,
)
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.acceptance.multi_draft import (
    KSeq,
    RecursiveRejection,
    SampleMatch,
)
from intaglio.generators.samplers.acceptance.relaxed import Annealed, TVBudget
from intaglio.generators.samplers.drafters import successor_file
from intaglio.generators.samplers.drafters.adjacency import AdjacencyDrafter
from intaglio.generators.samplers.drafters.any_order import AnyOrderDrafter
from intaglio.generators.samplers.drafters.base import Drafter
from intaglio.generators.samplers.drafters.jacobi import Coupling, Initial, JacobiDrafter
from intaglio.generators.samplers.drafters.model import ModelDrafter
from intaglio.generators.samplers.drafters.vectors import VectorModelDrafter
from intaglio.recipes.commands.options import codebook_rules

NONE = "none"
PROVIDED = ("codec", "rule")


def jacobi(
    rule: AcceptanceRule,
    coupling: Coupling | None = None,
    initial: Initial = "last",
    siblings: int = 1,
) -> JacobiDrafter:
    """The drafter, with the coupling that suits the rule if none is chosen."""
    same_numbers = isinstance(rule, GumbelMatch) or rule.takes_vectors
    suited: Coupling = "gumbel" if same_numbers else "maximal"
    return JacobiDrafter(coupling or suited, initial, siblings)


def model(
    rule: AcceptanceRule,
    generator: str,
    branching: str = "1",
    beams: int = 0,
    levels: int | None = None,
    guidance: float = 1.0,
) -> ModelDrafter | VectorModelDrafter:
    """The drafter of a bundle, as the rule needs its drafts; branching as in 2x2x1."""
    small = load(generator).eval()
    if rule.takes_vectors:
        if beams or levels is not None or branching != "1":
            raise ValueError("vectors are drafted one after another: of model, leave out the tree")
        return VectorModelDrafter(small, guidance=Guidance(guidance))
    return ModelDrafter(
        small,
        branching=() if beams else _counts(branching),
        beams=beams,
        levels=levels,
        replace=isinstance(rule, KSeq),
        guidance=Guidance(guidance),
        same_numbers=isinstance(rule, GumbelMatch) and not beams,
    )


def adjacency(
    branching: str = "4x2x1", above: bool = True, table: str | None = None
) -> AdjacencyDrafter:
    """The drafter, with branching as in 4x2x1, and with the table of a file if it is there."""
    if table is None or not Path(table).exists():
        return AdjacencyDrafter(_counts(branching), above=above)
    return successor_file.load(table, _counts(branching), above=above)


def any_order(guidance: float = 1.0) -> AnyOrderDrafter:
    """The drafter, with a guidance of its own."""
    return AnyOrderDrafter(Guidance(guidance))


def _counts(text: str) -> tuple[int, ...]:
    counts = text.split("x")
    if not all(count.isdecimal() for count in counts):
        raise ValueError(f"branching is written as in 2x2x1, not {text!r}")
    return tuple(int(count) for count in counts)


DRAFTERS: dict[str, Callable[..., Drafter]] = {
    "jacobi": jacobi,
    "model": model,
    "adjacency": adjacency,
    "any-order": any_order,
}
RULES: dict[str, Callable[..., AcceptanceRule]] = {
    "gumbel": GumbelMatch,
    "rejection": ModifiedRejection,
    "budget": TVBudget,
    "annealed": Annealed,
    "grouped": codebook_rules.grouped,
    "coarse": codebook_rules.coarse,
    "neighbour": codebook_rules.neighbour,
    "match": SampleMatch,
    "recursive": RecursiveRejection,
    "k-seq": KSeq,
    "mixture": MixtureRejection,
    "reflection": ReflectionCoupling,
}


def drafter_name(text: str) -> str:
    """The text, for argparse, if it names a drafter with options that there are, or none."""
    return text if text == NONE else _checked(text, DRAFTERS, "drafter", f"{NONE}, ")


def rule_name(text: str) -> str:
    """The text, for argparse, if it names an acceptance rule with options that there are."""
    return _checked(text, RULES, "acceptance rule")


def drafter_of(text: str, rule: AcceptanceRule, codec: Codec | None = None) -> Drafter:
    """The drafter that a text names.

    Raises:
        ValueError: there is none, or an option is wrong.
    """
    return _built(text, DRAFTERS, {"rule": rule, "codec": codec})


def keep_learned(text: str, drafter: Drafter) -> None:
    """Write the table that ``adjacency:table=FILE`` names, with what was learned since.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(drafter, AdjacencyDrafter) and drafter.tables:
        _, options = _parsed(text, DRAFTERS, "drafter")
        if options.get("table"):
            successor_file.save(drafter, options["table"])


def rule_of(text: str, codec: Codec | None = None) -> AcceptanceRule:
    """The acceptance rule that a text names.

    Raises:
        ValueError: there is none, or an option is wrong.
    """
    return _built(text, RULES, {"codec": codec})


def usage(table: Mapping[str, Callable[..., Any]]) -> str:
    """Names and their options with the values that they have by themselves, for help."""
    found = []
    for name, make in table.items():
        options = [
            f"{key}=…" if one.default in (one.empty, None) else f"{key}={one.default}"
            for key, one in _options(make).items()
        ]
        found.append(f"{name}:{','.join(options)}" if options else name)
    return "; ".join(found)


def _options(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Those of a class or function, as they are written, with what they say."""
    found = inspect.signature(make, eval_str=True).parameters
    return {name.replace("_", "-"): one for name, one in found.items() if name not in PROVIDED}


def _checked(
    text: str, table: Mapping[str, Callable[..., Any]], kind: str, others: str = ""
) -> str:
    try:
        _parsed(text, table, kind, others)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _built(text: str, table: Mapping[str, Callable[..., Any]], provided: dict[str, Any]) -> Any:
    make, options = _parsed(text, table, "of these")
    wanted = provided.keys() & inspect.signature(make).parameters.keys()
    return make(**options, **{name: provided[name] for name in wanted})


def _parsed(
    text: str, table: Mapping[str, Callable[..., Any]], kind: str, others: str = ""
) -> tuple[Callable[..., Any], dict[str, Any]]:
    name, _, rest = text.partition(":")
    if name not in table:
        raise ValueError(f"there is no {kind} {name!r}; there are {others}{usage(table)}")
    known, options = _options(table[name]), {}
    for pair in filter(None, rest.split(",")):
        key, sign, value = pair.partition("=")
        key = key.strip().replace("_", "-")
        if key not in known or not sign:
            these = ", ".join(known) or "none"
            raise ValueError(f"{name} has options as in {name}:NAME=VALUE, of which {these}")
        options[known[key].name] = _value(f"{name}:{key}", value.strip(), known[key].annotation)
    missing = [key for key, one in known.items() if one.default is one.empty]
    if missing := [key for key in missing if known[key].name not in options]:
        raise ValueError(f"{name} needs {', '.join(f'{key}=…' for key in missing)}")
    return table[name], options


def _value(key: str, text: str, kind: Any) -> Any:
    """A value as its type says; text of any other type stays as it is."""
    kinds = (kind,) if get_origin(kind) is Literal else get_args(kind) or (kind,)
    words = [word for one in kinds if get_origin(one) is Literal for word in get_args(one)]
    if words and text not in words:
        raise ValueError(f"{key} is one of {', '.join(words)}, not {text!r}")
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        if number in kinds:
            with suppress(ValueError):
                return number(text)
    if {int, float, bool} & set(kinds) and str not in kinds:
        raise ValueError(f"{key} is a number, or true or false, not {text!r}")
    return text
