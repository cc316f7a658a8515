"""The report's pictures: what the candidates reach, what they cost, how they learn, and where they are wrong.

Made once as figures, then written as PNG (report.md, the tracking store) or as SVG (the page). Nothing is computed here
that the leaderboard should know.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

from labelwright.files import replacing

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure

from workbench.compare.board import Leaderboard
from workbench.report.plots import answers as plots_of_answers
from workbench.report.plots import candidates as plots_of_candidates
from workbench.report.plots.style import DASHES, LINES, STYLE, plain

Curves = Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]


def figures(board: Leaderboard, labels: Sequence[str], curves: Curves) -> dict[str, Figure]:
    """Every picture of the comparison by name, in the report's order.

    Parameters
    ----------
    labels : sequence of str
        In the order of the probabilities' columns.
    curves : mapping of step folder to metric name to (step, value) pairs
        The curves worth showing, as ``chosen_curves`` picks them.

    Returns
    -------
    dict
        accuracy, cost, learning-curve, confusion (the best candidate), confusion-shipped (where another one is
        shipped), reliability, risk-coverage, curves; those without anything to show are absent.
    """
    best, shipped = board.verdict.best, board.verdict.ship
    other = shipped if shipped != best else ""
    with _styled():
        drawn = {
            "accuracy": plots_of_candidates.accuracy(board),
            "cost": plots_of_candidates.cost(board),
            "learning-curve": plots_of_candidates.learning_curve(board, len(labels)),
            "confusion": plots_of_answers.confusion(board.line(best), board.gold, labels),
            "confusion-shipped": plots_of_answers.confusion(board.line(other), board.gold, labels) if other else None,
            "reliability": plots_of_answers.reliability_before_and_after(board),
            "risk-coverage": plots_of_answers.risk(board),
            "curves": _stage_curves(curves) if curves else None,
        }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def draw(board: Leaderboard, labels: Sequence[str], curves: Curves, folder: Path) -> list[Path]:
    """Make every picture and write it as PNG under ``folder``; returns the paths."""
    return save(figures(board, labels, curves), folder)


def save(drawn: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures as ``folder``/NAME.png, each renamed into place; pictures of an earlier comparison go."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        with replacing(path) as part, _styled():
            figure.savefig(part, dpi=120, bbox_inches="tight")
        paths.append(path)
    for old in folder.glob("*.png"):
        if old not in paths:
            old.unlink()
    return paths


def svg(figure: Figure, name: str) -> str:
    """A figure as an ``<svg>`` element for a page: no header or metadata, text as text, ids beginning with ``name``."""
    written = io.StringIO()
    with _styled():
        nothing: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(written, format="svg", bbox_inches="tight", metadata=nothing)
    text = written.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    # A page holds several: ids are told apart. They are referred to in these ways only.
    text = re.sub(r'(\bid="|\burl\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace("'DejaVu Sans'", "system-ui, sans-serif")


def chosen_curves(curves: Mapping[str, Mapping[str, Any]], at_most: int = 3) -> dict[str, dict[str, Any]]:
    """Of each step's metrics the few that say whether it learns: dev scores and rewards."""
    words = ("dev_accuracy", "reward", "accuracy", "dev")

    def order(name: str) -> tuple[int, str]:
        return next(i for i, word in enumerate(words) if word in name), name

    chosen = {}
    for step, metrics in curves.items():
        usable = sorted(
            (name for name, points in metrics.items() if len(points) > 1 and any(w in name for w in words)), key=order
        )
        if usable:
            chosen[step] = {name: metrics[name] for name in usable[:at_most]}
    return chosen


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A script that the font lacks: boxes in a PNG, and in the page what the reader's own fonts have.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _stage_curves(curves: Curves, at_most_across: int = 3) -> Figure:
    across = min(at_most_across, len(curves))
    down = -(-len(curves) // across)
    figure = Figure(figsize=(max(4.2, 3.3 * across), 2.7 * down))
    grid = figure.subplots(down, across, squeeze=False)
    for axes, (folder, metrics) in zip(grid.flat, curves.items(), strict=False):
        for number, (name, points) in enumerate(metrics.items()):
            axes.plot(*np.transpose(points), label=plain(name), color=LINES[number], linestyle=DASHES[number])
        axes.set_title(plain(folder), loc="left", fontsize=9)
        axes.set_xlabel("step")
        axes.legend(fontsize=7)
        axes.grid()
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    figure.set_layout_engine("constrained")
    return figure
