"""Weight normalisation folded into plain weights, and taken apart again."""

from torch import Tensor, nn
from torch.nn.utils import parametrize


def folded_state(module: nn.Module) -> dict[str, Tensor]:
    """State of a module as it would be after `fold`, without changing the module."""
    state = dict(module.state_dict())
    for prefix, child in module.named_modules():
        if parametrize.is_parametrized(child):
            for name in child.parametrizations:
                dot = f"{prefix}." if prefix else ""
                inner = f"{dot}parametrizations.{name}."
                state = {key: value for key, value in state.items() if not key.startswith(inner)}
                state[f"{dot}{name}"] = getattr(child, name).detach()
    return state


def fold(module: nn.Module) -> nn.Module:
    """Replace weight normalisation by plain weights, in place: faster, exportable, same output."""
    for child in list(module.modules()):
        if not parametrize.is_parametrized(child):
            continue
        weights = {name: getattr(child, name).detach() for name in child.parametrizations}  # type: ignore[union-attr]
        # torch's own removal would also take the weights from deep copies, which share the class
        del child.parametrizations
        child.__class__ = type(child).__bases__[0]
        for name, weight in weights.items():
            child.register_parameter(name, nn.Parameter(weight))
    return module


def unfolded(part: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A folded state in the terms of a part with weight normalisation."""
    state = dict(state)
    for prefix, child in part.named_modules():
        if parametrize.is_parametrized(child):
            for name, chain in child.parametrizations.items():
                dot = f"{prefix}." if prefix else ""
                originals = chain[0].right_inverse(state.pop(f"{dot}{name}"))
                for number, original in enumerate(originals):
                    state[f"{dot}parametrizations.{name}.original{number}"] = original
    return state
