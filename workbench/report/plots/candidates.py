"""Pictures in which every candidate is a mark or a line: accuracy with intervals, cost, learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from workbench.report.plots.label_places import place_names, spread_out
from workbench.report.plots.style import (
    DASHES,
    GOOD,
    KINDS,
    LINES,
    MUTED,
    legend_of_kinds,
    named,
    plain,
    scale_accuracy,
)
from workbench.report.report import Report

# Up to so many learning curves have their seeds' spread as a band; more would hide each other.
_FEW_LINES = 6


def accuracy(report: Report) -> Figure:
    """Every candidate's accuracy with its interval, in the comparison's order; the best one's interval shaded.

    With prices it is what a row costs.
    """
    entries, is_share = report.scored, report.by == "accuracy"
    scale, form = (100, ".1f") if is_share else (1, ".3f")
    figure = Figure(figsize=(8.6, 1.1 + 0.235 * len(entries)))
    axes = figure.subplots()
    seen = [scale * one for entry in entries for one in entry.score(report.by)]
    said = scale_accuracy(axes, seen, "x") if is_share else ""
    best = scale * np.array(report.entry(report.verdict.best).score(report.by))
    axes.axvspan(best[1], best[2], color=GOOD, alpha=0.13, linewidth=0)
    axes.axvline(best[0], color=GOOD, linewidth=0.8)
    for y, entry in enumerate(entries):
        value, low, high = (scale * one for one in entry.score(report.by))
        colour, marker, _ = KINDS[entry.kind]
        axes.errorbar(
            value, y, xerr=[[value - low], [high - value]], fmt=marker, color=colour, markersize=4.5, capsize=2.5,
            elinewidth=1.3,
        )  # fmt: skip
        axes.annotate(
            f"{value:{form}}  [{low:{form}}, {high:{form}}]", (1.01, y), xycoords=("axes fraction", "data"),
            va="center", fontsize=7.5, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(range(len(entries)), [named(report, entry.name) for entry in entries])
    for tick, entry in zip(axes.get_yticklabels(), entries, strict=True):
        tick.set_color(KINDS[entry.kind][0])
        tick.set_fontweight("bold" if {"best", "to ship"} & set(report.roles(entry.name)) else "normal")
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    what = "test accuracy, %," if is_share else "cost of a test row"
    axes.set_xlabel(f"{what} with 95 % interval; the best candidate's is shaded{said}")
    axes.grid(axis="x")
    figure.legend(handles=legend_of_kinds(entries), loc="outside upper left", ncols=3)
    figure.set_layout_engine("constrained")
    return figure


def cost(report: Report) -> Figure:
    """Accuracy, with prices what a row costs, against milliseconds a row, with the frontier."""
    entries, is_share = [entry for entry in report.scored if (entry.ms or 0) > 0], report.by == "accuracy"
    points = [(entry.ms or 0.0, (100 if is_share else 1) * entry.score(report.by).value) for entry in entries]
    figure = Figure(figsize=(8.6, 5.8))
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlim(min(x for x, _ in points) / 2.2, max(x for x, _ in points) * 2.8)
    said = scale_accuracy(axes, [y for _, y in points], "y") if is_share else ""
    on_frontier = [entry for name in report.frontier for entry in entries if entry.name == name]
    if len(on_frontier) > 1:
        steps = [points[entries.index(entry)] for entry in on_frontier]
        axes.step(*np.transpose(steps), where="post", color=GOOD, linewidth=1.4, alpha=0.6, zorder=2)
    for (x, y), entry in zip(points, entries, strict=True):
        colour, marker, _ = KINDS[entry.kind]
        inside = colour if entry in on_frontier else "white"
        axes.plot(x, y, marker, color=colour, markersize=6, markerfacecolor=inside, zorder=3)
    axes.set_xlabel("milliseconds a row, one row at a time (median, of a cascade mean)")
    axes.set_ylabel(f"test accuracy, %{said}" if is_share else "cost of a test row")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()
    frontier = Line2D([], [], color=GOOD, linewidth=1.4, label="frontier (filled): nothing faster is as good")
    figure.legend(handles=[*legend_of_kinds(entries), frontier], loc="outside upper left", ncols=2)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    # The places of names hold for this layout.
    figure.set_layout_engine("none")
    names = [named(report, entry.name) for entry in entries]
    place_names(axes, points, names, [name != plain(entry.name) for name, entry in zip(names, entries, strict=True)])
    return figure


def learning_curve(report: Report) -> Figure:
    """Accuracy against training rows a label, before calibration."""
    entries = [entry for entry in report.scored if any(point.per_label > 0 for point in entry.curve)]
    points = [point for entry in entries for point in entry.curve]
    parts = sorted({point.per_label for point in points if point.per_label > 0})
    whole = [point.n_rows / len(report.labels) for point in points if point.per_label == 0]
    # "All" lies where its rows a label lie, if that is clearly to the right of the largest part.
    at_all = max([1.4 * parts[-1], *whole])
    figure = Figure(figsize=(8.6, 5.8))
    axes = figure.subplots()
    axes.set_xscale("log")
    ends, seen = [], []
    for number, entry in enumerate(entries):
        colour, dashes = LINES[number % len(LINES)], DASHES[number // len(LINES) % len(DASHES)]
        by_x: dict[float, list[float]] = {}
        for point in entry.curve:
            by_x.setdefault(point.per_label or at_all, []).append(100 * point.accuracy)
        x = sorted(by_x)
        mean = [float(np.mean(by_x[one])) for one in x]
        marker = KINDS[entry.kind][1]
        axes.plot(x, mean, color=colour, linestyle=dashes, marker=marker, markersize=3.5, linewidth=1.3)
        band = [min(by_x[one]) for one in x], [max(by_x[one]) for one in x]
        if len(entries) <= _FEW_LINES:
            axes.fill_between(x, *band, color=colour, alpha=0.12, linewidth=0)
        else:
            axes.vlines(x, *band, color=colour, alpha=0.45, linewidth=0.8)
        ends.append((mean[-1], named(report, entry.name), colour))
        seen += [*band[0], *band[1]]
    for entry in (entry for entry in report.scored if entry.zero_shot and entry not in entries):
        value = 100 * entry.raw.get("accuracy", entry.test["accuracy"]).value
        axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        ends.append((value, f"{named(report, entry.name)}, zero-shot", MUTED))
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
