"""Systems that code items, measured in the same way on the same items."""

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized

from tqdm import tqdm

from intaglio.recipes.evaluation.items import Item, ItemSet
from intaglio.recipes.evaluation.rows import Output, Row, SystemResult
from intaglio.recipes.evaluation.scores import Metric


class System:
    """Base of what is compared: a codec under test, a classic codec, or the originals.

    Attributes:
        name: of its row.
        is_ours: it is under test.
        is_original: it gives back the items; metrics that compare with them are left out.
    """

    name: str
    is_ours: bool = False
    is_original: bool = False

    def absence(self) -> str:
        """What is missing and how to install it; "" if nothing is."""
        return ""

    def code(self, items: Sequence[Item]) -> Output:
        """Encode and decode all items."""
        raise NotImplementedError


def evaluate(
    systems: Iterable[System],
    items: Sequence[Item],
    *,
    metrics: Sequence[Metric],
    seed: int = 0,
    progress: bool = False,
) -> Iterator[SystemResult]:
    """Code every item with every system and measure all of them.

    Args:
        systems: what to compare.
        items: what to code.
        metrics: what to measure.
        seed: of the bootstrap intervals.
        progress: show a bar on standard error, if that is a terminal.

    Yields:
        The result of each system, in their order.

    Raises:
        ValueError: there are no items.
    """
    if not items:
        raise ValueError("there are no items to evaluate on")
    originals = ItemSet(items)
    total = len(systems) * (len(metrics) + 1) if isinstance(systems, Sized) else None
    with tqdm(total=total, unit="step", disable=None if progress else True) as bar:
        for system in systems:
            _say(bar, f"{system.name}: coding", shown=progress)
            if reason := system.absence():
                bar.update(1 + len(metrics))
                yield SystemResult(Row(system.name, None, {}, 0, reason), None)
                continue
            output = system.code(items)
            bar.update()
            decoded = originals.decoded(output.decoded)
            scores = {}
            for metric in metrics:
                if not (system.is_original and metric.intrusive):
                    _say(bar, f"{system.name}: {metric.label}", shown=progress)
                    scores[metric.name] = metric.score(originals, decoded, seed)
                bar.update()
            row = Row(system.name, output.bits, scores, len(items), is_ours=system.is_ours)
            yield SystemResult(row._replace(facts=output.facts), output)


def _say(bar: tqdm, text: str, *, shown: bool) -> None:
    """What is done now: in the bar, or as a line where standard error is no terminal."""
    if shown and bar.disable:
        print(text, file=sys.stderr, flush=True)
    bar.set_description(text)
