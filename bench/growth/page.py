"""The page of what was measured, and a picture a dimension: the same numbers for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from bench.growth.cases import UNITS, Measured, Series
from bench.growth.fit import CLEAR, FEWEST, STEEP, Fit, fitted

Found = Mapping[str, Measured]

_HEAD = f"""# Growth

Written by `python -m bench.growth` from `cases.jsonl`; [docs/bench.md](../../../docs/bench.md#growth) says what each
line is. Each case is a process of its own: CPU seconds of all its threads, wall seconds, and the most resident memory.
Growth is y = a + b x^c, a what a case takes before its first row: least squares of relative errors, c as "grows as".
"Not told" stands where there are fewer than {FEWEST} cases, or fewer than two that take {CLEAR:g} times
what the smallest does: the others are nearly all start. Beside it is the exponent from the last case but one to the
last, its start included. None has an interval, for what so few cases are off by is not chance alone. A series counts
as steeper than linear where its exponent from one case to the next is above {STEEP} up to its end.
"""

_GROWTH = (
    "series",
    "CPU grows as",
    "in the last step",
    "memory grows as",
    "in the last step",
    "CPU is steeper than linear",
)


def page(all_series: Sequence[Series], found: Found, left_out: Mapping[str, str], facts: str) -> str:
    """The page as Markdown.

    Parameters
    ----------
    left_out : mapping of a case's key to why
        What is neither found nor left out is said to be not measured.
    facts : str
        The machine, and what ran beside, in a sentence.
    """
    lines = [_HEAD, facts, ""]
    for dimension in dict.fromkeys(one.dimension for one in all_series):
        own = [one for one in all_series if one.dimension == dimension and _measured(one, found)]
        if not own:
            continue
        lines += [f"## {dimension.capitalize()}", "", f"![{dimension}]({dimension}.svg)", ""]
        lines += [f"| series | {UNITS[dimension]} | CPU s | wall s | peak MB |", "|---|---|---|---|---|"]
        for series in own:
            for x in _measured(series, found):
                one = found[series.key(x)]
                peak = f"{one.peak_bytes / 1e6:.0f}"
                lines.append(f"| {series.name} | {x:,} | {one.cpu_s:.3g} | {one.wall_s:.3g} | {peak} |")
        lines += ["", f"| {' | '.join(_GROWTH)} |", "|---" * len(_GROWTH) + "|"]
        for series in own:
            cpu, memory = (_fit(series, found, what) for what in ("cpu_s", "peak_bytes"))
            cells = [series.name, *_power(cpu), *_power(memory), _steep(cpu)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += _missing(all_series, found, left_out)
    return "\n".join(lines).rstrip() + "\n"


def draw(all_series: Sequence[Series], found: Found, folder: Path) -> None:
    """One SVG a dimension: CPU seconds and peak memory against x, both on logarithms."""
    for dimension in dict.fromkeys(one.dimension for one in all_series):
        own = [one for one in all_series if one.dimension == dimension and _measured(one, found)]
        if not own:
            continue
        figure = Figure(figsize=(9, 3.6))
        for axes, (what, said, scale) in zip(
            figure.subplots(1, 2), (("cpu_s", "CPU seconds", 1.0), ("peak_bytes", "peak MB", 1e-6)), strict=True
        ):
            for series in own:
                xs = _measured(series, found)
                ys = [scale * getattr(found[series.key(x)], what) for x in xs]
                axes.plot(xs, ys, marker="o", markersize=3, linewidth=1, label=series.name)
            axes.set(xscale="log", yscale="log", xlabel=UNITS[dimension], ylabel=said)
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=8)
        figure.set_layout_engine("constrained")
        # No date and no random ids: the same cases give the same file.
        with matplotlib.rc_context({"svg.hashsalt": "growth", "svg.fonttype": "none"}):
            figure.savefig(folder / f"{dimension}.svg", metadata={"Date": None})


def _missing(all_series: Sequence[Series], found: Found, left_out: Mapping[str, str]) -> list[str]:
    """A line a case that was left out, and one a series for those that nobody has asked for yet."""
    said = []
    for series in all_series:
        missing = {x: series.key(x) for x in series.xs if series.key(x) not in found}
        said += [f"- {key}: left out, {left_out[key]}." for key in missing.values() if key in left_out]
        others = ", ".join(f"{x:,}" for x, key in missing.items() if key not in left_out)
        said += [f"- {series.dimension}, {series.name}: not measured at {others}."] if others else []
    return ["## Not on this page", "", *said] if said else []


def _measured(series: Series, found: Found) -> list[int]:
    return [x for x in series.xs if series.key(x) in found]


def _fit(series: Series, found: Found, what: str) -> Fit | None:
    xs = _measured(series, found)
    return fitted(xs, [float(getattr(found[series.key(x)], what)) for x in xs])


def _power(fit: Fit | None) -> tuple[str, str]:
    """How it grows beyond its start, and in the last step."""
    if fit is None:
        return "–", "–"
    # No "-0.00".
    return "not told" if fit.exponent is None else f"x^{fit.exponent:.2f}", f"x^{round(fit.last, 2) + 0:.2f}"


def _steep(fit: Fit | None) -> str:
    return "–" if fit is None else "nowhere" if fit.steep_from is None else f"from {fit.steep_from:,.0f} on"
