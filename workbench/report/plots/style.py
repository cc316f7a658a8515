"""What the report's pictures have in common: colours, markers, names, and the scale of accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from workbench.compare.board import Entry, Leaderboard

# Told apart by colour and by marker: colour, marker, what it is.
KINDS = {
    "baseline": ("#59636e", "o", "no language model"),
    "llm": ("#0969da", "s", "language model"),
    "free": ("#bf3989", "^", "language model in free text"),
    "together": ("#8250df", "D", "several together"),
    "distilled": ("#bc4c00", "v", "taught by a teacher"),
    "synthetic": ("#1b7c83", "P", "with rows that a model wrote"),
    "searched": ("#9a6700", "X", "with settings found on dev"),
}
GOOD, BAD, GRID, MUTED = "#1a7f37", "#d1242f", "#d1d9e0", "#59636e"
# Okabe and Ito 2008, told apart by the colour-blind; without yellow, which is too light for a line.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7a5195")
DASHES = ("-", "--", ":", "-.")
# Names and labels are plain text: a "$" in one does not begin a formula.
STYLE: Any = {
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#818b98",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "labelwright",
}
# Above this the accuracies' axis widens towards 100 %, where good candidates crowd.
_CROWDED = 80.0
_WIDEST = 4.0


def plain(text: str, longest: int = 32) -> str:
    """A name fit for a picture: on one line, without unprintable characters, not too long.

    >>> plain("a\\tb", 32), plain("abcdef", 4)
    ('a b', 'abc…')
    """
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def named(board: Leaderboard, name: str) -> str:
    """A candidate's name with its roles behind it."""
    found = board.roles(name)
    return f"{plain(name)} ({', '.join(found)})" if found else plain(name)


def legend_of_kinds(entries: Sequence[Entry]) -> list[Line2D]:
    """Legend entries for the kinds of candidate that are there."""
    there = {entry.kind for entry in entries}
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=said)
        for kind, (colour, marker, said) in KINDS.items()
        if kind in there
    ]


def scale_accuracy(axes: Axes, values: Sequence[float], along: str) -> str:
    """Limits for percentages along "x" or "y"; where some are high, a scale that widens towards 100 %.

    Returns what to say of it behind the axis' name.
    """
    axis = axes.xaxis if along == "x" else axes.yaxis
    set_limits = axes.set_xlim if along == "x" else axes.set_ylim
    set_scale = axes.set_xscale if along == "x" else axes.set_yscale
    low, high = min(values), max(values)
    if high > _CROWDED and high - low > 15:
        set_scale("function", functions=(_widen, _narrow))
        ends = _widen(np.array([low, high]))
        margin = 0.04 * (ends[1] - ends[0])
        set_limits(float(_narrow(ends[0] - margin)), float(min(_narrow(ends[1] + margin), 100 + 0.4 * _WIDEST)))
        axis.set_major_locator(FixedLocator([0, 20, 40, 60, 70, 80, 85, 90, 94, 96, 98, 100]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return " (the scale widens towards 100)"
    margin = max(1.0, 0.05 * (high - low))
    set_limits(low - margin, min(high + margin, 100 + margin / 2))
    return ""


def _widen(percent: Any) -> Any:
    """Minus the logarithm of the errors, with an offset so that 100 % has a place."""
    return -np.log(np.maximum(100 + _WIDEST - np.asarray(percent, dtype=float), 1e-9))


def _narrow(place: Any) -> Any:
    return 100 + _WIDEST - np.exp(-np.asarray(place, dtype=float))
