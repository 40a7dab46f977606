"""Items of any length: learned, evaluated and drawn up to their end."""

from itertools import product

import pytest
import torch

from intaglio.codecs.layers.transformer import Transformer
from intaglio.codecs.part import build, describe
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.embeddings.base import IdEmbedding, LinearEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.heads.depth import DepthHead
from intaglio.generators.heads.flow import FlowHead
from intaglio.generators.heads.fourier import FourierHead
from intaglio.generators.orders.base import PartialSequence, Request
from intaglio.generators.orders.masked import MaskedOrder
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers import sampler as sampling
from intaglio.generators.samplers.sampler import Sampler

HEADS = {
    "categorical": lambda dim, vocab: CategoricalHead(dim, vocab),
    "depth": lambda dim, vocab: DepthHead(dim, vocab, hidden_channels=8, depth=1, heads=2),
}


def built(positions=3, vocab=(2,), head="categorical", dim=16, dropout=0.2, **options):
    torch.manual_seed(0)
    backbone = Backbone(
        (positions,),
        IdEmbedding(vocab, dim),
        ClassCondition(2),
        Transformer(dim, 2, 2, gated=True, bias=False, norm="rms", dropout=dropout),
        rotary="line",
        drop_tokens=dropout,
    )
    found = HEADS[head](dim, (vocab[0] + 1, *vocab[1:]))
    return Generator(backbone, found, RasterOrder(), end_of_sequence=True, **options)


def stirred(generator, dtype=torch.float64, std=0.5):
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return generator.to(dtype).eval()


def every_item(positions, vocab):
    """All items of at most so many tokens, with their mask."""
    tokens = list(product(*(range(size) for size in vocab)))
    items = [i for n in range(positions + 1) for i in product(tokens, repeat=n)]
    ids = torch.zeros(len(items), positions, len(vocab), dtype=torch.int64)
    mask = torch.zeros(ids.shape[:2], dtype=torch.bool)
    for row, item in enumerate(items):
        mask[row, : len(item)] = True
        if item:
            ids[row, : len(item)] = torch.tensor(item)
    return ids, mask


TOYS = [(3, (2,), "categorical"), (2, (3, 2), "categorical"), (2, (3, 2, 2), "depth")]


@pytest.mark.parametrize(("positions", "vocab", "head"), TOYS)
@torch.no_grad()
def test_probabilities_of_all_items_add_up_to_one(positions, vocab, head):
    generator = stirred(built(positions, vocab, head))
    ids, mask = every_item(positions, vocab)
    for label in (0, -1):
        found = generator.log_prob(ids, torch.full((len(ids),), label), mask)
        assert found.shape == (len(ids), positions)
        assert float(found.sum(1).exp().sum()) == pytest.approx(1, abs=1e-6)
        behind = torch.arange(positions) > mask.sum(1, keepdim=True)
        assert (found[behind] == 0).all() and (found[~behind] < 0).all()


@pytest.mark.parametrize(("positions", "vocab", "head"), TOYS)
@torch.no_grad()
def test_items_are_drawn_with_their_probability(positions, vocab, head):
    """Chi-square of 20,000 items over all items; fails by chance once in 10,000 runs."""
    generator = stirred(built(positions, vocab, head))
    ids, mask = every_item(positions, vocab)
    probability = generator.log_prob(ids, torch.zeros(len(ids)).long(), mask).sum(1).exp()
    count = 20_000
    drawn = Sampler().generate_sequences(generator, torch.zeros(count, dtype=torch.int64), seed=11)
    numbers = {
        (int(m.sum()), *i[m].flatten().tolist()): row
        for row, (i, m) in enumerate(zip(ids, mask, strict=True))
    }
    rows = [
        numbers[int(m.sum()), *i[m].flatten().tolist()]
        for i, m in zip(drawn.tokens, drawn.mask, strict=True)
    ]
    observed = torch.tensor(rows).bincount(minlength=len(ids)).double()
    few = count * probability < 5
    expected = torch.cat([count * probability[~few], count * probability[few].sum()[None]])
    observed = torch.cat([observed[~few], observed[few].sum()[None]])
    seen = expected > 0
    statistic = float(((observed - expected)[seen].square() / expected[seen]).sum())
    freedom = int(seen.sum()) - 1
    tail = torch.special.gammaincc(torch.tensor(freedom / 2), torch.tensor(statistic / 2))
    assert freedom > 5 and float(tail) > 1e-4


@pytest.mark.parametrize("head", ["categorical", "depth"])
def test_what_stands_behind_an_item_has_no_influence(head):
    generator = stirred(built(6, (3, 2), head))
    lengths = torch.tensor([0, 2, 4, 6])
    mask = torch.arange(6) < lengths.unsqueeze(1)
    ids = torch.randint(0, 2, (4, 6, 2))
    condition = torch.tensor([0, 1, -1, 0])
    gradients, losses = [], []
    for garbage in (0, -7, 99):
        tokens = torch.where(mask.unsqueeze(-1), ids, torch.full_like(ids, garbage))
        generator.zero_grad()
        loss = generator.loss(tokens, condition, mask)
        assert loss.shape == (1 + 3 + 5 + 6,)  # an item of all positions ends without a token
        loss.mean().backward()
        losses.append(loss.detach())
        gradients.append([p.grad for p in generator.parameters() if p.grad is not None])
    for other in (1, 2):
        assert torch.equal(losses[0], losses[other])
        assert all(map(torch.equal, gradients[0], gradients[other]))
    together = generator.log_prob(ids, condition, mask)
    assert torch.equal(-together[together != 0], losses[0])
    for row, length in enumerate(lengths.tolist()):  # alone, without padding or a mask
        alone = generator.log_prob(ids[row : row + 1, :length], condition[row : row + 1])
        assert alone.shape == (1, min(length + 1, 6))
        torch.testing.assert_close(alone[0], together[row, : alone.shape[1]])
        assert (together[row, alone.shape[1] :] == 0).all()


def test_the_mask_ends_an_item_where_it_says():
    """Each position more changes the item's probability, and its last token is the end."""
    generator = stirred(built(5, (3,)))
    ids, condition = torch.randint(0, 3, (1, 5, 1)), torch.tensor([1])
    found = {}
    for length in range(6):
        mask = (torch.arange(5) < length).unsqueeze(0)
        found[length] = generator.log_prob(ids, condition, mask)[0]
    for length in range(5):
        hidden = generator.predictions(ids, condition).hidden[length]
        logits = generator.head.logits(hidden)[0].log_softmax(-1)
        torch.testing.assert_close(found[length][length], logits[3].to(found[length].dtype))
        torch.testing.assert_close(found[length][:length], found[5][:length])


@pytest.mark.parametrize("guidance", [Guidance(), Guidance(1.5)], ids=["plain", "guided"])
@pytest.mark.parametrize("head", ["categorical", "depth"])
@torch.no_grad()
def test_an_item_is_the_same_in_any_batch_and_goes_on_from_its_beginning(
    head, guidance, monkeypatch
):
    generator, sampler = stirred(built(12, (3, 2), head), std=0.25), Sampler(guidance=guidance)
    condition = torch.arange(16) % 3 - 1
    tokens, mask = sampler.generate_sequences(generator, condition, seed=5)
    lengths = mask.sum(1)
    assert len(lengths.unique()) > 3 and int(lengths.max()) == mask.shape[1]
    assert not tokens[~mask].any() and ((tokens >= 0) & (tokens < torch.tensor([3, 2]))).all()
    assert torch.equal(mask, torch.arange(mask.shape[1]) < lengths.unsqueeze(1))
    for row in range(16):
        alone = sampler.generate_sequences(generator, condition[row : row + 1], seed=5 + row)
        assert alone.mask.shape == (1, int(lengths[row])) and alone.mask.all()
        assert torch.equal(alone.tokens[0], tokens[row, mask[row]])
    for count in (1, 3):  # items that are shorter have been given all that they are
        kept = torch.arange(mask.shape[1]) < torch.full((16, 1), count).minimum(lengths[:, None])
        again = sampler.generate_sequences(
            generator, condition, seed=5, given=PartialSequence(tokens, kept)
        )
        assert torch.equal(again.tokens, tokens) and torch.equal(again.mask, mask)
    monkeypatch.setattr(sampling, "is_recorded", lambda device: True)
    recorded = sampler.generate_sequences(generator, condition, seed=5)
    assert torch.equal(recorded.tokens, tokens) and torch.equal(recorded.mask, mask)


@torch.no_grad()
def test_the_drawing_stops_with_its_longest_item_or_at_the_last_position():
    generator = stirred(built(12, (3,)), std=0.25)
    condition, steps = torch.arange(4) % 2, []
    drawn = Sampler().generate_sequences(
        generator, condition, seed=3, callback=lambda event: steps.append(event)
    )
    longest = int(drawn.mask.sum(1).max())
    assert 1 < longest < 12
    assert [event.step.number for event in steps] == list(range(min(longest + 1, 12)))
    for number, event in enumerate(steps):
        assert torch.equal(event.mask.sum(1), drawn.mask.sum(1).clamp(max=number + 1))
    few = Sampler(positions=2).generate_sequences(generator, condition, seed=3)
    assert torch.equal(few.mask, drawn.mask[:, :2]) and torch.equal(few.tokens, drawn.tokens[:, :2])


@torch.no_grad()
def test_cached_steps_find_what_one_pass_finds():
    generator = stirred(built(6, (3,)))
    tokens, condition = torch.randint(0, 3, (2, 6, 1)), torch.tensor([0, 1])
    whole = generator.predictions(tokens, condition).hidden.view(2, 6, -1)
    partial = PartialSequence(torch.zeros_like(tokens), torch.zeros(2, 6, dtype=torch.bool))
    request = Request(condition, partial, torch.arange(2), end=generator.end)
    state = generator.start_decoding(request)
    for step in state.steps():
        hidden, _ = state.hidden(step)
        assert (hidden[:, 0] - whole[:, step.number]).abs().max() < 1e-9
        drawn = tokens[:, step.number : step.number + 1].clone()
        if step.number == 3:
            drawn[1] = generator.end
        state.commit(step, drawn, 1.0)
        if step.number == 3:
            whole = whole[:1].expand(2, -1, -1)  # the second row has ended; the first goes on
            tokens[1] = tokens[0]
            state.hidden = lambda step, plain=state.hidden: (
                plain(step)[0][:1].expand(2, -1, -1),
                0,
            )
    assert state.mask.tolist() == [[True] * 6, [True] * 3 + [False] * 3]


class Grammar:
    """A Markov chain of four words, each of which may be the last."""

    words, longest = 4, 14

    def __init__(self):
        torch.manual_seed(5)
        self.first = torch.distributions.Dirichlet(torch.ones(self.words)).sample().double()
        following = torch.distributions.Dirichlet(0.7 * torch.ones(self.words)).sample((4,))
        self.stop = torch.tensor([0.05, 0.4, 0.15, 0.25], dtype=torch.float64)
        going_on = following.double() * (1 - self.stop).unsqueeze(1)
        self.next = torch.cat([going_on, self.stop.unsqueeze(1)], dim=1)  # the last column ends

    def draw(self, count):
        """Items [count, longest, 1] and their mask."""
        tokens = torch.zeros(count, self.longest, dtype=torch.int64)
        tokens[:, 0] = self.first.multinomial(count, replacement=True)
        mask = torch.ones(count, self.longest, dtype=torch.bool)
        for place in range(1, self.longest):
            drawn = self.next[tokens[:, place - 1]].multinomial(1)[:, 0]
            mask[:, place] = mask[:, place - 1] & (drawn < self.words)
            tokens[:, place] = drawn.where(mask[:, place], torch.zeros_like(drawn))
        return tokens.unsqueeze(-1), mask

    def nats(self, tokens, mask):
        """Negative log-probability of items, float64 [count]."""
        ids, found = tokens[..., 0], -self.first[tokens[:, 0, 0]].log()
        for place in range(1, self.longest):
            ending = ids.new_full((len(ids),), self.words)
            drawn = ids[:, place].where(mask[:, place], ending)
            found = found - self.next[ids[:, place - 1], drawn].log() * mask[:, place - 1]
        return found

    def exact(self):
        """Entropy of an item in nats, and the probability of each length."""
        alive, lengths = self.first, []
        entropy = -torch.special.xlogy(self.first, self.first).sum()
        each = -torch.special.xlogy(self.next, self.next).sum(1)
        for _ in range(1, self.longest):
            entropy = entropy + (alive * each).sum()
            lengths.append((alive * self.stop).sum())
            alive = alive @ self.next[:, : self.words]
        return float(entropy), torch.stack([*lengths, alive.sum()])


def test_a_grammar_is_learned_and_drawn():
    """The cross-entropy of an item is at most 0.02 nats above its entropy, of about 7.3 nats.

    The difference is estimated from both likelihoods of the same 20,000 items, with a standard
    error below 0.001 nats. Chi-square of the lengths of 2000 drawn items fails by chance once in
    10,000 runs of a perfect generator.
    """
    grammar = Grammar()
    entropy, lengths = grammar.exact()
    generator = built(grammar.longest, (grammar.words,), dim=32, dropout=0.0, drop_condition=0.0)
    optimizer = torch.optim.AdamW(generator.train().parameters(), 4e-3, weight_decay=0.0)
    steps = 300
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        tokens, mask = grammar.draw(256)
        shown = int(mask.sum(1).max())
        loss = generator.loss(tokens[:, :shown], torch.zeros(256).long(), mask[:, :shown]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    generator.eval()
    tokens, mask = grammar.draw(20_000)
    with torch.no_grad():
        nats = -generator.log_prob(tokens, torch.zeros(20_000).long(), mask).double().sum(1)
        drawn = Sampler().generate_sequences(generator, torch.zeros(2000).long(), seed=1)
    true = grammar.nats(tokens, mask)
    assert float(true.mean()) == pytest.approx(entropy, abs=4 * float(true.std()) / 20_000**0.5)
    excess, error = float((nats - true).mean()), float((nats - true).std()) / 20_000**0.5
    print(f"cross-entropy {entropy + excess:.4f}, entropy {entropy:.4f}, error {error:.4f}")
    assert error < 0.001
    assert -4 * error < excess < 0.02
    observed = drawn.mask.sum(1).bincount(minlength=grammar.longest + 1)[1:].double()
    expected = 2000 * lengths
    statistic = ((observed - expected).square() / expected).sum()
    tail = torch.special.gammaincc(torch.tensor((grammar.longest - 1) / 2).double(), statistic / 2)
    print(f"chi-square {statistic:.1f} of {grammar.longest - 1} degrees of freedom")
    assert float(expected.min()) > 5 and float(tail) > 1e-4


def test_it_is_built_again_from_its_recipe():
    generator = stirred(built())
    again = build(describe(generator)).double().eval()
    again.load_state_dict(generator.state_dict())
    assert again.end == generator.end == 2
    condition = torch.zeros(3, dtype=torch.int64)
    drawn, same = (Sampler().generate_sequences(g, condition) for g in (generator, again))
    assert torch.equal(drawn.tokens, same.tokens) and torch.equal(drawn.mask, same.mask)


def test_what_has_no_end_is_refused():
    def generator(embedding, head, order=None, shape=(4,)):
        backbone = Backbone(shape, embedding, ClassCondition(2), Transformer(8, 1, 2))
        Generator(backbone, head, order or RasterOrder(), end_of_sequence=True)

    ids, head = IdEmbedding((3, 2), 8), CategoricalHead(8, (4, 2))
    with pytest.raises(ValueError, match="MaskedOrder draws items of one length only"):
        generator(ids, head, MaskedOrder(8))
    with pytest.raises(ValueError, match="sequences of ids, no grids and no vectors"):
        generator(ids, head, shape=(2, 2))
    with pytest.raises(ValueError, match="sequences of ids, no grids and no vectors"):
        generator(LinearEmbedding(4, 8), FlowHead(8, 4, hidden_channels=8, depth=1))
    backwards = DepthHead(8, (4, 2), hidden_channels=8, depth=1, heads=2, order=(1, 0))
    for other in (CategoricalHead(8, (3, 2)), FourierHead(8, (4, 2)), backwards):
        with pytest.raises(
            ValueError, match=r"needs a head that predicts it first.* \(4, 2\), got"
        ):
            generator(ids, other)


def test_items_and_masks_that_do_not_fit_are_refused(raster):
    generator = stirred(built(3, (2,)))
    condition = torch.zeros(2, dtype=torch.int64)
    tokens = torch.zeros(2, 3, 1, dtype=torch.int64)
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"at most \(3, 1\) tokens are needed, got \(4, 1\)"):
        generator.log_prob(torch.zeros(2, 4, 1, dtype=torch.int64), condition)
    with pytest.raises(ValueError, match=r"a mask is bool \[2, 3\], got torch.int64 \[2, 3\]"):
        generator.log_prob(tokens, condition, mask.long())
    with pytest.raises(ValueError, match="come first in its mask"):
        generator.log_prob(tokens, condition, mask & torch.tensor([True, False, True]))
    with pytest.raises(ValueError, match="draws items of any length: use generate_sequences"):
        Sampler().generate(generator, condition)
    fixed = raster(shape=(3,))
    with pytest.raises(ValueError, match="draws items of 3 tokens; to mask some build it with end"):
        fixed.log_prob(tokens, condition, mask)
    drawn = Sampler().generate_sequences(fixed, condition, seed=2)
    assert drawn.mask.all() and torch.equal(
        drawn.tokens, Sampler().generate(fixed, condition, seed=2)
    )
