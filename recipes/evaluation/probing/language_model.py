"""How predictable the tokens of a codec are: a small autoregressive transformer, trained anew.

A model of 0.4 million weights and the embeddings of the ids reads at most `CONTEXT` positions and
predicts the ids of a position one by one (RQ-Transformer's depth transformer, if there are several)
by the chain rule, so that its nats are those of the whole sequence. Tables of counts of single ids
and of pairs are controls: what they reach takes no model of sequences.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from intaglio.codecs.layers.transformer import Transformer
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import NO_CLASS, ClassCondition
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.heads.base import Head
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.depth import DepthHead
from intaglio.generators.orders.base import Predictions
from intaglio.generators.orders.raster import RasterOrder
from intaglio.recipes.evaluation.generators.baselines import ALPHAS, CountTable

CONTEXT = 256  # positions
DIM, DEPTH, HEADS = 128, 2, 4
BATCH = 8  # sequences
LEARNING_RATE = 3e-3
TUNING_SHARE = 10  # every tenth training sequence decides on the constants of the tables
SHARES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)  # of pairs in their mixture with single ids


class HeldOutNats(NamedTuple):
    """Nats of each held-out sequence, float64 [sequences].

    Attributes:
        model: by the trained model.
        bigram: by counts of an id after the one before it in its group, and of single ids.
        unigram: by counts of single ids.
        parameters: weights of the model.
    """

    model: Tensor
    bigram: Tensor
    unigram: Tensor
    parameters: int


class TokenModel(nn.Module):
    """The transformer, with fresh weights.

    Args:
        vocab: sizes of the codebooks.
    """

    def __init__(self, vocab: Sequence[int]) -> None:
        super().__init__()
        transformer = Transformer(DIM, DEPTH, HEADS)
        self.backbone = Backbone(
            (CONTEXT,), IdEmbedding(vocab, DIM), ClassCondition(0), transformer, rotary="line"
        )
        self.order = RasterOrder()
        self.head: Head = (
            CategoricalHead(DIM, vocab)
            if len(vocab) == 1
            else DepthHead(DIM, vocab, hidden_channels=DIM, depth=1, heads=HEADS)
        )

    def predictions(self, pieces: Sequence[Tensor]) -> Predictions:
        """Of all tokens of pieces, int64 [positions, groups], at most `CONTEXT` long."""
        lengths = torch.tensor([len(piece) for piece in pieces])
        tokens = pad_sequence(list(pieces), batch_first=True)
        mask = torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)
        nobody = torch.full((len(pieces),), NO_CLASS)
        return self.order.predictions(self.backbone, tokens, nobody, mask)

    def fit(self, sequences: Sequence[Tensor], steps: int, *, seed: int = 0) -> None:
        """Train on random pieces of sequences, int64 [positions, groups]; long ones come oftener.

        Args:
            sequences: to train on.
            steps: of AdamW, with a warm-up and a cosine.
            seed: of the pieces.
        """
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.tensor([len(one) for one in sequences], dtype=torch.float64)
        optimizer = torch.optim.AdamW(self.parameters(), LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, max(steps, 2), pct_start=0.1
        )
        self.train()
        for _ in tqdm(range(steps), desc="language model", disable=None, leave=False):
            chosen = torch.multinomial(lengths, BATCH, replacement=True, generator=generator)
            pieces = [_piece(sequences[int(one)], generator) for one in chosen]
            predictions = self.predictions(pieces)
            optimizer.zero_grad()
            self.head.loss(predictions.hidden, predictions.target).mean().backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        self.eval()

    @torch.no_grad()
    def nats(self, sequence: Tensor) -> float:
        """Nats of a sequence, int64 [positions, groups], in pieces that know nothing of another."""
        pieces = sequence.split(CONTEXT)
        total = 0.0
        for start in range(0, len(pieces), BATCH):
            predictions = self.predictions(pieces[start : start + BATCH])
            found = self.head.log_prob(predictions.hidden, predictions.target)
            total -= float(found.double().sum())
        return total


def held_out_nats(
    train: Sequence[Tensor], held: Sequence[Tensor], vocab: Sequence[int], *, steps: int, seed: int
) -> HeldOutNats:
    """Train on some sequences, int64 [positions, groups], and measure others.

    Args:
        train: to train on and to count.
        held: to measure.
        vocab: sizes of the codebooks.
        steps: of the training.
        seed: of the weights and of what is drawn in training.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = TokenModel(vocab)
        model.fit(train, steps, seed=seed)
    nats = torch.tensor([model.nats(one) for one in held], dtype=torch.float64)
    bigram, unigram = _table_nats(train, held, vocab)
    return HeldOutNats(
        nats,
        bigram,
        unigram,
        sum(weight.numel() for weight in model.parameters()),
    )


def _piece(sequence: Tensor, generator: torch.Generator) -> Tensor:
    latest = max(0, len(sequence) - CONTEXT)
    start = int(torch.randint(latest + 1, (1,), generator=generator))
    return sequence[start : start + CONTEXT]


def _table_nats(
    train: Sequence[Tensor], held: Sequence[Tensor], vocab: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Nats of sequences by pairs and by single ids, a table for each group, float64 [sequences].

    Counts of pairs are few: their probabilities are mixed with those of single ids.
    """
    tune = train[::TUNING_SHARE] if len(train) > TUNING_SHARE else train
    count = [one for n, one in enumerate(train) if n % TUNING_SHARE] or train
    pairs, singles = torch.zeros(2, len(held), dtype=torch.float64)
    owner = torch.arange(len(held)).repeat_interleave(torch.tensor([len(one) for one in held]))
    for group, size in enumerate(vocab):
        found = []
        for follows in (False, True):
            table = CountTable(*_pairs(count, group, follows=follows), size)
            tuned = _pairs(tune, group, follows=follows)
            alpha = min(ALPHAS, key=lambda one: float(table.nats(*tuned, one).sum()))
            asked = _pairs(held, group, follows=follows)
            found.append((table.nats(*tuned, alpha), table.nats(*asked, alpha)))
        (tuned_single, single), (tuned_pair, pair) = found
        share = min(SHARES, key=lambda one: float(_mixed(tuned_pair, tuned_single, one).sum()))
        singles.index_add_(0, owner, single)
        pairs.index_add_(0, owner, _mixed(pair, single, share))
    return pairs, singles


def _mixed(pair: Tensor, single: Tensor, share: float) -> Tensor:
    """Nats of a mixture of two distributions, by the nats of both and the share of the first."""
    return -torch.logaddexp(math.log(share) - pair, math.log1p(-share) - single)


def _pairs(sequences: Sequence[Tensor], group: int, *, follows: bool) -> tuple[Tensor, Tensor]:
    """Contexts and ids of one group; the context is the id before, 0 at the beginning."""
    ids = [one[:, group] for one in sequences]
    before = [torch.cat([one.new_zeros(1), one[:-1] + 1]) if follows else one * 0 for one in ids]
    return torch.cat(before), torch.cat(ids)
