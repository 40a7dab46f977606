"""The second half of a recogniser: its losses, by hand, and what it writes."""

import itertools
import math

import pytest
import torch

from intaglio.codecs.decoders.recogniser import RecogniserDecoder, ctc_loss
from intaglio.codecs.decoders.spelling import collapsed, symbols


def enumerated(scores, target):
    """Minus the log of the probability of all alignments of one item, one by one."""
    probability = 0.0
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if collapsed(path) == target:
            probability += math.exp(
                sum(float(row[one]) for row, one in zip(scores, path, strict=True))
            )
    return -math.log(probability)


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [2, 1, 2], []])
def test_ctc_counts_every_alignment(target):
    torch.manual_seed(0)
    scores = torch.randn(1, 5, 3).double().log_softmax(-1)
    found = ctc_loss(scores, torch.tensor([4]), [torch.tensor(target, dtype=torch.int64)])
    expected = enumerated(scores[0, :4], target) / max(1, len(target))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_a_text_that_does_not_fit_counts_as_nothing():
    """Three positions have no room for two equal letters and the blank between, and one more."""
    scores = torch.randn(2, 3, 3).log_softmax(-1).requires_grad_()
    targets = [torch.tensor([1, 1, 2]), torch.tensor([1])]
    loss = ctc_loss(scores, torch.tensor([3, 3]), targets)
    loss.backward()
    assert loss.isfinite() and not scores.grad[0].any() and scores.grad[1].any()


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return RecogniserDecoder(64, 640, 1, 2, text_depth=1, label_smoothing=0.0).double().eval()


def test_a_batch_is_heard_as_its_items(decoder):
    latents = torch.randn(2, 12, 64).double()
    mask = torch.arange(12) < torch.tensor([[7], [12]])
    batch = decoder.features(latents, mask)
    alone = decoder.features(latents[:1, :7], mask[:1, :7])
    torch.testing.assert_close(batch[:1, :7], alone, atol=1e-10, rtol=0)
    assert (
        decoder.transcripts(latents, mask)[0]
        == decoder.transcripts(latents[:1, :7], mask[:1, :7])[0]
    )
    # of one item, what lies behind its end counts in neither loss
    other = latents.clone()
    other[0, 7:] = 100
    for name, loss in decoder.recognition_losses(latents, mask, ["a b", "Cd"]).items():
        again = decoder.recognition_losses(other, mask, ["a b", "Cd"])[name]
        assert loss.item() == pytest.approx(again.item(), rel=1e-6), name


def test_the_writer_sees_only_the_letters_before_the_one_it_writes(decoder):
    latents, mask = torch.randn(1, 6, 64).double(), torch.ones(1, 6, dtype=torch.bool)

    def written(text):
        seen = []
        hook = decoder.write.register_forward_hook(lambda *given: seen.append(given[-1]))
        loss = decoder.recognition_losses(latents, mask, [text])["attention"]
        hook.remove()
        return seen[0][0].detach(), loss.item()

    (one, loss), (other, _) = written("abc"), written("abxyz")
    torch.testing.assert_close(one[:3], other[:3], atol=1e-10, rtol=0)
    assert (one[3] - other[3]).abs().max() > 1e-3
    wanted = [*symbols("abc"), 0]  # and then it ends
    scores = one.log_softmax(-1)[range(4), wanted]
    assert loss == pytest.approx(-scores.mean().item(), rel=1e-5)


def test_no_writer_is_ctc_alone():
    decoder = RecogniserDecoder(64, 640, 1, 1, text_depth=0)
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert set(decoder.recognition_losses(torch.randn(1, 4, 64), mask, ["a"])) == {"ctc"}
