"""How many drafts a round has: what past rounds say is fastest."""

from collections import deque
from collections.abc import Sequence
from statistics import median_low

from torch import Tensor

WIDTHS = (0, 8, 16)  # Jacobi drafts get better in wide windows: in narrow ones few are kept
BELIEVED = 4.0  # rounds that what is assumed at first counts for
REMEMBERED = 8  # times of a width, of which the median counts
DECAY = 0.95
HOPELESS = 5.0  # times that a round without drafts takes
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
        # as if each of some rounds had kept a draft with probability 1/2
        self._kept = [BELIEVED * 0.5**number for number in range(widths[-1] + 1)]
        self._rounds = [BELIEVED] * len(self._kept)
        self._times: dict[tuple[int, int], deque[float]] = {}
        self._number = self._probed = self._probes = 0

    def choose(self, batch: int) -> int:
        """The width of the next round.

        Args:
            batch: items.
        """
        unknown = self._unknown(batch)
        if unknown is not None:
            return unknown
        self._number += 1
        fixed, each = self._line(batch)
        tokens, best, speed = 1.0, 0, 0.0
        for width in range(self.widths[-1] + 1):
            tokens += self._kept[width] / self._rounds[width] if width else 0.0
            if width in self.widths:
                found = tokens / (fixed + each * width)
                if found > speed * (GAIN if best == 0 and width else 1):
                    best, speed = width, found
        # in turn the next larger and the next smaller one, the more rarely the longer it takes
        place = abs(self.widths.index(best) + (-1 if self._probes % 2 else 1))
        other = self.widths[min(place, len(self.widths) - 1)]
        longer = max(1.0, (fixed + each * other) / (fixed + each * best))
        if self._number < self._probed + PROBE * longer:
            return best
        self._probed, self._probes = self._number, self._probes + 1
        return other

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

    def _unknown(self, batch: int) -> int | None:
        """A width that has to be measured first: none and many drafts, which make a line, twice,
        since a machine may be busy; many once, if they take so long that they cannot pay."""
        many = max(self.widths[1], self.widths[-2])
        times = [self._times.get((batch, width), ()) for width in (0, many)]
        if not times[0] or not times[1]:
            return many if times[0] else 0
        if len(times[1]) == 1 and times[1][0] < HOPELESS * min(times[0]):
            return many
        return 0 if len(times[0]) == 1 else None

    def _line(self, batch: int) -> tuple[float, float]:
        """Seconds of a round by its width: those without drafts, and what each adds.

        All rounds make one line: of few that each width has had, some met a busy machine.
        """
        points = [
            (width, median_low(times), len(times))
            for (size, width), times in self._times.items()
            if size == batch
        ]
        total = sum(count for *_, count in points)
        center = sum(count * width for width, _, count in points) / total
        usual = sum(count * time for _, time, count in points) / total
        spread = sum(count * (width - center) ** 2 for width, _, count in points)
        slope = sum(count * (width - center) * (time - usual) for width, time, count in points)
        slope = max(0.0, slope / spread)
        least = min(time for _, time, _ in points) / 2
        return max(least, usual - slope * center), slope
