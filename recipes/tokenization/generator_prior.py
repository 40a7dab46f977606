"""A generator as the prior of the token file's entropy coder: tokens that it expects cost few bits.

Coder and decoder must compute the same distribution to the bit. Both do so by the same decoding
steps, which holds on one machine, with one version of PyTorch and one number of threads; for
files that travel there is `intaglio.data.formats.entropy.StaticPrior`.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intaglio.data.formats.entropy import MAX_WEIGHT_BITS, Ids, Prior, integer_frequencies
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.orders.base import DecodingState, PartialSequence, Request, Step
from intaglio.generators.orders.raster import RasterOrder


class GeneratorPrior(Prior):
    """What a generator that draws row by row expects of each token of one item.

    Args:
        generator: on the CPU, in evaluation mode, of a `RasterOrder` and a `CategoricalHead`.
        condition: of the item, of batch size 1, as the generator's condition takes it. The decoder
            must know it, too.

    Raises:
        ValueError: a generator with another order or head, or one that trains.
    """

    block = 1

    def __init__(self, generator: Generator, condition: Tensor) -> None:
        order, head = generator.order, generator.head
        if generator.end is not None:
            raise ValueError(f"{generator.name} draws items of any length: it is no prior yet")
        if not (isinstance(order, RasterOrder) and isinstance(head, CategoricalHead)):
            raise ValueError(
                f"{generator.name} is no prior of a token file: that takes one that draws row by "
                "row with a categorical head"
            )
        if generator.training:
            raise ValueError("a generator is a prior in evaluation mode: call its eval() first")
        self.generator, self.condition, self._head = generator, condition, head
        self._state: DecodingState | None = None
        self._step: Step
        self._steps: Iterator[Step]
        self._frequencies: list[NDArray[np.int64]] = []

    def frequencies(self, group: int, past: Ids, present: Ids) -> NDArray[np.int64]:
        """Distribution of the next token's group; see `Prior.frequencies`. Positions come in order.

        Raises:
            ValueError: more positions than the generator draws.
        """
        if group == 0:
            self._advance(past)
        return self._frequencies[group]

    @torch.no_grad()
    def _advance(self, past: Ids) -> None:
        """Compute the distributions of the position after ``past``, whose last tokens are new."""
        generator = self.generator
        if len(past) >= generator.positions:
            raise ValueError(f"{generator.name} draws {generator.positions} tokens, not more")
        if len(past) == 0:
            shape = (1, generator.positions, generator.width)
            blank = torch.zeros(shape[:2], dtype=torch.bool)
            partial = PartialSequence(torch.zeros(shape, dtype=torch.int64), blank)
            request = Request(self.condition, partial, torch.zeros(1, dtype=torch.int64))
            self._state = generator.start_decoding(request)
            self._steps = self._state.steps()
        else:
            assert self._state is not None
            self._state.commit(self._step, torch.from_numpy(past[-1:]).unsqueeze(0), 1.0)
        self._step = next(self._steps)
        hidden, _ = self._state.hidden(self._step)
        self._frequencies = [_frequencies(logits[0, 0]) for logits in self._head.logits(hidden)]


def _frequencies(logits: Tensor) -> NDArray[np.int64]:
    probs = logits.double().softmax(-1)
    return integer_frequencies((probs * 2 ** (MAX_WEIGHT_BITS - 1)).round().long().numpy())
