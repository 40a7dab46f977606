"""Drawing tokens by diffusion: the loop of the heads compared with a plain one, on the same noise.

The plain loop is that of the released code of MAR (Li et al., 2024): in each step it embeds the
time, computes the modulations of all blocks, passes both halves of a guided batch through the
network and draws the noise. Sizes are those of MAR's heads, with random weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from intaglio.generators.conditioning.guidance import guided
from intaglio.generators.heads.ancestral import DiffusionStep, ancestral, strided
from intaglio.generators.heads.base import SamplingOptions
from intaglio.generators.heads.denoising import embedded, noise_of
from intaglio.generators.heads.diffusion import DiffusionHead
from intaglio.generators.image.mar import HEADS, TRUNKS, Size
from intaglio.generators.inference.counter_rng import Draws, Role
from intaglio.generators.inference.cuda_graph import CudaGraph
from intaglio.generators.inference.logits import PLAIN
from intaglio.recipes.benchmarks.timing import Timing, compare

CHANNELS, STEPS, SCALE = 16, 100, 2.9
SIZES: tuple[Size, ...] = ("tiny", "small", "B", "L", "H")
TOKENS = (1, 8)
ROUNDS = 3
LIMIT = 1e-3  # of differences in float32, relative to the largest value


class Case(NamedTuple):
    """Hidden vectors [1, tokens, dim], random numbers, and guidance."""

    hidden: Tensor
    draws: Draws
    options: SamplingOptions


def run() -> list[Timing]:
    """Every size of head, for one token and for eight, with guidance.

    Raises:
        RuntimeError: the two loops draw different tokens.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return [_compared(size, tokens, device) for size in SIZES for tokens in TOKENS]


def _compared(size: Size, tokens: int, device: torch.device) -> Timing:
    head = head_of(size).to(device)
    case = _case(head.dim, tokens, device)
    apart = _apart(head, case)
    if apart > LIMIT:
        raise RuntimeError(f"the loops draw different tokens: {apart:.2g} of their size apart")
    depth, width = HEADS[size]
    ours = _recorded(head, case) if device.type == "cuda" else lambda: _drawn(head, case)
    return compare(
        f"head of size {size}, {depth} blocks of {width}, {STEPS} steps, guided, {tokens} tokens",
        _waiting(ours, device),
        _waiting(lambda: plain(head, *case), device),
        baseline_name="plain loop",
        note=f"{apart:.1g} of their size apart, {device.type}",
        rounds=ROUNDS,
    )


def _apart(head: DiffusionHead, case: Case) -> float:
    """Largest difference of tokens of the two loops in a few steps, as a share of the largest."""
    few = head.steps
    head.steps = 10
    found, wanted = _drawn(head, case), plain(head, *case)
    head.steps = few
    return float((found - wanted).abs().max() / wanted.abs().max())


def head_of(size: Size, steps: int = STEPS) -> DiffusionHead:
    """A head with random weights everywhere; those of the modulations and the output are zero in
    a fresh one."""
    torch.manual_seed(0)
    depth, width = HEADS[size]
    head = DiffusionHead(
        TRUNKS[size][1], CHANNELS, hidden_channels=width, depth=depth, prediction="eps", steps=steps
    )
    for parameter in head.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return head.requires_grad_(False).eval()


def _case(dim: int, tokens: int, device: torch.device) -> Case:
    hidden, null = torch.randn(2, 1, tokens, dim).to(device)
    seeds = torch.zeros(1, dtype=torch.int64, device=device)
    draws = Draws(seeds, torch.arange(tokens, device=device).unsqueeze(0))
    return Case(hidden, draws, SamplingOptions(null, SCALE, PLAIN))


def _drawn(head: DiffusionHead, case: Case) -> Tensor:
    """Tokens as the head draws them, [1, tokens, channels]."""
    hidden, draws, options = case
    return head.sample(hidden, draws, null=options.null, scale=options.scale)


def _recorded(head: DiffusionHead, case: Case) -> Callable[[], Tensor]:
    """The same, with the loop as a CUDA graph."""
    condition, scale = embedded(head.network, case.hidden, case.options)
    assert scale is not None
    noise = noise_of(case.draws, head.width, head.steps)
    graph = CudaGraph(head.denoise, condition, noise, scale)
    return lambda: graph.replay(condition, noise_of(case.draws, head.width, head.steps), scale)


def _waiting(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """The work, including the wait for the GPU."""

    def done() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return done


@torch.no_grad()
def plain(head: DiffusionHead, hidden: Tensor, draws: Draws, options: SamplingOptions) -> Tensor:
    """Tokens that the head draws, step by step; arguments as of its ``sample``."""
    both = [hidden] if options.null is None else [hidden, options.null]
    rows = torch.cat([one.flatten(0, 1) for one in both])
    condition = head.network.condition_embedding(rows)
    steps = head.steps if options.steps is None else options.steps
    table = torch.stack(ancestral(strided(steps)), dim=1)
    x = draws.normal(Role.NOISE, head.width).to(rows).flatten(0, 1)
    for count, row in enumerate(table.flip(0), start=1):
        at = DiffusionStep(*row.to(rows).unbind())
        copies = torch.cat([x] * len(both))
        out, spread = head.network(copies, at.time.view(1), condition).chunk(2, dim=-1)
        if options.null is not None:
            conditional, null = out.chunk(2)
            out, spread = guided(conditional, null, options.scale), spread[: len(x)]
        x, log_variance = head.back(at, x, out, spread)
        if count < steps:
            noise = draws.normal(Role.NOISE, head.width, first=count * head.width).to(rows)
            x = x + (log_variance / 2).exp() * noise.flatten(0, 1)
    return x.view(*hidden.shape[:2], -1)
