"""The picture of a cascade: accuracy against mean time a row over the thresholds, and the point that was chosen."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from workbench.report.plots.style import KINDS, LINES, plain, scale_accuracy
from workbench.report.report import Report


def cascade(report: Report) -> Figure:
    """The best chains on calib as a line; on test the one that was chosen, and what its last level is alone."""
    entry = next(one for one in report.scored if one.together and one.together.curve)
    assert entry.together is not None
    curve = [(ms, 100 * accuracy) for ms, accuracy in entry.together.curve]
    shown = [(entry, *KINDS["together"][:2], True)]
    ends = [one for one in report.scored if entry.together.ends_in(one.name, one.together)]
    shown += [(one, *KINDS[one.kind][:2], False) for one in ends]
    figure = Figure(figsize=(8.6, 4.6))
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.step(*zip(*curve, strict=True), where="post", color=LINES[0], linewidth=1.4, label="on calib, over thresholds")
    heights = [accuracy for _, accuracy in curve]
    for one, colour, marker, is_filled in shown:
        value, low, high = (100 * end for end in one.test["accuracy"])
        axes.errorbar(
            one.ms or curve[-1][0], value, yerr=[[value - low], [high - value]], fmt=marker, color=colour, markersize=7,
            markerfacecolor=colour if is_filled else "white", capsize=3, label=f"{plain(one.name)}, on test",
        )  # fmt: skip
        heights += [low, high]
    said = scale_accuracy(axes, heights, "y")
    axes.set(xlabel="milliseconds a row, on average", ylabel=f"accuracy, %{said}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()
    figure.legend(loc="outside upper left", ncols=3)
    figure.set_layout_engine("constrained")
    return figure
