"""Where the tokens of a generator come from: which codec made them, and the names of the classes.

It travels with the weights, as a tensor of JSON text, so that a generator is never decoded with
another codec than that of its training.
"""

import json
from typing import NamedTuple

import torch
from torch import Tensor


class Provenance(NamedTuple):
    """What a generator was trained on.

    Attributes:
        codec: name of the codec that made the tokens.
        fingerprint: of that codec.
        classes: names of the classes, by number; empty if they have none.
        counts: items for training of each class; None if that is not known.
        texts: items for training with a text; None if that is not known.
    """

    codec: str
    fingerprint: str
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] | None = None
    texts: int | None = None

    def trained(self, label: int) -> bool:
        """Whether there was an item of a class to train on, as far as that is known."""
        if self.counts is not None:
            return label < len(self.counts) and self.counts[label] > 0
        return not self.classes or label < len(self.classes)

    def check(self, other: "Provenance") -> None:
        """Refuse tokens of another codec.

        Raises:
            ValueError: the fingerprints differ.
        """
        if self.fingerprint != other.fingerprint:
            raise ValueError(
                f"the generator draws tokens of {self.codec} {self.fingerprint[:12]}, not of "
                f"{other.codec} {other.fingerprint[:12]}; give the codec that it was trained with"
            )


def packed(provenance: Provenance | None) -> Tensor:
    """A provenance as uint8 text; None is empty."""
    if provenance is None:
        return torch.empty(0, dtype=torch.uint8)
    known = {name: value for name, value in provenance._asdict().items() if value is not None}
    return torch.tensor(list(json.dumps(known).encode()), dtype=torch.uint8)


def unpacked(text: Tensor) -> Provenance | None:
    """The provenance of a text of `packed`.

    Raises:
        ValueError: it is none.
    """
    if not text.numel():
        return None
    try:
        said = dict(json.loads(bytes(text.tolist())))
        counts = said.get("counts")
        return Provenance(
            str(said["codec"]),
            str(said["fingerprint"]),
            tuple(said["classes"]),
            counts if counts is None else tuple(map(int, counts)),
            said.get("texts"),
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"a generator's provenance cannot be read: {error}") from error
