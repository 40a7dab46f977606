"""Names next to the points of a figure, where they cover neither points nor each other."""

from collections.abc import Sequence
from typing import Any, NamedTuple

DIRECTIONS = ((1, 0), (1, 0.8), (1, -0.8), (-1, 0), (-1, 0.8), (-1, -0.8), (0, 1), (0, -1))
DISTANCES = (1.0, 1.8, 2.8, 4.0)  # in radii of the point
OUTSIDE = 4.0  # weight of an area outside of the axes, of one over something else 1


class Labelled(NamedTuple):
    """A point with its name.

    Attributes:
        text: the name.
        x: in units of the data.
        y: likewise.
        low: end of the interval at the bottom, `y` without one.
        high: at the top.
        radius: of the marker, in points of 1/72 inch.
        colour: of the name.
        bold: its weight.
    """

    text: str
    x: float
    y: float
    low: float
    high: float
    radius: float
    colour: str
    bold: bool = False


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: "Box") -> float:
        """Area that two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


def place_labels(axis: Any, points: Sequence[Labelled], others: Sequence[Any] = ()) -> list[Box]:
    """Write the names, each where it covers least; gives where they are.

    To be called when everything else is drawn and the limits of the axes are final.

    Args:
        axis: of the figure.
        points: what to name.
        others: texts that are there already.
    """
    figure = axis.figure
    figure.draw_without_rendering()  # the layout, which decides where points are in pixels
    pixel = figure.dpi / 72
    inside = Box(*axis.get_window_extent().extents)
    taken = [box for point in points for box in _covered(axis, point, pixel)]
    taken += [Box(*text.get_window_extent().extents) for text in others]
    placed = []
    for point in points:
        text = _name(axis, point, (0, 0))
        at = Box(*text.get_window_extent().extents)
        text.remove()
        offsets = list(_offsets(point, at, pixel))
        boxes = [_moved(at, dx * pixel, dy * pixel) for dx, dy in offsets]
        costs = [
            sum(box.shared(other) for other in taken) + OUTSIDE * (_area(box) - box.shared(inside))
            for box in boxes
        ]
        best = costs.index(min(costs))
        _name(axis, point, offsets[best], is_far=best >= len(DIRECTIONS))
        taken.append(boxes[best])
        placed.append(boxes[best])
    return placed


def _name(axis: Any, point: Labelled, offset: tuple[float, float], *, is_far: bool = False) -> Any:
    """Write a name; one that is far from its point with a line to it."""
    from matplotlib.patheffects import withStroke

    line = {"arrowstyle": "-", "color": point.colour, "linewidth": 0.7, "shrinkB": point.radius}
    return axis.annotate(
        point.text,
        (point.x, point.y),
        xytext=offset,
        textcoords="offset points",
        color=point.colour,
        fontsize=9,
        fontweight="bold" if point.bold else "normal",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        arrowprops=line if is_far else None,
        zorder=5,
    )


def _offsets(point: Labelled, box: Box, pixel: float) -> list[tuple[float, float]]:
    """From the point to the lower left corner of its name, in points, the nearest first."""
    width, height = (box.right - box.left) / pixel, (box.top - box.bottom) / pixel
    found = []
    for distance in DISTANCES:
        for right, up in DIRECTIONS:
            reach = distance * (point.radius + 2)
            x = right * reach - (0 if right > 0 else width if right < 0 else width / 2)
            y = up * reach - (0 if up > 0 else height if up < 0 else height / 2)
            found.append((x, y))
    return found


def _covered(axis: Any, point: Labelled, pixel: float) -> list[Box]:
    """The marker and its interval."""
    (x, y), (_, low), (_, high) = axis.transData.transform(
        [(point.x, point.y), (point.x, point.low), (point.x, point.high)]
    )
    radius = point.radius * pixel
    marker = Box(x - radius, y - radius, x + radius, y + radius)
    return [marker, Box(x - 4 * pixel, low, x + 4 * pixel, high)]


def _moved(box: Box, dx: float, dy: float) -> Box:
    return Box(box.left + dx, box.bottom + dy, box.right + dx, box.top + dy)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.top - box.bottom)
