"""Names of points cover neither points nor one another, and stay inside the axes."""

from itertools import combinations

import pytest

from intaglio.recipes.evaluation.figures.labels import Box, Labelled, place_labels

pyplot = pytest.importorskip("matplotlib.pyplot", reason="pip install 'intaglio[demo]'")

CROWDED = [(1.0, 1.0), (1.0, 1.02), (1.05, 1.0), (1.3, 0.98), (2.0, 1.0), (2.0, 1.05)]


def test_crowded_points_are_told_apart():
    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axis.set(xlim=(0.5, 2.2), ylim=(0.8, 1.2))
    points = [
        Labelled(f"system {number}", x, y, y - 0.01, y + 0.01, 4.0, "black")
        for number, (x, y) in enumerate(CROWDED)
    ]
    boxes = place_labels(axis, points)
    frame = Box(*axis.get_window_extent().extents)
    pyplot.close(figure)
    radius = 4.0 * figure.dpi / 72
    markers = [
        Box(x - radius, y - radius, x + radius, y + radius)
        for x, y in axis.transData.transform(CROWDED)
    ]
    for one, other in combinations([*boxes, *markers[:2], *markers[3:]], 2):
        if one in boxes or other in boxes:
            assert one.shared(other) == 0
    for box in boxes:
        assert box.left >= frame.left and box.right <= frame.right
        assert box.bottom >= frame.bottom and box.top <= frame.top
