"""The picture: nDCG over the accuracy of labels, a panel a search, and where the bundle stands."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.figure import Figure

from workbench.report.plots.style import GOOD, LINES, MUTED, STYLE
from workbench.retrieval.report.page import shown
from workbench.retrieval.report.result import BOOST, BY_CHANCE, FILTER, PLAIN, RetrievalResult

_SHOWN = {FILTER: "filter-then-search", BOOST: "boost by probability"}


def picture(result: RetrievalResult) -> Figure:
    """Curves where labels are wrong by chance, with bands for the intervals."""
    with rc_context(STYLE):
        return _drawn(result)


def _drawn(result: RetrievalResult) -> Figure:
    figure = Figure(figsize=(3.3 * len(result.searches), 3.0))
    panels = figure.subplots(1, len(result.searches), squeeze=False, sharey=True)[0]
    for panel, search in zip(panels, result.searches, strict=True):
        plain = next(iter(result.way(search, PLAIN).metrics.values()))
        panel.axhline(plain.value, color=MUTED, linestyle="--", label="plain search")
        panel.axhspan(plain.low, plain.high, color=MUTED, alpha=0.12, linewidth=0)
        for way, colour in zip((FILTER, BOOST), LINES, strict=False):
            curve = result.curve(search, way, BY_CHANCE)
            at = [100 * one for one in curve.accuracy]
            panel.plot(at, [one.value for one in curve.ndcg], color=colour, label=_SHOWN[way])
            low, high = [one.low for one in curve.ndcg], [one.high for one in curve.ndcg]
            panel.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        panel.axvline(100 * result.labels.accuracy.value, color=GOOD, linestyle=":", label="the bundle")
        panel.set_title(shown(search), loc="left")
        panel.set_xlabel("right labels, %")
        panel.grid()
    # When all panels are drawn: they share the scale, which is then no longer found anew.
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel(next(iter(result.ways[0].metrics)))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4)
    figure.set_layout_engine("constrained")
    return figure
