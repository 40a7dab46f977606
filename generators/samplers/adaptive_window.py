"""How many drafts a round has: what past rounds say is fastest."""

from collections import deque
from collections.abc import Sequence

from torch import Tensor

WIDTHS = (0, 2, 4, 8, 16)
REMEMBERED = 8  # times of a width, of which the shortest counts: others only add to it
DECAY = 0.95
GAIN = 1.03  # by which drafts have to be faster than none
PROBE = 40  # rounds until a width next to the best is tried again


class AdaptiveWindow:
    """A window that grows, shrinks and goes to 0 by what the rounds so far took and kept.

    The width maximises (1 + sum of s_i for i up to it) / time, where s_i is the share of the rounds
    that kept at least i drafts. The choice for a round rests on earlier rounds alone, so that exact
    rules stay exact; it depends on clocks, so that of the rules only those that are ``pathwise``
    give the same tokens again.

    Args:
        widths: to choose from, in order, 0 first.

    Raises:
        ValueError: they are not.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        if len(widths) < 2 or widths[0] != 0 or sorted(set(widths)) != list(widths):
            raise ValueError(f"widths are different numbers of drafts, 0 first, got {widths}")
        self.widths = tuple(widths)
        # as if each round so far had kept a draft with probability 1/2
        self._kept = [0.5**number for number in range(widths[-1] + 1)]
        self._rounds = [1.0] * len(self._kept)
        self._times: dict[tuple[int, int], deque[float]] = {}
        self._number = 0

    def choose(self, batch: int) -> int:
        """The width of the next round.

        Args:
            batch: items.
        """
        first = [width for width in self.widths[:2] if (batch, width) not in self._times]
        if first:  # two times, of none and a few drafts, make a line
            return first[0]
        self._number += 1
        tokens, best, speed = 1.0, 0, 0.0
        for width in range(self.widths[-1] + 1):
            tokens += self._kept[width] / self._rounds[width] if width else 0.0
            if width in self.widths:
                found = tokens / self._time(batch, width)
                if found > speed * (GAIN if best == 0 and width else 1):
                    best, speed = width, found
        if self._number % PROBE == 0:  # in turn the next smaller and the next larger one
            place = self.widths.index(best) + (1 if self._number % (2 * PROBE) else -1)
            return self.widths[min(abs(place), len(self.widths) - 1)]
        return best

    def observe(self, batch: int, width: int, accepted: Tensor, seconds: float) -> None:
        """Learn from a round.

        Args:
            batch: items.
            width: that it had.
            accepted: int64 [items], drafts that were kept, of the items that were not complete.
            seconds: that it took.
        """
        times = self._times.setdefault((batch, width), deque(maxlen=REMEMBERED))
        times.append(max(seconds, 1e-9))
        runs = accepted.tolist()
        for number in range(1, width + 1) if runs else ():
            share = sum(run >= number for run in runs) / len(runs)
            self._kept[number] = DECAY * self._kept[number] + share
            self._rounds[number] = DECAY * self._rounds[number] + 1

    def _time(self, batch: int, width: int) -> float:
        """Seconds of a round, by a line through the nearest widths if it has had none."""
        if (batch, width) in self._times:
            return min(self._times[batch, width])
        known = [one for one in self.widths if (batch, one) in self._times]
        low, high = sorted(known, key=lambda one: abs(one - width))[:2]
        (low, start), (high, stop) = sorted(
            (one, min(self._times[batch, one])) for one in (low, high)
        )
        slope = max(0.0, stop - start) / (high - low)
        return max(start + slope * (width - low), start)
