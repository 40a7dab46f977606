"""Draws items on request: a generator, a sampler, and the medium that the tokens are decoded to."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from intaglio.generators.generator import Generator
from intaglio.generators.orders.base import PartialSequence
from intaglio.generators.samplers.sampler import Event, Sampler
from intaglio.recipes.errors import explain, is_out_of_memory, say
from intaglio.recipes.sampling.requests import SampleRequest, condition_of
from intaglio.recipes.tokenization.halving import Halving


class Medium(Protocol):
    """What tokens become: all that is particular to a modality.

    Attributes:
        noun: what one item is called, for messages.
        suffix: of the files that items are written to, with its dot.
    """

    noun: str
    suffix: str

    def decode(self, tokens: Tensor) -> Tensor:
        """Items of tokens [batch, positions, groups], as a batch."""

    def to_bytes(self, item: Tensor) -> bytes:
        """Content of the file of one item."""


class Drawn(NamedTuple):
    """What became of a request.

    Attributes:
        request: that asked for it.
        item: of the medium; None if it does not fit into memory.
        record: what the sampler says of it, for JSON.
    """

    request: SampleRequest
    item: Tensor | None
    record: dict[str, float]


class SamplingPipeline:
    """A generator, a sampler and a medium.

    Args:
        generator: on its device, in evaluation mode.
        sampler: how tokens are drawn.
        medium: what they are decoded to, by the codec that the generator was trained with.
        given: tokens that every item keeps, of a batch of one; None to draw all tokens.
    """

    def __init__(
        self,
        generator: Generator,
        sampler: Sampler,
        medium: Medium,
        *,
        given: PartialSequence | None = None,
    ) -> None:
        self.generator, self.sampler, self.medium = generator, sampler, medium
        self.given = given

    def draw(
        self, requests: Sequence[SampleRequest], callback: Callable[[Event], None] | None = None
    ) -> Tensor:
        """Items of the medium, [batch, …].

        Raises:
            ValueError: there is no such class, or a text is too long.
        """
        given = self.given
        if given is not None:
            size = len(requests)
            given = PartialSequence(given.tokens.expand(size, -1, -1), given.given.expand(size, -1))
        tokens = self.sampler.generate(
            self.generator,
            condition_of(self.generator, requests),
            seed=torch.tensor([request.seed for request in requests]),
            given=given,
            callback=callback,
        )
        return self.medium.decode(tokens)

    def batches(
        self,
        requests: Sequence[SampleRequest],
        size: int,
        callback: Callable[[Event], None] | None = None,
    ) -> Iterator[Drawn]:
        """Each request with its item; ``size`` of them are drawn together, or as many as fit.

        An item that does not even fit into memory alone is named on standard error, and None.

        Raises:
            ValueError: as `draw`.
        """

        def draw(batch: Sequence[SampleRequest]) -> list[tuple[Tensor, dict[str, float]]]:
            items = self.draw(batch, callback)
            records = [one.record() for one in self.sampler.item_statistics]
            return list(zip(items, records or [{}] * len(items), strict=True))

        together = Halving(size, least=1, unit=f"{self.medium.noun}s at once")
        for request, drawn in zip(requests, together.map(requests, draw), strict=True):
            if not isinstance(drawn, Exception):
                yield Drawn(request, *drawn)
            elif is_out_of_memory(drawn):
                say(f"skipped: {self.medium.noun} of seed {request.seed}: {explain(drawn)}")
                yield Drawn(request, None, {})
            else:
                raise drawn
