"""Stages of a training: from which step on which parts learn, and with which weights.

One training goes through all of them and may be interrupted anywhere: the stage is a function of
the step. Modules that do not learn are in evaluation mode, so their statistics do not change.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn


@dataclass
class Stage:
    """Settings from a step on.

    Attributes:
        start: the first step.
        learns: patterns of the codec's modules that learn, as ``decoder.*``; ``*`` is all.
        weights: of losses, by name, instead of the task's; a loss of weight 0 is not computed.
    """

    start: int = 0
    learns: Sequence[str] = ("*",)
    weights: dict[str, float] = field(default_factory=dict)


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage of a step.

    Raises:
        ValueError: the stages do not begin at step 0 or are not in order.
    """
    starts = [stage.start for stage in stages]
    if starts[:1] != [0] or sorted(set(starts)) != starts:
        raise ValueError(f"stages begin at step 0 and follow one another, got starts {starts}")
    return [stage for stage in stages if stage.start <= step][-1]


def check(stages: Sequence[Stage], codec: nn.Module) -> None:
    """Raise ValueError if stages are out of order, or a pattern names nothing of the codec."""
    stage_at(stages, 0)
    names = [name for name, _ in (*codec.named_parameters(), *codec.named_buffers())]
    for pattern in (pattern for stage in stages for pattern in stage.learns):
        if not fnmatch.filter(names, pattern):
            raise ValueError(f"no part of the codec is called {pattern}")


def enter(stage: Stage, codec: nn.Module, always_frozen: set[str]) -> None:
    """Train the parameters that the stage names, and no others.

    Args:
        stage: the stage.
        codec: whose parameters are frozen and freed.
        always_frozen: names of parameters that no stage frees.
    """
    for name, parameter in codec.named_parameters():
        chosen = any(fnmatch.fnmatch(name, pattern) for pattern in stage.learns)
        parameter.requires_grad_(chosen and name not in always_frozen)
    codec.train()
    for prefix, module in codec.named_modules():
        held = [*module.named_parameters(prefix), *module.named_buffers(prefix)]
        if held and not any(fnmatch.fnmatch(name, p) for name, _ in held for p in stage.learns):
            module.train(False)
