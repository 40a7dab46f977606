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
    """Add the options; `sampling` gives their values."""
    parser.add_argument(
        "--guidance",
        type=float,
        default=DEFAULTS["guidance"],
        help="scale of classifier-free guidance (1)",
    )
    parser.add_argument(
        "--schedule",
        choices=get_args(Schedule),
        default=DEFAULTS["schedule"],
        help="how the guidance grows to its scale (linear)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=DEFAULTS["temperature"],
        help="sampling temperature, above 0 (1)",
    )
    parser.add_argument(
        "--top-k",
        type=int,
        default=DEFAULTS["top_k"],
        help="draw from so many likeliest ids (all)",
    )
    parser.add_argument(
        "--top-p",
        type=float,
        default=DEFAULTS["top_p"],
        help="draw from the likeliest ids of this total probability (1: all)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=DEFAULTS["steps"],
        help="sampling steps, of generators that draw many tokens at once (the generator's own)",
    )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """The values of the options by their names."""
    return {name: getattr(args, name) for name in DEFAULTS}


def sampler_of(options: dict[str, Any], *, positions: int | None = None) -> Sampler:
    """A sampler by the options of `sampling`.

    Args:
        options: by name.
        positions: how many first tokens to draw; None for all.

    Raises:
        ValueError: one of them is out of range.
    """
    return Sampler(
        guidance=Guidance(options["guidance"], options["schedule"]),
        warp=Warp(options["temperature"], options["top_k"], options["top_p"]),
        steps=options["steps"],
        positions=positions,
    )
