"""Pictures of a few candidates' answers: confusion, reliability, risk against coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from labelwright.statistics.intervals import wilson
from labelwright.statistics.metrics import Floats, Ints
from workbench.compare.board import Bin
from workbench.report.plots.captions import MOST_LABELS
from workbench.report.plots.style import BAD, DASHES, GOOD, GRID, LINES, named, plain
from workbench.report.report import Report

# From so many labels on, cells are small and only what happens more than once is numbered.
_MANY_LABELS = 30
# Before and after calibration: colour and marker.
_VERSIONS = {"before": ("#d55e00", "o"), "after": ("#0072b2", "s")}


def confusion(report: Report, name: str) -> Figure:
    """Right answers in green by the label's share, wrong ones in red by their number, so that a single one is seen.

    A candidate that answers in free text has a column more, for answers that are no label. Of very many labels those
    are shown that are most often mistaken, or answered by mistake.
    """
    labels: Sequence[str] = report.labels
    counts = np.zeros((len(labels), len(report.tables[name].labels)), dtype=np.int64)
    for i, j, n in report.tables[name].confusion:
        counts[i, j] = n
    shown = _most_mistaken(counts)
    some = f", the {len(shown)} most mistaken of {len(labels):,} labels" if len(shown) < len(labels) else ""
    counts = counts[shown][:, [*shown, *range(len(labels), counts.shape[1])]]
    labels = [labels[i] for i in shown]
    n_labels, n_answers = counts.shape
    many = n_labels > _MANY_LABELS
    inch, size = (0.155, 6) if many else (0.34, 8)
    figure = Figure(figsize=(inch * n_answers + 1.6, inch * n_labels + 1.6))
    axes = figure.subplots()
    axes.imshow(_cell_colours(counts), interpolation="none", aspect="equal")
    for i, j in zip(*np.nonzero(counts), strict=True):
        if not many or i == j or counts[i, j] > 1:
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=size - many, color="#1f2328")
    names = [plain(label, 28) for label in labels]
    axes.set_xticks(range(n_answers), [*names, *["no label"] * (n_answers - n_labels)])
    axes.set_yticks(range(n_labels), names)
    axes.set_xticks(np.arange(n_answers + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_labels + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.3)
    axes.tick_params(which="both", length=0, labelsize=size, labelright=many, labeltop=many)
    axes.tick_params(axis="x", rotation=90)
    axes.set(xlabel="answer", ylabel="right label")
    axes.set_title(f"{plain(name)}: right labels (rows) by answer (columns){some}", loc="left")
    return figure


def reliability(report: Report) -> Figure:
    """Accuracy by confidence, before and after calibration, of the candidates that matter most."""
    shown = report.confidence
    figure = Figure(figsize=(max(4.5, 3.4 * len(shown)), 3.9))
    grid = figure.subplots(1, len(shown), squeeze=False, sharey=True)
    for axes, (name, found) in zip(grid[0], shown.items(), strict=True):
        entry = report.entry(name)
        axes.plot([0, 1], [0, 1], color="#818b98", linewidth=0.8)
        errors = []
        for said, bins, metrics in (("before", found.before, entry.raw), ("after", found.after, entry.test)):
            if bins:
                _bins(axes, bins, *_VERSIONS[said])
                errors.append(f"{100 * metrics['ece'].value:.1f} % {said}")
        axes.set(xlabel="mean confidence", xlim=(0, 1.05), ylim=(0, 1.05))
        axes.set_title(f"{named(report, name)}\nECE {', '.join(errors)}", loc="left", fontsize=8.5)
        axes.grid()
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=0.8, label=f"{said} calibration")
        for said, (colour, marker) in _VERSIONS.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    grid[0][0].set_ylabel("accuracy, with 95 % interval")
    figure.set_layout_engine("constrained")
    return figure


def risk(report: Report) -> Figure:
    """Errors among the rows answered if only the most confident ones are."""
    figure = Figure(figsize=(7.2, 4))
    axes = figure.subplots()
    for number, (name, found) in enumerate(report.confidence.items()):
        axes.plot(
            *(100 * np.transpose(found.risk)), label=named(report, name), color=LINES[number],
            linestyle=DASHES[number], drawstyle="steps-pre",
        )  # fmt: skip
    axes.set(xlabel="rows answered, most confident first, %", ylabel="wrong among them, %", xlim=(0, 101))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")
    axes.grid()
    figure.set_layout_engine("constrained")
    return figure


def bound(report: Report) -> Figure:
    """Errors of the candidate that ships by rows answered: on test, and what calib rows exclude."""
    name = report.verdict.ship
    told, found = report.entry(name).promised, report.confidence[name]
    assert told is not None
    figure = Figure(figsize=(7.2, 4))
    axes = figure.subplots()
    coverage, risk = 100 * np.transpose(found.risk)
    axes.plot(coverage, risk, color=LINES[0], drawstyle="steps-pre", label=f"{plain(name)} on test rows")
    axes.plot(
        *(100 * np.transpose(told.bound)), color=LINES[1], linestyle=DASHES[1],
        label=f"with {100 * told.confidence:g} % confidence it is below this (each point by itself)",
    )  # fmt: skip
    axes.axhline(100 * told.max_error, color="#818b98", linewidth=0.8)
    if told.answered is not None:
        axes.axvline(100 * told.answered.value, color=GOOD, linewidth=1.2, label="answered under the promise")
    axes.set(xlabel="rows answered, most confident first, %", ylabel="wrong among them, %", xlim=(0, 101))
    axes.set_ylim(0, min(100, 1.25 * max(risk.max(), 100 * told.max_error)))
    axes.legend(loc="upper left")
    axes.grid()
    figure.set_layout_engine("constrained")
    return figure


def _most_mistaken(counts: Ints) -> list[int]:
    """Positions of at most ``MOST_LABELS`` labels in their order: those of most mistakes as label or as answer."""
    n_labels = len(counts)
    mistakes = counts.sum(axis=1) + counts.sum(axis=0)[:n_labels] - 2 * np.diagonal(counts)
    return sorted(np.argsort(-mistakes, kind="stable")[:MOST_LABELS].tolist())


def _cell_colours(counts: Ints) -> NDArray[np.float64]:
    colours = np.ones((*counts.shape, 3))
    diagonal = np.arange(len(counts))
    share = counts[diagonal, diagonal] / np.maximum(counts.sum(axis=1), 1)
    colours[diagonal, diagonal] = _tinted(GOOD, np.where(share > 0, 0.15 + 0.45 * share, 0))
    wrong = counts.copy()
    wrong[diagonal, diagonal] = 0
    rows, columns = np.nonzero(wrong)
    # A single mistake stays pale where it is also the most frequent one.
    colours[rows, columns] = _tinted(BAD, 0.35 + 0.4 * wrong[rows, columns] / max(5, wrong.max()))
    return colours


def _tinted(colour: str, strength: Floats) -> Floats:
    """From white (0) to the colour (1)."""
    return 1 - strength[:, None] * (1 - np.array(to_rgb(colour)))


def _bins(axes: Axes, bins: Sequence[Bin], colour: str, marker: str) -> None:
    """A mark a bin, its area by the bin's rows: a bin of two rows is nearly nothing, and says so by its interval."""
    x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
    ends = [wilson(one.accuracy, one.n_rows) for one in bins]
    reach = [[end.value - end.low for end in ends], [end.high - end.value for end in ends]]
    axes.errorbar(x, y, yerr=reach, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.45)
    axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.5)
    n_rows = sum(one.n_rows for one in bins)
    sizes = [9 + 160 * one.n_rows / n_rows for one in bins]
    axes.scatter(x, y, s=sizes, color=colour, marker=marker, alpha=0.75, linewidths=0)
