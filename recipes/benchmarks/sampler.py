"""Speculative sampling compared with plain sampling: the generator `emoji`, by seed and caption."""

from intaglio.generators import Generator, load
from intaglio.generators.conditioning.guidance import Guidance
from intaglio.generators.conditioning.text import TextCondition
from intaglio.generators.samplers.acceptance.base import AcceptanceRule
from intaglio.generators.samplers.acceptance.exact import GumbelMatch, ModifiedRejection
from intaglio.generators.samplers.drafters.jacobi import JacobiDrafter
from intaglio.generators.samplers.sampler import Sampler
from intaglio.generators.samplers.speculative import SpeculativeSampler
from intaglio.recipes.benchmarks.timing import Timing, compare

CAPTIONS = (
    "red heart",
    "woman police officer, dark skin tone",
    "grinning face",
    "raised hand, dark skin tone",
)
GUIDANCE = Guidance(3.0, "linear")
BATCHES = (1, 4)
WINDOWS = (0, 4, 8, 16, None)  # None: as many as pay
ROUNDS = 5
METHODS: tuple[tuple[JacobiDrafter, AcceptanceRule], ...] = (
    (JacobiDrafter("gumbel"), GumbelMatch()),
    (JacobiDrafter("maximal"), ModifiedRejection()),
)


def run() -> list[Timing]:
    """Each rule with each window.

    Raises:
        RuntimeError: a rule that draws the tokens of plain sampling draws others.
    """
    generator = load("emoji").eval()
    return [
        _compared(generator, batch, window, drafter, rule)
        for batch in BATCHES
        for drafter, rule in METHODS
        for window in WINDOWS
        if window is not None or rule.pathwise
    ]


def _compared(
    generator: Generator,
    batch: int,
    window: int | None,
    drafter: JacobiDrafter,
    rule: AcceptanceRule,
) -> Timing:
    assert isinstance(generator.condition, TextCondition)
    condition = generator.condition.of_texts(list(CAPTIONS[:batch]))
    plain = Sampler(guidance=GUIDANCE)
    sampler = SpeculativeSampler(drafter=drafter, rule=rule, window=window, guidance=GUIDANCE)
    tokens = sampler.generate(generator, condition)
    if isinstance(rule, GumbelMatch):
        same = (tokens == plain.generate(generator, condition)).all(1).float().mean().item()
        if same < 0.5:  # rounding may change an id, and with it all later ones
            raise RuntimeError(f"only {same:.1%} of the items are those of plain sampling")
    found = sampler.statistics
    return compare(
        f"{type(rule).__name__}, window {'auto' if window is None else window}, batch {batch}",
        lambda: sampler.generate(generator, condition),
        lambda: plain.generate(generator, condition),
        baseline_name="one token in a pass",
        note=f"{found.tokens_per_pass:.2f} tokens a pass, {found.passes} passes",
        rounds=ROUNDS,
    )
