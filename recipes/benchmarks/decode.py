"""Autoregressive sampling: our loop compared with transformers' ``generate``, on the same weights.

A Llama of LlamaGen-B's size with classifier-free guidance. transformers uses a static cache, and
guidance in two ways, which are both measured: conditional and unconditional rows in one batch, with
a logits processor that combines them and draws one token for both, which is the fastest; and its
own ``guidance_scale``, which computes the two one after the other. On CUDA transformers compiles
its steps, as it does by default.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.codecs.layers.transformer import Transformer
from intaglio.export import llama
from intaglio.generators.backbone import Backbone
from intaglio.generators.conditioning.classes import ClassCondition
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.embeddings.base import IdEmbedding
from intaglio.generators.generator import Generator
from intaglio.generators.heads.categorical import CategoricalHead
from intaglio.generators.inference.logits import Warp
from intaglio.generators.orders.raster import RasterOrder
from intaglio.generators.samplers.sampler import Sampler
from intaglio.recipes.benchmarks.timing import Timing, compare

DIM, DEPTH, HEADS, HIDDEN = 768, 12, 12, 2048  # LlamaGen-B's
VOCAB, CLASSES, TOKENS = 16_384, 1000, 256
BATCHES = (1, 8)
GUIDANCE_SCALE = 2.0
ROUNDS = 3


def run(tokens: int = TOKENS) -> list[Timing]:
    """All comparisons, with random weights.

    Args:
        tokens: of each item.

    Raises:
        ModuleNotFoundError: transformers is missing.
        RuntimeError: the two implementations disagree.
        ValueError: fewer than 2 tokens.
    """
    if tokens < 2:
        raise ValueError(f"the tokens of an item must be 2 or more, got {tokens}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = _ours(tokens)
    theirs = _theirs(generator).to(device)
    generator.to(device)
    same = _agreement(generator, theirs)
    note = f"{same:.1%} of greedy tokens equal, {device.type}"
    found = []
    for batch in BATCHES:
        found += [_compared(generator, theirs, batch, own=own, note=note) for own in (False, True)]
    return found


def _compared(generator: Generator, theirs: Any, batch: int, *, own: bool, note: str) -> Timing:
    labels = torch.arange(batch) % CLASSES
    sampler = Sampler(guidance=Guidance(GUIDANCE_SCALE))
    way = "guidance_scale" if own else "both halves in a batch"
    result = compare(
        f"{generator.positions} tokens of {VOCAB:,}, LlamaGen-B, guided, batch {batch}",
        _waiting(lambda: sampler.generate(generator, labels)),
        _waiting(lambda: _drawn(theirs, labels, generator.positions, own=own)),
        baseline_name=f"transformers generate, {way}",
        rounds=ROUNDS,
    )
    count = batch * generator.positions
    speeds = [1e3 * count / time for time in (result.ours, result.baseline)]
    more = f"{speeds[0]:.1f} and {speeds[1]:.1f} tokens a second; {note}"
    return result._replace(note=more)


def _waiting(work: Callable[[], object]) -> Callable[[], None]:
    """The work, including the wait for the GPU."""

    def done() -> None:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return done


def _ours(tokens: int) -> Generator:
    torch.manual_seed(0)
    generator = Generator(
        Backbone(
            (tokens,),
            IdEmbedding((VOCAB,), DIM),
            ClassCondition(CLASSES),
            Transformer(DIM, DEPTH, HEADS, hidden=HIDDEN, gated=True, bias=False, norm="rms"),
            rotary="line",
        ),
        CategoricalHead(DIM, (VOCAB,)),
        RasterOrder(),
    )
    nn.init.normal_(generator.head.get_parameter("linear.weight"), std=0.02)
    return generator.eval().requires_grad_(False)


def _theirs(generator: Generator) -> Any:
    """The same generator in transformers."""
    import transformers

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        llama.export(generator, folder)
        make: Any = transformers.LlamaForCausalLM
        return make.from_pretrained(folder, dtype="auto").eval().requires_grad_(False)


def _drawn(
    theirs: Any, labels: Tensor, tokens: int, *, own: bool = False, greedy: bool = False
) -> Tensor:
    """Ids that transformers draws, int64 [batch, tokens]."""
    import transformers

    prompts = labels.to(theirs.device).unsqueeze(1)
    none = torch.full_like(prompts, CLASSES)
    if own:
        how: dict[str, Any] = {"guidance_scale": GUIDANCE_SCALE, "negative_prompt_ids": none}
    else:
        prompts = torch.cat([prompts, none])
        mix = _greedy if greedy else _drawing
        how = {"logits_processor": transformers.LogitsProcessorList([mix])}
        how |= {"do_sample": False, "suppress_tokens": None}
    found = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=tokens,
        cache_implementation="static",
        **how,
    )
    return found[: len(labels), 1:] - (CLASSES + 1)


def _greedy(ids: Tensor, scores: Tensor) -> Tensor:
    """Guided logits for both halves of a batch, without those of classes."""
    mixed = _guided(scores)
    mixed[:, : CLASSES + 1] = -torch.inf
    return mixed.repeat(2, 1)


def _drawing(ids: Tensor, scores: Tensor) -> Tensor:
    """Logits that allow a single token, drawn from the guided distribution, for both halves."""
    probabilities = _guided(scores)[:, CLASSES + 1 :].softmax(-1)
    drawn = torch.multinomial(probabilities, 1) + CLASSES + 1
    return torch.full_like(scores, -torch.inf).scatter_(1, drawn.repeat(2, 1), 0.0)


def _guided(scores: Tensor) -> Tensor:
    """Logits under classifier-free guidance, of a batch of conditional and unconditional rows."""
    conditional, unconditional = scores.chunk(2)
    return unconditional + GUIDANCE_SCALE * (conditional - unconditional)


def _agreement(generator: Generator, theirs: Any) -> float:
    """Share of equal tokens in greedy decoding with guidance.

    Raises:
        RuntimeError: it is low.
    """
    labels = torch.arange(2) % CLASSES
    sampler = Sampler(guidance=Guidance(GUIDANCE_SCALE), warp=Warp(top_k=1))
    ours = sampler.generate(generator, labels)[..., 0]
    found = _drawn(theirs, labels, generator.positions, greedy=True)
    # a tie that is decided by rounding changes all later tokens
    same = (ours == found).int().cumprod(1).float().mean().item()
    if same < 0.5:
        raise RuntimeError(f"only {same:.1%} of the greedy tokens equal those of transformers")
    return same
