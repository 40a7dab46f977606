"""Several drafts of one token, and the distribution that each was drawn from."""

from typing import NamedTuple

import torch
from torch import Tensor

from intaglio.generators.heads.independent import race
from intaglio.generators.inference.counter_rng import Draws, Role, gumbel


class Level(NamedTuple):
    """The drafts of one depth of a tree.

    Attributes:
        tokens: int64 [batch, drafts, groups]; siblings in the order in which they were drawn.
        log_probs: that each was drawn from, given its elder siblings: of each group [batch, drafts,
            vocab].
        parents: int64 [batch, drafts], number of the draft that each follows in the depth before.
    """

    tokens: Tensor
    log_probs: list[Tensor]
    parents: Tensor


class Scores(NamedTuple):
    """Of the drafts of a depth, in a beam search.

    Attributes:
        log_probs: of the paths that lead to them, [batch, drafts].
        perturbed: the same with Gumbel noise, which decides which paths are kept.
    """

    log_probs: Tensor
    perturbed: Tensor


def branched(
    log_probs: list[Tensor], draws: Draws, count: int, *, replace: bool = False, same: bool = False
) -> Level:
    """The same number of drafts behind each of the last depth.

    Args:
        log_probs: of what follows these, of each group [batch, drafts, vocab].
        draws: random numbers of the position.
        count: of the siblings.
        replace: siblings are drawn independently; otherwise they differ, in every group.
        same: the race of all is that by whose numbers `Sampler` draws the position; not to replace.
    """
    batch, drafts, _ = log_probs[0].shape
    groups = len(log_probs)
    parents = torch.arange(drafts, device=draws.seeds.device).repeat_interleave(count)
    parents = parents.expand(batch, -1)
    if replace:
        keys = draws.keys(Role.DRAFT, drafts * count * groups).view(batch, -1, groups)
        laws = [one.repeat_interleave(count, 1) for one in log_probs]
        return Level(race(laws, keys), laws, parents)
    if same:
        keys = draws._replace(round=0).keys(Role.TOKEN, groups).expand(-1, drafts, -1)
    else:
        keys = draws.keys(Role.DRAFT, drafts * groups).view(batch, -1, groups)
    pairs = zip(log_probs, keys.unbind(-1), strict=True)
    found = [without_replacement(one, key, count) for one, key in pairs]
    tokens = torch.stack([ids.flatten(1) for ids, _ in found], -1)
    return Level(tokens, [laws.flatten(1, 2) for _, laws in found], parents)


def searched(
    log_probs: Tensor, draws: Draws, count: int, scores: Scores | None
) -> tuple[Level, Scores]:
    """The drafts of the likeliest paths, by stochastic beam search (Kool et al., 2019).

    Which paths are kept depends on the noise of all, but an id is never chosen by what it is: given
    its elder siblings it has their distribution without them, as if it stood alone.

    Args:
        log_probs: of what follows the drafts of the last depth, [batch, drafts, vocab].
        draws: random numbers of the position.
        count: of the paths.
        scores: of the drafts of the last depth; None of the root.
    """
    batch, drafts, vocab = log_probs.shape
    if scores is None:
        scores = Scores(*[log_probs.new_zeros(batch, drafts)] * 2)
    keys = draws.keys(Role.DRAFT, drafts).view(batch, drafts)
    paths = scores.log_probs.unsqueeze(-1) + log_probs
    noisy = (paths + gumbel(keys, vocab)).double()
    # so that the largest of each draft's children has the noise of the draft itself
    top, most = scores.perturbed.double().unsqueeze(-1), noisy.amax(-1, keepdim=True)
    gap = top - noisy + torch.log1p(-(noisy - most).exp())
    noisy = top - gap.clamp_min(0) - torch.log1p((-gap.abs()).exp())
    found = noisy.nan_to_num(nan=-torch.inf, neginf=-torch.inf).flatten(1).topk(count, dim=1)
    parents, ids = found.indices // vocab, found.indices % vocab
    elder = (parents.unsqueeze(2) == parents.unsqueeze(1)).tril(-1)
    left = log_probs.take_along_dim(parents.unsqueeze(-1), 1)
    taken = torch.zeros_like(left).scatter_add(
        2, ids.unsqueeze(1).expand(-1, count, -1), elder.to(left)
    )
    impossible = found.values.isneginf().unsqueeze(-1)  # such paths are there, but were not drawn
    law = law_of(ids, left.masked_fill((taken > 0) | impossible, -torch.inf))
    kept = Scores(paths.flatten(1).gather(1, found.indices), found.values.to(paths))
    return Level(ids.unsqueeze(-1), [law], parents), kept


def without_replacement(log_probs: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Different ids, each drawn from what those before it left: the first ones of a Gumbel race.

    Args:
        log_probs: [..., vocab].
        keys: int64 [...], of random bits.
        count: of the ids.

    Returns:
        Ids in the order in which they were drawn, int64 [..., count], and the log-probabilities
        that each was drawn from, given those before it, [..., count, vocab]; see `law_of`.
    """
    ids = (log_probs + gumbel(keys, log_probs.shape[-1])).topk(count, dim=-1).indices
    laws, left = [], log_probs
    for one in ids.unbind(-1):
        laws.append(law_of(one, left))
        left = left.scatter(-1, one.unsqueeze(-1), -torch.inf)
    return ids, torch.stack(laws, -2)


def law_of(ids: Tensor, logits: Tensor) -> Tensor:
    """Log-probabilities that ids were drawn from, [..., vocab].

    Args:
        ids: int64 [...].
        logits: [..., vocab] of what could be drawn; if that is nothing, the ids were not drawn but
            put there, and have probability 1.
    """
    certain = torch.full_like(logits, -torch.inf).scatter(-1, ids.unsqueeze(-1), 0.0)
    nothing = logits.isneginf().all(-1, keepdim=True)
    return torch.where(nothing, certain, logits.log_softmax(-1))
