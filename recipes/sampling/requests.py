"""What is asked of a generator: for each item a seed, and a class or a text."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from intaglio.generators.conditioning.base import PromptCondition
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.conditioning.text import words
from intaglio.generators.generator import Generator


class SampleRequest(NamedTuple):
    """One item to draw.

    Attributes:
        seed: of its random numbers; the item depends on the request alone, not on its batch.
        label: number of a class, or -1 for none.
        text: describes the item; empty for an unconditional one.
    """

    seed: int
    label: int = NO_CLASS
    text: str = ""

    def record(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in self._asdict().items() if value not in ("", -1)}


def requests_of(
    generator: Generator,
    *,
    classes: Sequence[str] = (),
    texts: Sequence[str] = (),
    count: int = 1,
    seed: int = 0,
) -> list[SampleRequest]:
    """Requests for some items of each class or text, in order; unconditional without either.

    Args:
        generator: that will draw them.
        classes: names or numbers.
        texts: one description each.
        count: items of each class or text.
        seed: of the first item; each further one has the next number.

    Raises:
        ValueError: the generator is conditioned on something else, there is no such class, or a
            text has no words or too many.
    """
    if texts:
        _check_texts(generator, texts)
    conditions: list[dict[str, Any]] = [{"text": text} for text in texts]
    conditions += [{"label": class_number(generator, name)} for name in classes]
    repeated = [condition for condition in conditions or [{}] for _ in range(count)]
    return [SampleRequest(seed + number, **one) for number, one in enumerate(repeated)]


def condition_of(generator: Generator, requests: Sequence[SampleRequest]) -> Tensor:
    """The condition of each request, in the form that the generator takes, [batch, …].

    Raises:
        ValueError: there is no such class, or a text is too long.
    """
    condition, texts = generator.condition, [request.text for request in requests]
    if isinstance(condition, PromptCondition):  # of a batch it would take the first words
        return condition.of_texts(texts)
    labels = torch.tensor([request.label for request in requests])
    return condition.of_batch({"label": labels, "caption": texts})


def class_number(generator: Generator, name: str) -> int:
    """Number of a class, given its name or number.

    Raises:
        ValueError: there is no such class, nothing of it was trained on, or the generator is not
            class-conditional.
    """
    if not isinstance(generator.condition, ClassCondition):
        raise ValueError(f"{generator.name} is conditioned on texts, not classes: use --text")
    provenance = generator.provenance
    names = () if provenance is None else provenance.classes
    number = names.index(name) if name in names else int(name) if name.isdecimal() else -1
    if 0 <= number < generator.condition.num_classes:
        if provenance is not None and not provenance.trained(number):
            trained = [one for label, one in enumerate(names) if provenance.trained(label)]
            raise ValueError(
                f"{generator.name} was trained on nothing of class {name}: give one of "
                f"{', '.join(trained[:8])}{' …' if len(trained) > 8 else ''}"
            )
        return number
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    known = f"one of {', '.join(near or names[:8])}" if names else "no name, for it knows none"
    raise ValueError(
        f"there is no class {name!r}: give {known}, or a number below "
        f"{generator.condition.num_classes}"
    )


def title_of(generator: Generator, request: SampleRequest) -> str:
    """The condition of a request in words; empty if it has none."""
    names = () if generator.provenance is None else generator.provenance.classes
    name = names[request.label] if 0 <= request.label < len(names) else str(request.label)
    return request.text or ("" if request.label == NO_CLASS else name)


def _check_texts(generator: Generator, texts: Sequence[str]) -> None:
    if not isinstance(generator.condition, PromptCondition):
        raise ValueError(f"{generator.name} is conditioned on classes, not texts: use --class")
    empty = [text for text in texts if not words(text)]
    if empty:
        raise ValueError(
            f"the text {empty[0]!r} has no words; for unconditional samples leave --text out"
        )
    generator.condition.check_texts(texts)
