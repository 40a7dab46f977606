"""Draws items on request: a generator, a sampler, and the medium that the tokens are decoded to."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

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
    ) -> Iterator[tuple[SampleRequest, Tensor | None]]:
        """Each request with its item; ``size`` of them are drawn together, or as many as fit.

        An item that does not even fit into memory alone is named on standard error, and None.

        Raises:
            ValueError: as `draw`.
        """
        together = Halving(size, least=1, unit=f"{self.medium.noun}s at once")
        drawn = together.map(requests, lambda batch: list(self.draw(batch, callback)))
        for request, item in zip(requests, drawn, strict=True):
            if not isinstance(item, Exception):
                yield request, item
            elif is_out_of_memory(item):
                say(f"skipped: {self.medium.noun} of seed {request.seed}: {explain(item)}")
                yield request, None
            else:
                raise item
