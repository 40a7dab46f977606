"""How a generator is sampled: the options that `sample` and `eval` share."""

import argparse
from typing import Any, get_args

from intaglio.generators.conditioning.guidance import Guidance, Schedule
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers.sampler import Sampler

DEFAULTS: dict[str, Any] = {
    "guidance": 1.0,
    "schedule": "linear",
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "steps": None,
}


def add_sampler_options(parser: argparse._ActionsContainer) -> None:
    """Declare the options; one that is not given is None, see `sampling`."""
    parser.add_argument("--guidance", type=float, help="scale of classifier-free guidance (1)")
    parser.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        help="how the guidance grows to its scale (linear)",
    )
    parser.add_argument("--temperature", type=float, help="above 0 (1)")
    parser.add_argument("--top-k", type=int, help="likeliest ids to draw from (all)")
    parser.add_argument("--top-p", type=float, help="their probability (1: all)")
    parser.add_argument("--steps", type=int, help="of generators that draw many tokens at once")


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """What was given, and the defaults for the rest."""
    given = {name: getattr(args, name) for name in DEFAULTS}
    return {name: DEFAULTS[name] if value is None else value for name, value in given.items()}


def sampler_of(told: dict[str, Any], *, positions: int | None = None) -> Sampler:
    """The sampler of `sampling`.

    Args:
        told: the options.
        positions: how many first tokens to draw; None for all.

    Raises:
        ValueError: one of them is out of range.
    """
    return Sampler(
        guidance=Guidance(told["guidance"], told["schedule"]),
        warp=Warp(told["temperature"], told["top_k"], told["top_p"]),
        steps=told["steps"],
        positions=positions,
    )
