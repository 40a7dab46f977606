"""What all converters share: weight normalisation folded, tensors renamed, nothing left over."""

import re
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from intaglio.codecs import Codec
from intaglio.codecs.folding import fold

AnyCodec = TypeVar("AnyCodec", bound=Codec)

# Old hooks, parametrizations: (suffix of the norm, suffix of the direction).
NORMS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with weight normalisation, in either of its spellings, folded into weights."""
    weights = dict(state)
    for norm, direction in NORMS:
        for name in [name for name in weights if name.endswith(f".{norm}")]:
            stem = name.removesuffix(norm)
            size, value = weights.pop(name), weights.pop(stem + direction)
            length = value.flatten(1).norm(dim=1).view(-1, *[1] * (value.dim() - 1))
            weights[f"{stem}weight"] = size * value / length
    return weights


def renamed(state: Mapping[str, Tensor], rules: list[tuple[str, str]]) -> dict[str, Tensor]:
    """The tensors with the first rule that matches the start of a name applied to it.

    Args:
        state: tensors by name.
        rules: regular expressions, and what replaces the match; the name of a tensor that
            no rule matches stays.
    """
    names = {}
    for name, tensor in state.items():
        for pattern, new in rules:
            found, count = re.subn(f"^{pattern}", new, name)
            if count:
                names[found] = tensor
                break
        else:
            names[name] = tensor
    return names


def filled(codec: AnyCodec, state: Mapping[str, Tensor]) -> AnyCodec:
    """The codec, folded, frozen and in evaluation mode, with all of its weights replaced.

    Raises:
        ValueError: tensors are missing, left over or of another shape.
    """
    fold(codec)
    own = codec.state_dict()
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or surplus:
        raise ValueError(
            f"these are not the weights of {codec.name}: {len(missing)} tensors are missing "
            f"({', '.join(missing[:3])}), {len(surplus)} left over ({', '.join(surplus[:3])})"
        )
    wrong = [name for name, tensor in own.items() if tensor.numel() != state[name].numel()]
    if wrong:
        raise ValueError(
            f"these are not the weights of this {codec.name}: {wrong[0]} is "
            f"{list(state[wrong[0]].shape)}, not {list(own[wrong[0]].shape)}"
        )
    codec.load_state_dict({name: state[name].reshape(own[name].shape) for name in own})
    return codec.eval().requires_grad_(False)


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the largest number in the names that begin with a pattern; 0 without any."""
    found = (re.match(pattern, name) for name in state)
    return max((int(match[1]) + 1 for match in found if match), default=0)
