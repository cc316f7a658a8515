"""The report's pictures: what the candidates reach, what they cost, how they learn, and where they are wrong.

Made once as figures, then written as PNG (report.md, the tracking store) or as SVG (the page). Nothing is computed here
that the leaderboard should know.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

from labelwright.files import replacing

matplotlib.use("Agg")

import numpy as np
from matplotlib.figure import Figure

from workbench.report.plots import answers, candidates, cascade, money
from workbench.report.plots.captions import pictures
from workbench.report.plots.style import DASHES, LINES, STYLE, plain
from workbench.report.report import Report


def figures(report: Report) -> dict[str, Figure]:
    """Every picture of a report by name, in its order: those of ``workbench.report.plots.captions.pictures``."""
    with _styled():
        return {name: _DRAWN[name](report) for name in pictures(report)}


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


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A script that the font lacks: boxes in a PNG, and in the page what the reader's own fonts have.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _stage_curves(report: Report, at_most_across: int = 3) -> Figure:
    curves = report.curves
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


_DRAWN: Mapping[str, Callable[[Report], Figure]] = {
    "accuracy": candidates.accuracy,
    "cost": candidates.cost,
    "money": money.money,
    "cascade": cascade.cascade,
    "learning-curve": candidates.learning_curve,
    "confusion-shipped": lambda report: answers.confusion(report, report.verdict.ship),
    "confusion": lambda report: answers.confusion(report, report.verdict.best),
    "reliability": answers.reliability,
    "risk-bound": answers.bound,
    "risk-coverage": answers.risk,
    "curves": _stage_curves,
}
