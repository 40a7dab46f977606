"""How a generator is sampled: the options that `sample` and `eval` share."""

import argparse
from typing import Any, get_args

from intaglio.codecs import Codec
from intaglio.generators.conditioning.guidance import Guidance, Schedule
from intaglio.generators.heads.denoising import StepSchedule
from intaglio.generators.inference.logits import Warp
from intaglio.generators.samplers.adaptive_window import AdaptiveWindow
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.commands.options import speculation
from intaglio.recipes.commands.options.words import POSITIVE, real, whole
from intaglio.recipes.errors import WrongUsage

AUTO = "auto"  # window
DEFAULTS: dict[str, Any] = {
    "guidance": 1.0,
    "schedule": "linear",
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "steps": None,
    "denoising": None,
    "drafter": speculation.NONE,
    "accept": "gumbel",
    "window": None,
}


def add_sampler_options(parser: argparse._ActionsContainer) -> None:
    """Add the options; `sampling` gives their values."""
    parser.add_argument(
        "--guidance",
        type=real(lambda scale: scale >= 0, "a guidance scale, 0 or above"),
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
        type=POSITIVE,
        default=DEFAULTS["temperature"],
        help="sampling temperature, above 0 (1)",
    )
    parser.add_argument(
        "--top-k",
        type=whole(0),
        default=DEFAULTS["top_k"],
        help="draw from so many likeliest ids (all)",
    )
    parser.add_argument(
        "--top-p",
        type=real(lambda share: 0 < share <= 1, "a probability above 0, at most 1"),
        default=DEFAULTS["top_p"],
        help="draw from the likeliest ids of this total probability (1: all)",
    )
    parser.add_argument(
        "--steps",
        type=whole(1),
        default=DEFAULTS["steps"],
        help="sampling steps, of generators that draw many tokens at once (the generator's own)",
    )
    parser.add_argument(
        "--denoising",
        type=_schedule,
        metavar="FIRST,LAST",
        default=DEFAULTS["denoising"],
        help="denoising steps of the tokens that are drawn first and of the last, of generators "
        "that denoise vectors, such as mar: 50,5 is fast and approximate (the generator's own)",
    )
    _add_speculation_options(parser)


def _schedule(text: str) -> str:
    """The text, for argparse, if it says numbers of denoising steps."""
    try:
        _denoising(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _denoising(text: str | None) -> StepSchedule | None:
    """Steps as in 50,5, or 25 for all tokens."""
    if text is None:
        return None
    steps = text.split(",")
    if len(steps) > 2 or not all(one.isdecimal() and int(one) for one in steps):
        raise ValueError(f"denoising steps are written as in 50,5 or 25, not {text!r}")
    return StepSchedule(int(steps[0]), int(steps[-1]))


def _window(text: str) -> int | str:
    """A number of drafts, or auto, for argparse."""
    return text if text == AUTO else whole(0)(text)


def _add_speculation_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--drafter",
        type=speculation.drafter_name,
        metavar="NAME",
        default=DEFAULTS["drafter"],
        help="what guesses the next tokens, so that a pass of the generator draws several: none, "
        f"or one of {speculation.usage(speculation.DRAFTERS)} (none)",
    )
    parser.add_argument(
        "--accept",
        type=speculation.rule_name,
        metavar="NAME",
        default=DEFAULTS["accept"],
        help="which of the drafted tokens are kept; gumbel, which gives the samples of --drafter "
        f"none, or another of {speculation.usage(speculation.RULES)} (gumbel)",
    )
    parser.add_argument(
        "--window",
        type=_window,
        metavar="N",
        default=DEFAULTS["window"],
        help="drafted tokens in a pass; auto: as many as pay, by the clock, which changes no token "
        "with --accept gumbel (auto with gumbel, else 8)",
    )


def sampling(args: argparse.Namespace) -> dict[str, Any]:
    """The values of the options by their names."""
    return {name: getattr(args, name) for name in DEFAULTS}


def sampler_of(
    options: dict[str, Any], *, positions: int | None = None, codec: Codec | None = None
) -> Sampler:
    """A sampler by the options of `sampling`.

    Args:
        options: by name.
        positions: how many first tokens to draw; None for all.
        codec: of the tokens, for rules that look at its codebook.

    Raises:
        ValueError: one of them is out of range, or they do not fit together.
    """
    guidance = Guidance(options["guidance"], options["schedule"])
    warp = Warp(options["temperature"], options["top_k"], options["top_p"])
    if options["drafter"] == speculation.NONE:
        return Sampler(
            guidance=guidance,
            warp=warp,
            steps=options["steps"],
            positions=positions,
            denoising=_denoising(options["denoising"]),
        )
    if options["steps"] is not None:
        raise WrongUsage(
            "--steps and --drafter exclude each other: it drafts one token after another"
        )
    if options["denoising"] is not None:
        raise WrongUsage("--denoising and --drafter exclude each other: it drafts nothing denoised")
    rule = speculation.rule_of(options["accept"], codec)
    return SpeculativeSampler(
        drafter=speculation.drafter_of(options["drafter"], rule, codec),
        rule=rule,
        window=AdaptiveWindow() if options["window"] == AUTO else options["window"],
        guidance=guidance,
        warp=warp,
        positions=positions,
    )
