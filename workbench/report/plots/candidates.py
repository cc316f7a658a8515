"""Pictures in which every candidate is a mark or a line: accuracy with intervals, cost, learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from workbench.compare.board import Leaderboard, Line
from workbench.recipe.label_places import place_names, spread_out
from workbench.recipe.recipe import read_pipeline
from workbench.report.plots.style import (
    DASHES,
    GOOD,
    KINDS,
    LINES,
    MUTED,
    legend_of_kinds,
    named,
    plain,
    roles,
    scale_accuracy,
)
from workbench.report.plots.style import scored as scored_lines

# Up to so many learning curves have their seeds' spread as a band; more would hide each other.
_FEW_LINES = 6


def accuracy(board: Leaderboard) -> Figure:
    """Every candidate's accuracy with its interval, in the comparison's order; the best one's interval shaded."""
    lines = scored_lines(board)
    figure = Figure(figsize=(8.6, 1.1 + 0.235 * len(lines)))
    axes = figure.subplots()
    said = scale_accuracy(axes, [100 * one for line in lines for one in line.test["accuracy"]], "x")
    best = 100 * np.array(board.line(board.verdict.best).test["accuracy"])
    axes.axvspan(best[1], best[2], color=GOOD, alpha=0.13, linewidth=0)
    axes.axvline(best[0], color=GOOD, linewidth=0.8)
    for y, line in enumerate(lines):
        value, low, high = (100 * one for one in line.test["accuracy"])
        colour, marker, _ = KINDS[line.candidate.kind]
        axes.errorbar(
            value, y, xerr=[[value - low], [high - value]], fmt=marker, color=colour, markersize=4.5, capsize=2.5,
            elinewidth=1.3,
        )  # fmt: skip
        axes.annotate(
            f"{value:.1f}  [{low:.1f}, {high:.1f}]", (1.01, y), xycoords=("axes fraction", "data"), va="center",
            fontsize=7.5, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(lines)), [named(board, line.candidate.name) for line in lines])
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_color(KINDS[line.candidate.kind][0])
        tick.set_fontweight("bold" if {"best", "to ship"} & set(roles(board, line.candidate.name)) else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"test accuracy, %, with 95 % interval; the best candidate's is shaded{said}")
    axes.grid(axis="x")
    figure.legend(handles=legend_of_kinds(lines), loc="outside upper left", ncols=3)
    figure.set_layout_engine("constrained")
    return figure


def cost(board: Leaderboard) -> Figure | None:
    """Accuracy against milliseconds a row, with the frontier; None if no candidate was timed."""
    lines = [line for line in scored_lines(board) if (line.candidate.cost.get("ms_p50") or 0) > 0]
    if not lines:
        return None
    points = [(float(line.candidate.cost["ms_p50"] or 0), 100 * line.test["accuracy"].value) for line in lines]
    figure = Figure(figsize=(8.6, 5.8))
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlim(min(x for x, _ in points) / 2.2, max(x for x, _ in points) * 2.8)
    said = scale_accuracy(axes, [y for _, y in points], "y")
    on_frontier = [line for name in board.frontier for line in lines if line.candidate.name == name]
    if len(on_frontier) > 1:
        steps = [points[lines.index(line)] for line in on_frontier]
        axes.step(*np.transpose(steps), where="post", color=GOOD, linewidth=1.4, alpha=0.6, zorder=2)
    for (x, y), line in zip(points, lines, strict=True):
        colour, marker, _ = KINDS[line.candidate.kind]
        inside = colour if line in on_frontier else "white"
        axes.plot(x, y, marker, color=colour, markersize=6, markerfacecolor=inside, zorder=3)
    axes.set(xlabel="milliseconds a row, one row at a time (median)", ylabel=f"test accuracy, %{said}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()
    frontier = Line2D([], [], color=GOOD, linewidth=1.4, label="frontier (filled): nothing faster is as good")
    figure.legend(handles=[*legend_of_kinds(lines), frontier], loc="outside upper left", ncols=2)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    # The places of names hold for this layout.
    figure.set_layout_engine("none")
    names = [named(board, line.candidate.name) for line in lines]
    place_names(
        axes, points, names, [name != plain(line.candidate.name) for name, line in zip(names, lines, strict=True)]
    )
    return figure


def learning_curve(board: Leaderboard, n_labels: int) -> Figure | None:
    """Accuracy against training rows a label, before calibration; None if no candidate was shown part of the rows."""
    lines = [line for line in scored_lines(board) if any(point.per_label > 0 for point in line.candidate.curve)]
    if not lines:
        return None
    points = [point for line in lines for point in line.candidate.curve]
    parts = sorted({point.per_label for point in points if point.per_label > 0})
    whole = [point.n_rows / n_labels for point in points if point.per_label == 0]
    # "All" lies where its rows a label lie, if that is clearly to the right of the largest part.
    at_all = max([1.4 * parts[-1], *whole])
    figure = Figure(figsize=(8.6, 5.8))
    axes = figure.subplots()
    axes.set_xscale("log")
    ends, seen = [], []
    for number, line in enumerate(lines):
        colour, dashes = LINES[number % len(LINES)], DASHES[number // len(LINES) % len(DASHES)]
        by_x: dict[float, list[float]] = {}
        for point in line.candidate.curve:
            by_x.setdefault(point.per_label or at_all, []).append(100 * point.accuracy)
        x = sorted(by_x)
        mean = [float(np.mean(by_x[one])) for one in x]
        marker = KINDS[line.candidate.kind][1]
        axes.plot(x, mean, color=colour, linestyle=dashes, marker=marker, markersize=3.5, linewidth=1.3)
        band = [min(by_x[one]) for one in x], [max(by_x[one]) for one in x]
        if len(lines) <= _FEW_LINES:
            axes.fill_between(x, *band, color=colour, alpha=0.12, linewidth=0)
        else:
            axes.vlines(x, *band, color=colour, alpha=0.45, linewidth=0.8)
        ends.append((mean[-1], named(board, line.candidate.name), colour))
        seen += [*band[0], *band[1]]
    for line in (line for line in _taught_nothing(board) if line not in lines):
        value = 100 * line.raw.get("accuracy", line.test["accuracy"]).value
        axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        ends.append((value, f"{named(board, line.candidate.name)}, zero-shot", MUTED))
        seen.append(value)
    said = scale_accuracy(axes, seen, "y")
    ticks = {float(part): str(part) for part in parts} | ({at_all: "all"} if whole else {})
    axes.set_xlim(min(ticks) / 1.15, max(ticks) * 1.06)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="training rows a label, at most", ylabel=f"test accuracy before calibration, %{said}")
    axes.grid()
    figure.subplots_adjust(right=0.72)
    _name_ends(axes, ends)
    return figure


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Names in a column at the right edge, each with a line to where its curve ends."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    heights = [float(to_fraction.transform((axes.get_xlim()[1], value))[1]) for value, _, _ in ends]
    figure_height = axes.get_position().height * axes.get_figure(root=True).get_size_inches()[1]  # type: ignore[union-attr]
    places = spread_out(heights, 10.5 / 72 / figure_height, 0.0, 1.0)
    for place, height, (_, name, colour) in zip(places, heights, ends, strict=True):
        axes.annotate(
            name, (1.0, height), (1.05, place), xycoords="axes fraction", textcoords="axes fraction", va="center",
            fontsize=7.5, color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 0,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _taught_nothing(board: Leaderboard) -> list[Line]:
    """Candidates that learn nothing from training rows."""
    from baselines import BASELINES

    def untaught(line: Line) -> bool:
        name = line.candidate.name
        if line.candidate.kind == "baseline":
            return bool(getattr(BASELINES.get(name), "zero_shot", False))
        return all(stage == "prior" for stage in read_pipeline(name).stages)

    return [line for line in scored_lines(board) if untaught(line)]
