"""Some tokens at a time, at any positions: masked tokens are predicted from all others.

MaskGIT (Chang et al., 2022) draws every masked token at once and keeps the most confident; MAR (Li
et al., 2024) draws some positions at random, and its encoder reads known tokens only. Tokens that
are drawn in one step do not depend on each other: with fewer steps than tokens the items are not
drawn from the distribution of the one-by-one chain.
"""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.mae_encoder import MAEEncoder
from intaglio.generators.orders.base import DecodingState, Order, Predictions, Request, Step
from intaglio.generators.orders.mask_schedules import (
    MaskSchedule,
    counts,
    share_masked,
    share_of_normal,
)


class MaskedOrder(Order):
    """Masked tokens from those that are known, with full attention.

    Args:
        dim: channels of the transformer.
        schedule: share of masked tokens over the time; in training the time of each item is even.
        least: smallest share of masked tokens in training. MAR has 0.7; then the last tokens of an
            item, which are predicted from more than ever in training, tend to have holes (MMAR;
            Yang et al., 2024).
        standard_deviation: if given, shares in training are normal around 1 with it,
            truncated at ``least`` and 1, and do not follow the schedule; MAR has 0.25.
        together: whether all items of a batch in training have the same share of masked tokens, so
            that an encoder computes nothing in vain; the gradient is noisier for it.
        encoder: of the known tokens, before the transformer, which is then the decoder (MAR).
        reveal: ``confidence`` keeps the drawn tokens of the highest probability, with noise that
            fades; ``random`` goes by a random order of the positions, and the time of a step is the
            share of the tokens that are known after it, as MAR's guidance has it.
        noise: scale of the Gumbel noise on the logarithm of the probability, at the first step.
        steps: if the sampler does not set a number.

    Raises:
        ValueError: a share out of range, or a standard deviation not above 0.
    """

    def __init__(
        self,
        dim: int,
        *,
        schedule: MaskSchedule = "arccos",
        least: float = 0.0,
        standard_deviation: float | None = None,
        together: bool = False,
        encoder: MAEEncoder | None = None,
        reveal: Literal["confidence", "random"] = "confidence",
        noise: float = 4.0,
        steps: int = 8,
    ) -> None:
        super().__init__()
        if not 0 <= least <= 1:
            raise ValueError(f"the least share of masked tokens is in [0, 1], got {least}")
        if standard_deviation is not None and standard_deviation <= 0:
            raise ValueError(
                f"the standard deviation of the shares is above 0, got {standard_deviation}"
            )
        self.schedule, self.least = schedule, least
        self.standard_deviation = standard_deviation
        self.together, self.encoder = together, encoder
        self.reveal, self.noise, self.steps = reveal, noise, steps
        self.mask = nn.Parameter(0.02 * torch.randn(dim))

    def predictions(self, backbone: Backbone, tokens: Tensor, condition: Tensor) -> Predictions:
        """The masked tokens of a batch; see `Order.predictions`."""
        batch, positions, _ = tokens.shape
        times = torch.rand(1 if self.together else batch).tolist()
        number = torch.tensor([self._number(time, positions) for time in times])
        rank = torch.rand(batch, positions).argsort(1).argsort(1)
        masked = (rank < number.unsqueeze(1)).to(tokens.device)
        return self.predictions_given(backbone, tokens, condition, masked)

    def _number(self, time: float, positions: int) -> int:
        """Masked tokens of an item in training, for an even number in [0, 1)."""
        if self.standard_deviation is None:
            share = max(self.least, share_masked(self.schedule, time))
            return max(1, round(share * positions))
        share = share_of_normal(
            1 - time, least=self.least, standard_deviation=self.standard_deviation
        )
        return max(1, math.ceil(share * positions))

    def predictions_given(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, masked: Tensor
    ) -> Predictions:
        """As `predictions`, for a given mask, bool [batch, positions]."""
        hidden = self.hidden(backbone, tokens, condition, masked)
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(masked)
        return Predictions(hidden[masked], tokens[masked], positions[masked])

    def hidden(
        self, backbone: Backbone, tokens: Tensor, condition: Tensor, masked: Tensor
    ) -> Tensor:
        """Hidden vectors of all positions, [batch, positions, dim]."""
        count = tokens.shape[1]
        x = backbone.embedding(tokens)
        if self.encoder is None:
            x = torch.where(masked.unsqueeze(-1), self.mask.to(x.dtype), x)
        x = backbone.add_positions(x, torch.arange(count))
        x = backbone.dropout(torch.cat([backbone.condition(condition), x], dim=1))
        if self.encoder is not None:
            x = self.encoder(x, masked, self.mask)
        positions = torch.arange(-backbone.prefix, count)
        hidden = backbone(x, positions)[:, -count:]
        return hidden if self.encoder is None else hidden + self.encoder.output_position_embedding

    def start_decoding(self, backbone: Backbone, head: Head, request: Request) -> DecodingState:
        """See `Order.start_decoding`.

        Raises:
            ValueError: there are more steps than positions, or the head cannot compute the
                confidence that tokens are kept by.
        """
        positions = request.partial.given.shape[1]
        steps = min(self.steps, positions) if request.steps is None else request.steps
        if steps > positions:
            raise ValueError(f"{positions} tokens cannot be drawn in {steps} steps")
        if self.reveal == "confidence" and not head.tractable:
            raise ValueError(f"{type(head).__name__} has no confidence; reveal at random")
        return _MaskedState(backbone, head, request, self, steps)


class _MaskedState(DecodingState):
    def __init__(
        self, backbone: Backbone, head: Head, request: Request, order: MaskedOrder, total: int
    ) -> None:
        super().__init__(backbone, request)
        self.head, self.order, self.total = head, order, total
        self.masked = ~self.partial.given
        missing = self.masked.sum(1).tolist()
        left = [counts(order.schedule, count, total) for count in missing]
        self.left = torch.tensor(left, device=self.masked.device).view(self.batch, total)
        self.positions = torch.arange(self.masked.shape[1], device=self.masked.device)[None]
        positions = self.masked.shape[1]
        self.known = [1 - left / positions for left in counts(order.schedule, positions, total)]
        self.rank = Draws(request.seeds, self.positions).uniform(Role.ORDER)[..., 0]

    def steps(self) -> Iterator[Step]:
        """At all positions, or at those to be drawn next; none once everything is known."""
        for number in range(self.total):
            fresh = int((self.masked.sum(1) - self.left[:, number]).max())
            if not fresh:
                continue
            if self.order.reveal == "confidence":
                yield Step(number, self.total, self.positions, round=number)
                continue
            last = self.rank.masked_fill(~self.masked, -torch.inf).argsort(1, descending=True)
            known = self.known[number]
            yield Step(number, self.total, last[:, :fresh], round=number, known=known)

    def hidden(self, step: Step) -> tuple[Tensor, Tensor | None]:
        """From the known tokens, at the positions of the step."""
        tokens, masked = self.partial.tokens, self.masked
        positions = step.positions.expand(self.batch, -1)
        if self.guided:
            tokens, masked, positions = (torch.cat([x, x]) for x in (tokens, masked, positions))
        hidden = self.order.hidden(self.backbone, tokens, self.condition, masked)
        index = positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        self.last_hidden = self._split(hidden.gather(1, index))
        return self.last_hidden

    def commit(self, step: Step, tokens: Tensor, scale: float) -> None:
        """Keep the best of the drawn tokens; the other positions stay masked."""
        score = self.rank
        if self.order.reveal == "confidence":
            score = self._confidence(step, tokens, scale)
        rank = score.masked_fill(~self.masked, torch.inf).argsort(1).argsort(1)
        still = self.masked & (rank < self.left[:, step.number].unsqueeze(1))
        positions = step.positions.expand(self.batch, -1).unsqueeze(-1).expand_as(tokens)
        drawn = self.partial.tokens.scatter(1, positions, tokens)
        fresh = (self.masked & ~still).unsqueeze(-1)
        self.partial.tokens.copy_(torch.where(fresh, drawn, self.partial.tokens))
        self.masked = still

    def _confidence(self, step: Step, tokens: Tensor, scale: float) -> Tensor:
        """Log-probability of the drawn tokens, with noise that fades to none."""
        hidden = guided(*self.last_hidden, scale)
        score = self.head.log_prob(hidden.flatten(0, 1), tokens.flatten(0, 1))
        draws = Draws(self.request.seeds, self.positions, step.number)
        gumbel = -torch.log(-torch.log(draws.uniform(Role.CONFIDENCE)[..., 0]))
        spread = self.order.noise * (1 - (step.number + 1) / self.total)
        return score.view(self.batch, -1).double() + spread * gumbel
