"""The picture of accuracy against money: candidates as marks, and lines to where a person answers every row."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from workbench.compare.together.money import N_ROWS, with_person
from workbench.report.plots.style import DASHES, KINDS, LINES, plain, scale_accuracy
from workbench.report.report import Report


def money(report: Report) -> Figure:
    """Accuracy on test against the money of a thousand rows."""
    figure = Figure(figsize=(8.6, 5.2))
    axes, heights = figure.subplots(), list[float]()
    for entry in (one for one in report.scored if one.name in report.money):
        colour, marker, _ = KINDS[entry.kind]
        at = report.money[entry.name], entry.accuracy
        axes.plot(*at, marker, color=colour, markersize=6)
        axes.annotate(plain(entry.name), at, (5, -3), textcoords="offset points", fontsize=7)
        heights.append(entry.accuracy)
    told = [name for name in report.confidence if name in report.money] if report.person is not None else []
    for number, name in enumerate(told):
        assert report.person is not None
        line = with_person(report.confidence[name], report.money[name], report.person)
        axes.plot(
            [spent for _, spent, _ in line], [100 * right for *_, right in line], color=LINES[number % len(LINES)],
            linestyle=DASHES[number % len(DASHES)], linewidth=1.3, label=f"{plain(name)}, then a person",
        )  # fmt: skip
        heights.append(100.0)
    said = scale_accuracy(axes, heights, "y")
    # Candidates may cost nothing, and a person a thousand times what they do.
    axes.set_xscale("symlog", linthresh=min([one for one in report.money.values() if one > 0], default=1.0))
    axes.set(xlabel=f"money, {N_ROWS:,} rows", ylabel=f"right on % of rows{said}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.grid()
    if told:
        figure.legend(loc="outside upper left", ncols=2)
    figure.set_layout_engine("constrained")
    return figure
