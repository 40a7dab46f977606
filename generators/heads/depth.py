"""The ids of a token, predicted one after the other by a small causal transformer.

The depth transformer of RQ-Transformer (Lee et al., 2022) over the levels of a residual quantizer,
and the dimension-wise head of TokenBridge (Wang et al., 2025). The input of the first step is the
hidden vector, that of a later step the previous id. TokenBridge's released sampler adds an
embedding to the first step that its training does not have; here sampling follows training. The
modulation is the same at every step; learned position embeddings distinguish the steps.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Modulation, Transformer
from intaglio.codecs.layers.transformer import modulated as modulate
from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.base import Head, SamplingOptions
from intaglio.generators.heads.categorical import check_groups, summed_log_prob
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.logits import draw

Guide = Literal["logits", "features"]


class DepthHead(Head):
    """A causal transformer over the groups of a token, with logits initialised to zero.

    Args:
        dim: size of a hidden vector.
        vocab: size of the codebook of each group.
        hidden_channels: of the transformer.
        depth: number of its blocks.
        heads: number of its attention heads.
        order: in which the groups are predicted, a permutation of them; ascending if None.
        modulated: whether the hidden vector also scales, shifts and gates every block (adaLN-Zero),
            as in TokenBridge.
        qk_norm: see `intaglio.codecs.layers.attention.Attention`.
        guide: where guidance applies: to the ``logits`` of each step, or to ``features``, the
            hidden vectors before the transformer, as in TokenBridge.

    Raises:
        ValueError: no group, one of fewer than 2 ids, an unknown guide, or an order that is not a
            permutation of the groups.
    """

    tractable = True
    causal: Tensor

    def __init__(
        self,
        dim: int,
        vocab: Sequence[int],
        *,
        hidden_channels: int,
        depth: int,
        heads: int,
        order: Sequence[int] | None = None,
        modulated: bool = False,
        qk_norm: bool = False,
        guide: Guide = "logits",
    ) -> None:
        super().__init__()
        check_groups(vocab)
        groups = len(vocab)
        order = tuple(range(groups) if order is None else order)
        if sorted(order) != list(range(groups)):
            raise ValueError(f"an order of {groups} groups is a permutation of them, got {order}")
        if guide not in ("logits", "features"):
            raise ValueError(f"guidance applies to logits or features, got {guide!r}")
        self.dim, self.vocab, self.width = dim, tuple(vocab), groups
        self.order, self.guide = order, guide
        self.can_end = order[0] == 0  # before any other group is predicted
        sizes = [vocab[group] for group in order]
        self.condition_embedding = nn.Linear(dim, hidden_channels)
        embeddings = [nn.Embedding(size, hidden_channels) for size in sizes[:-1]]
        logits = [nn.Linear(hidden_channels, size, bias=False) for size in sizes]
        for embedding in embeddings:
            nn.init.normal_(embedding.weight, std=0.02)
        for linear in logits:
            nn.init.zeros_(linear.weight)
        self.embeddings, self.out = nn.ModuleList(embeddings), nn.ModuleList(logits)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(groups, hidden_channels))
        self.trunk = Transformer(
            hidden_channels,
            depth,
            heads,
            affine=not modulated,
            qk_norm=qk_norm,
            streams=int(modulated),
        )
        self.final_modulation = Modulation(hidden_channels, 2, 1) if modulated else None
        self.norm = nn.LayerNorm(hidden_channels, elementwise_affine=not modulated)
        causal = torch.ones(groups, groups, dtype=torch.bool).tril()
        self.register_buffer("causal", causal, persistent=False)

    def states(self, hidden: Tensor, before: Tensor) -> Tensor:
        """Outputs of the first steps, [tokens, steps, hidden_channels], one more than given ids.

        Args:
            hidden: [tokens, dim].
            before: int64 [tokens, steps]; ids in the order of prediction, at most all but one.
        """
        steps = before.shape[1] + 1
        condition = self.condition_embedding(hidden)
        embedded = [condition] + [self.embeddings[n](ids) for n, ids in enumerate(before.unbind(1))]
        x = torch.stack(embedded, dim=1) + self.position_embedding[:steps]
        mask = self.causal[:steps, :steps]
        if self.final_modulation is None:
            return self.norm(self.trunk(x, mask))
        x = self.norm(self.trunk(x, mask, condition=condition, sizes=(steps,)))
        scale, shift = self.final_modulation(condition, (steps,))
        return modulate(x, scale, shift)

    def loss(self, hidden: Tensor, token: Tensor) -> Tensor:
        """Negative log-probability; see `Head.loss`."""
        return -self.log_prob(hidden, token)

    def log_prob(self, hidden: Tensor, token: Tensor) -> Tensor:
        """See `Head.log_prob`."""
        token = token[:, list(self.order)]
        before = token[:, :-1].clamp_min(0)  # what is ignored is embedded as any id
        states = self.states(hidden, before).unbind(1)
        logits = [out(state).float() for out, state in zip(self.out, states, strict=True)]
        return summed_log_prob(logits, token)

    def _draw(self, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
        """Draw the ids one by one, each given the previous ones; see `Head.sample`."""
        if self.guide == "features":
            hidden, options = (
                guided(hidden, options.null, options.scale),
                options._replace(null=None),
            )
        keys = draws.keys(Role.TOKEN, self.width).unbind(-1)
        ids = torch.empty(*hidden.shape[:2], 0, dtype=torch.int64, device=hidden.device)
        for key in keys:
            without = None if options.null is None else self._next_logits(options.null, ids)
            logits = guided(self._next_logits(hidden, ids), without, options.scale)
            ids = torch.cat([ids, draw(options.warp(logits), key).unsqueeze(-1)], dim=-1)
        return ids[..., torch.tensor(self.order, device=ids.device).argsort()]

    def _next_logits(self, hidden: Tensor, before: Tensor) -> Tensor:
        """Logits of the step after the given ids, [batch, positions, vocab]."""
        states = self.states(hidden.flatten(0, 1), before.flatten(0, 1))
        return self.out[before.shape[-1]](states[:, -1]).float().unflatten(0, hidden.shape[:2])
