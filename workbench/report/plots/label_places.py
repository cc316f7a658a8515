"""Where names go in a picture so that none lies on another: beside their points, or in a column at the right edge.

Measures text as the PNG will show it. Called by ``workbench.report.plots.candidates``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

# Distances from the point that are tried, in points; a name further away than the second gets a line to its point.
_RADII = (9, 13, 18, 26, 36, 48, 62, 78, 96, 120, 150)
_ANGLES = (0, 180, 90, 270, 30, 330, 150, 210, 60, 120, 240, 300)
_MARGIN = 2.0

Box = tuple[float, float, float, float]


def place_names(axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], bold: Sequence[bool]) -> None:
    """Write every name near its point, inside the axes, on no other name and on no point where that can be had.

    Parameters
    ----------
    axes : Axes
        With its scales and limits as they will be.
    points : sequence of (float, float)
        In data coordinates.
    """
    renderer = FigureCanvasAgg(axes.figure).get_renderer()  # type: ignore[arg-type]
    scale = axes.figure.dpi / 72
    frame = axes.get_window_extent(renderer)
    inside: Box = (frame.x0, frame.y0, frame.x1, frame.y1)
    places = axes.transData.transform(np.array(points, dtype=float))
    taken: list[Box] = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in places]
    # Names of crowded points first: they have the least choice.
    crowd = [float(np.sum(np.hypot(*(places - place).T) < 60 * scale)) for place in places]
    for i in sorted(range(len(names)), key=lambda i: -crowd[i]):
        weight = "bold" if bold[i] else "normal"
        note = axes.annotate(names[i], points[i], fontsize=7.5, fontweight=weight, ha="center", va="center", zorder=5)
        size = note.get_window_extent(renderer)
        offset, box, radius = _best_place(places[i], size.width, size.height, scale, taken, inside)
        taken.append(box)
        note.set_position((offset[0] / scale, offset[1] / scale))
        note.set_anncoords("offset points")
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8})
        if radius > _RADII[1]:
            end = (places[i][0] + offset[0], places[i][1] + offset[1])
            # To the middle of the name, behind its white ground.
            axes.plot(
                *np.transpose([points[i], axes.transData.inverted().transform(end)]),
                color="#8c959f", linewidth=0.5, zorder=1,
            )  # fmt: skip


def spread_out(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near ``values``, in their order, at least ``gap`` apart and within [low, high].

    Where there is no room for that gap, all are put at equal distances.

    >>> spread_out([5.0, 5.1, 9.0], 1.0, 0.0, 10.0)
    [4.55, 5.55, 9.0]
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    if len(values) > 1 and gap * (len(values) - 1) >= high - low:
        even = np.linspace(low, high, len(values)).tolist()
        return [even[order.index(i)] for i in range(len(values))]
    # Blocks of names that touch: each lies about the mean of its values and is merged with a block it runs into.
    blocks: list[list[int]] = []
    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and _start(blocks[-2], values, gap, low, high) + gap * len(blocks[-2]) > _start(
            blocks[-1], values, gap, low, high
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = [0.0] * len(values)
    for block in blocks:
        for k, i in enumerate(block):
            placed[i] = round(_start(block, values, gap, low, high) + gap * k, 9)
    return placed


def _start(block: list[int], values: Sequence[float], gap: float, low: float, high: float) -> float:
    length = gap * (len(block) - 1)
    middle = sum(values[i] for i in block) / len(block)
    return min(max(middle - length / 2, low), high - length)


def _best_place(
    place: np.ndarray, width: float, height: float, scale: float, taken: Sequence[Box], inside: Box
) -> tuple[tuple[float, float], Box, float]:
    """Offset of the text's middle from its point, its box, and its distance: the first free place, or the freest."""
    fewest, found = math.inf, None
    for radius in _RADII:
        for angle in _ANGLES:
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            # The box's near edge, not its middle, is at the radius.
            x = dx * radius * scale + (abs(dx) > 0.3) * math.copysign(width / 2, dx)
            y = dy * radius * scale + (abs(dy) > 0.3) * math.copysign(height / 2, dy)
            middle = place[0] + x, place[1] + y
            box = (middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2)
            overlap = sum(_shared(box, other) for other in taken) + 9 * _outside(box, inside)
            if overlap < fewest:
                fewest, found = overlap, ((x, y), box, float(radius))
            if overlap == 0:
                return (x, y), box, float(radius)
    assert found is not None
    return found


def _shared(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + _MARGIN
    height = min(a[3], b[3]) - max(a[1], b[1]) + _MARGIN
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box, inside: Box) -> float:
    low_x, low_y, high_x, high_y = inside
    return float(
        max(0.0, low_x - box[0]) + max(0.0, box[2] - high_x) + max(0.0, low_y - box[1]) + max(0.0, box[3] - high_y)
    )
