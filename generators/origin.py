"""Where the tokens of a generator come from: which codec made them, and the names of the classes.

It travels with the weights, as a tensor of JSON text, so that a generator is never decoded with
another codec than that of its training.
"""

import json
from typing import NamedTuple

import torch
from torch import Tensor


class Origin(NamedTuple):
    """What a generator was trained on.

    Attributes:
        codec: name of the codec that made the tokens.
        fingerprint: of that codec.
        classes: names of the classes, by number; empty if they have none.
    """

    codec: str
    fingerprint: str
    classes: tuple[str, ...] = ()

    def check(self, other: "Origin") -> None:
        """Refuse tokens of another codec.

        Raises:
            ValueError: the fingerprints differ.
        """
        if self.fingerprint != other.fingerprint:
            raise ValueError(
                f"the generator draws tokens of {self.codec} {self.fingerprint[:12]}, not of "
                f"{other.codec} {other.fingerprint[:12]}; give the codec that it was trained with"
            )


def packed(origin: Origin | None) -> Tensor:
    """An origin as uint8 text; none is empty."""
    if origin is None:
        return torch.empty(0, dtype=torch.uint8)
    return torch.tensor(list(json.dumps(origin._asdict()).encode()), dtype=torch.uint8)


def unpacked(text: Tensor) -> Origin | None:
    """The origin of a text of `packed`.

    Raises:
        ValueError: it is none.
    """
    if not text.numel():
        return None
    try:
        said = json.loads(bytes(text.tolist()))
        return Origin(str(said["codec"]), str(said["fingerprint"]), tuple(said["classes"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"a generator's origin cannot be read: {error}") from error
