"""Drawing tokens row by row: our loop beside transformers' ``generate`` on the same weights.

A Llama of LlamaGen-B's size with guidance. transformers has a static cache, and its guidance comes
in two ways that are both measured: a batch of both halves with a logits processor that mixes them
and draws one token for both, the fastest way; and its own ``guidance_scale``, which computes the
halves one after the other. On CUDA transformers compiles its steps, as it does by itself.
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
from intaglio.recipes.benchmarks.timing import Result, compare

DIM, DEPTH, HEADS, HIDDEN = 768, 12, 12, 2048  # LlamaGen-B's
VOCAB, CLASSES, TOKENS = 16_384, 1000, 256
BATCHES = (1, 8)
SCALE = 2.0  # of the guidance
ROUNDS = 3


def run(tokens: int = TOKENS) -> list[Result]:
    """All comparisons, with random weights.

    Args:
        tokens: of an item.

    Raises:
        ModuleNotFoundError: transformers is missing.
        RuntimeError: the two ways disagree.
        ValueError: fewer than 2 tokens.
    """
    if tokens < 2:
        raise ValueError(f"an item of {tokens} tokens is none to draw: give 2 or more")
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


def _compared(generator: Generator, theirs: Any, batch: int, *, own: bool, note: str) -> Result:
    labels = torch.arange(batch) % CLASSES
    sampler = Sampler(guidance=Guidance(SCALE))
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
    """Work that is done when it returns."""

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
    """The generator as transformers reads it."""
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
        how: dict[str, Any] = {"guidance_scale": SCALE, "negative_prompt_ids": none}
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
    """Guided logits of both halves of a batch; those of classes are none."""
    told, none = scores.chunk(2)
    mixed = none + SCALE * (told - none)
    mixed[:, : CLASSES + 1] = -torch.inf
    return mixed.repeat(2, 1)


def _drawing(ids: Tensor, scores: Tensor) -> Tensor:
    """Logits that leave a single token, drawn by the guided law, the same for both halves."""
    told, none = scores.chunk(2)
    law = (none + SCALE * (told - none))[:, CLASSES + 1 :].softmax(-1)
    drawn = torch.multinomial(law, 1) + CLASSES + 1
    return torch.full_like(scores, -torch.inf).scatter_(1, drawn.repeat(2, 1), 0.0)


def _agreement(generator: Generator, theirs: Any) -> float:
    """Share of the likeliest tokens, guided and one after the other, that are the same.

    Raises:
        RuntimeError: it is low.
    """
    labels = torch.arange(2) % CLASSES
    sampler = Sampler(guidance=Guidance(SCALE), warp=Warp(top_k=1))
    ours = sampler.generate(generator, labels)[..., 0]
    found = _drawn(theirs, labels, generator.positions, greedy=True)
    # a tie that rounding decides changes all that follows it
    same = (ours == found).int().cumprod(1).float().mean().item()
    if same < 0.5:
        raise RuntimeError(f"only {same:.1%} of the greedy tokens are transformers'")
    return same
