import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from vector_quantize_pytorch import VectorQuantize

from intaglio.codecs.audio.encodec import encodec
from intaglio.codecs.audio.wavtokenizer import wavtokenizer
from intaglio.codecs.quantizers import codebook as search
from intaglio.codecs.quantizers.codebook import clustering_pull, nearest
from intaglio.codecs.quantizers.vq import VectorQuantizer

KINDS = {
    "ema": {},
    "gradient": {"update": "gradient"},
    "cosine": {"cosine": True},
    "gradient cosine": {"cosine": True, "update": "gradient"},
    "clustering gradient": {"revival": "clustering", "update": "gradient"},
    "projected": {"codebook_dim": 4},
    "projected cosine": {"codebook_dim": 4, "cosine": True},
    "projected gradient": {"codebook_dim": 4, "update": "gradient"},
}


def quantizer(**changes):
    return VectorQuantizer(16, 32, **({"kmeans_iterations": 5} | changes))


def library(module):
    """vector-quantize-pytorch's quantizer with the same codes and layers."""
    size = module.codebook.shape[1]
    theirs = VectorQuantize(16, 32, codebook_dim=size, use_cosine_sim=module.cosine)
    theirs._codebook.embed.data.copy_(module._codebook.searched.detach()[None])
    if size < 16:
        theirs.project_in.load_state_dict(module.project_in.state_dict())
        theirs.project_out.load_state_dict(module.project_out.state_dict())
    return theirs.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_inference_equals_the_librarys_token_for_token(kind):
    module = quantizer(**KINDS[kind]).train()
    for _ in range(3):
        module(torch.randn(4, 40, 16))
    module.eval()
    latents = torch.randn(3, 50, 16)
    values, ids, _ = library(module)(latents)
    ours = module.encode_ids(latents)
    assert torch.equal(ours[..., 0], ids)
    torch.testing.assert_close(module.decode_ids(ours), values)
    output = module(latents)
    assert torch.equal(output.ids, ours)
    torch.testing.assert_close(output.values, values)


@pytest.mark.parametrize("kind", KINDS)
def test_training_brings_the_values_near_the_latents_and_uses_the_codes(kind):
    module = quantizer(**KINDS[kind], kmeans_iterations=0, decay=0.8).train()
    optimizer = torch.optim.Adam([*module.parameters(), torch.zeros(1, requires_grad=True)], 1e-2)
    centres = torch.randn(32, 16)
    alike = []
    for _ in range(150):
        latents = centres[torch.randint(32, (8, 64))] + 0.05 * torch.randn(8, 64, 16)
        output = module(latents.requires_grad_())
        optimizer.zero_grad()
        (sum(output.losses.values()) + (output.values - latents).square().mean()).backward()
        optimizer.step()
        alike.append(F.cosine_similarity(output.values, latents, dim=-1).mean().item())
    assert alike[0] < 0.6
    assert alike[-1] > (0.65 if "projected" in kind else 0.85)
    assert output.stats["perplexity"] > 16
    assert set(output.losses) == {"commitment", *({"codebook"} if "gradient" in kind else set())}


def test_nearest_is_the_nearest_in_slices_too(monkeypatch):
    x, codebook = torch.randn(101, 7), torch.randn(33, 7)
    expected = (x[:, None] - codebook).square().sum(-1).argmin(1)
    assert torch.equal(nearest(x, codebook), expected)
    monkeypatch.setattr(search, "SCORES_AT_ONCE", 10 * 33)
    assert torch.equal(nearest(x, codebook), expected)


def test_the_straight_through_gradient_is_the_identity():
    module = quantizer().train()
    latents = torch.randn(2, 20, 16, requires_grad=True)
    values = module(latents).values
    weight = torch.randn_like(values)
    (values * weight).sum().backward()
    torch.testing.assert_close(latents.grad, weight)


def test_commitment_moves_latents_and_only_the_codebook_loss_moves_codes():
    module = quantizer(update="gradient").train()
    latents = torch.randn(2, 20, 16, requires_grad=True)
    losses = module(latents).losses
    parameter = module.codebook
    moved = torch.autograd.grad(
        losses["commitment"], [latents, parameter], allow_unused=True, retain_graph=True
    )
    assert moved[0].abs().sum() > 0
    assert moved[1] is None
    moved = torch.autograd.grad(losses["codebook"], [latents, parameter], allow_unused=True)
    assert moved[0] is None
    assert moved[1].abs().sum() > 0


def test_kmeans_starts_on_the_first_batch_of_the_training_only():
    module = quantizer().eval()
    module(torch.randn(1, 64, 16))
    assert not module._codebook.initialised
    module.train()
    module(10 + torch.randn(4, 64, 16))
    assert module._codebook.initialised
    assert (module.codebook.mean(1) - 10).abs().max() < 1.5


def test_dead_codes_revive_on_data_far_away_and_stay_bounded():
    torch.manual_seed(0)
    module = VectorQuantizer(8, 64, kmeans_iterations=0, decay=0.9, dead_below=1.0).train()
    for _ in range(20):
        output = module(30 + torch.randn(1, 512, 8))
    assert output.stats["perplexity"] > 0.7 * 64
    assert module.codebook.norm(dim=1).max() < 2 * 30 * 8**0.5
    frozen = VectorQuantizer(8, 64, kmeans_iterations=0, decay=0.9, dead_below=0).train()
    for _ in range(20):
        output = frozen(30 + torch.randn(1, 512, 8))
    assert output.stats["perplexity"] < 20


def test_masked_positions_move_nothing():
    mask = torch.arange(20) < torch.tensor([[20], [7]])
    latents = torch.randn(2, 20, 16)
    other = latents.clone()
    other[1, 7:] = 1e3
    states = []
    for data in (latents, other):
        torch.manual_seed(3)
        module = quantizer(dead_below=0).train()
        output = module(data, mask)
        states.append((module.codebook.clone(), output.losses["commitment"]))
    torch.testing.assert_close(states[0], states[1])


def test_values_that_are_not_finite_leave_the_codebook_alone():
    module = quantizer().train()
    module(torch.randn(2, 40, 16))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    latents = torch.randn(2, 40, 16)
    latents[0, 3, 5] = float("nan")
    module(latents)
    for name, value in module.state_dict().items():
        assert torch.equal(before[name], value), name


def test_bfloat16_gives_the_ids_of_its_values():
    module = quantizer().train()
    module(torch.randn(2, 40, 16))
    module.eval()
    latents = torch.randn(1, 300, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ids = module(latents).ids
    assert torch.equal(ids, module.encode_ids(latents.float()))


def test_directions_that_learn_by_gradients_are_compared_judged_and_given_at_length_one():
    module = quantizer(update="gradient", cosine=True, kmeans_iterations=0, dead_below=0).train()
    with torch.no_grad():
        module.codebook.mul_(torch.rand(32, 1) * 9 + 1)  # lengths must not matter
    latents = (3 * torch.randn(2, 20, 16)).requires_grad_()
    output = module(latents)
    directions = F.normalize(latents, dim=-1)
    codes = F.normalize(module.codebook, dim=-1)
    ids = (directions @ codes.t()).argmax(-1)
    assert torch.equal(output.ids[..., 0], ids)
    torch.testing.assert_close(output.values, codes[ids])
    expected = F.mse_loss(codes[ids], directions)
    torch.testing.assert_close(list(output.losses.values()), [expected] * 2)
    assert output.losses.keys() == {"commitment", "codebook"}
    assert module.codebook.norm(dim=1).max() > 2
    (moved,) = torch.autograd.grad(output.losses["codebook"], module.codebook, retain_graph=True)
    used = torch.bincount(ids.flatten(), minlength=32) > 0
    assert torch.equal(moved.abs().sum(1) > 0, used)
    inward = (moved * module.codebook).sum(1) / module.codebook.norm(dim=1)
    assert inward.abs().max() < 1e-6  # lengths are left alone
    weight = torch.randn_like(output.values)
    (back,) = torch.autograd.grad((output.values * weight).sum(), latents)
    (reference,) = torch.autograd.grad((F.normalize(latents, dim=-1) * weight).sum(), latents)
    torch.testing.assert_close(back, reference)


@pytest.mark.parametrize("kind", ["ema", "cosine"])
def test_codes_of_running_means_are_given_as_they_are_kept(kind):
    module = quantizer(**KINDS[kind]).train()
    module(torch.randn(4, 40, 16))
    assert module._codebook.searched is module.codebook
    assert torch.equal(module.decode_ids(torch.tensor([[[3]]]))[0, 0], module.codebook[3])


def test_the_rotation_trick_gives_the_codes_in_evaluation():
    module = quantizer(rotation_trick=True).train()
    latents = torch.randn(2, 40, 16)
    module(latents)
    module.eval()
    assert torch.equal(module(latents).values, module.codebook[module.encode_ids(latents)[..., 0]])


@pytest.mark.parametrize(("usage", "pull"), [(0.0, 0.9990005), (1 / 1024, 0.0), (1e-6, 0.3588)])
def test_the_pull_of_clustering(usage, pull):
    rates = clustering_pull(torch.full((1024,), usage), 0.99)
    assert rates.tolist() == pytest.approx([pull] * 1024, abs=1e-4)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_clustering_pulls_codes_without_use_to_the_nearest_vectors(update):
    module = quantizer(update=update, revival="clustering", kmeans_iterations=0).train()
    with torch.no_grad():
        module.codebook.copy_(torch.full((32, 16), 100.0))
        module.codebook[0] = 0.0
    latents = torch.randn(4, 40, 16)
    latents[0, 0] += 20  # the vector nearest to all the codes far away
    module(latents)
    used = module._codebook.share > 0
    assert used.tolist() == [True] + [False] * 31
    expected = latents[0, 0] + (100 - latents[0, 0]) * (1 - 0.9990005)
    torch.testing.assert_close(module.codebook[1:], expected.expand(31, 16), rtol=1e-4, atol=1e-4)
    assert module.codebook[0].norm() < 2
    assert module._codebook.share[0].item() == pytest.approx(0.01)


def test_clustering_brings_a_collapsed_codebook_into_use_and_repeats_itself():
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        module = quantizer(update="gradient", revival="clustering", kmeans_iterations=0).train()
        module.codebook.data.mul_(30)  # far away: hardly any is nearest to something
        optimizer = torch.optim.SGD([module.codebook], 100.0)
        for _ in range(40):
            output = module(torch.randn(4, 64, 16))
            optimizer.zero_grad()
            output.losses["codebook"].backward()
            optimizer.step()
        assert output.stats["perplexity"] > 16
        states.append(module.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    plain = quantizer(update="gradient", dead_below=0, kmeans_iterations=0).train()
    plain.codebook.data.mul_(30)
    assert plain(torch.randn(4, 64, 16)).stats["perplexity"] < 8
    assert "_codebook.share" not in plain.state_dict()


def test_clustering_moves_nothing_without_vectors_or_with_broken_ones():
    module = quantizer(revival="clustering", kmeans_iterations=0).train()
    module(torch.randn(2, 40, 16))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    latents = torch.randn(2, 40, 16)
    latents[0, 3, 5] = float("nan")
    module(latents)
    for name, value in module.state_dict().items():
        assert torch.equal(before[name], value), name
    module(torch.randn(2, 40, 16), torch.zeros(2, 40, dtype=torch.bool))
    assert torch.equal(module.codebook, before["_codebook.codes"])
    assert torch.equal(module._codebook.share, before["_codebook.share"])


@pytest.mark.parametrize("wrong", [{"update": "mean"}, {"revival": "nearest"}])
def test_other_ways_to_train_are_refused(wrong):
    with pytest.raises(ValueError, match="cannot update"):
        VectorQuantizer(4, 8, **wrong)


def churn(vectors_per_code: float, **options: object) -> tuple[float, float]:
    """Share of codes replaced in a step, and share of ids that are kept over 50 steps."""
    generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    centres = torch.randn(256, 8, generator=generator)
    module = VectorQuantizer(8, 128, kmeans_iterations=20, **options).train()

    def draw(count: int) -> torch.Tensor:
        weights = torch.arange(1, 257) ** -0.5  # some are rarer than others, as in speech
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        return (centres[chosen] + 0.3 * torch.randn(count, 8, generator=generator))[None]

    count = round(128 * vectors_per_code)
    for _ in range(200):
        module(draw(count))
    probe = draw(2048)
    before, replaced = module.encode_ids(probe), 0
    revive = module._codebook._revive

    def counted(vectors: torch.Tensor, dead: torch.Tensor) -> None:
        nonlocal replaced
        replaced += int(dead.sum())
        revive(vectors, dead)

    module._codebook._revive = counted
    for _ in range(50):
        module(draw(count))
    kept = (module.encode_ids(probe) == before).double().mean()
    return replaced / (50 * 128), float(kept)


@pytest.mark.parametrize("vectors_per_code", [0.5, 2.2])
def test_small_batches_do_not_replace_codes_that_are_in_use(vectors_per_code):
    """2.2 vectors a code are those of WavTokenizer's recipe on one GPU."""
    replaced, kept = churn(vectors_per_code)
    assert replaced < 0.003 and kept > 0.85
    replaced_by_count, kept_by_count = churn(vectors_per_code, dead_share=None)
    assert replaced_by_count > replaced + 0.004
    assert kept_by_count < kept - 0.15


def test_the_systems_whose_releases_count_scale_with_the_batch():
    """In the releases of these an absolute count of 2 is all."""
    with torch.device("meta"):
        levels = [wavtokenizer().quantizer, *encodec().quantizer.levels]
    for level in levels:
        book = level._codebook
        for mean, smallest in ((2.2, 0.22), (0.5, 0.05), (40.0, 2.0)):
            book.usage = torch.full((len(book.usage),), mean)
            assert float(book._smallest_usage()) == pytest.approx(smallest)


def test_codes_that_are_hardly_used_are_replaced_at_any_batch():
    for count in (64, 4096):
        module = VectorQuantizer(8, 64, kmeans_iterations=0, decay=0.9).train()
        with torch.no_grad():
            module.codebook[:16] = 1e3  # nothing is ever near
        for _ in range(60):
            module(torch.randn(1, count, 8))
        assert module.codebook.abs().max() < 100


def test_a_share_of_the_mean_count_is_at_most_one():
    with pytest.raises(ValueError, match=r"in \[0, 1\], not 2"):
        VectorQuantizer(8, 64, dead_share=2.0)


def test_a_search_makes_no_copy_of_the_codebook():
    codebook, vector = torch.randn(512, 64), torch.randn(1, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as found:
        nearest(vector, codebook)
    assert 0 < max(event.self_cpu_memory_usage for event in found.events()) < codebook.nbytes / 2
