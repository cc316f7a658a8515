"""Windows as a picture: shares of labels, confidence and audited accuracy over time, with the alarms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelwright.errors import DataError, MissingExtraError
from labelwright.plain_text import printable_line
from labelwright.statistics.proportions import wilson

if TYPE_CHECKING:
    from labelwright.watch.watching import Watched

SUFFIXES = (".png", ".svg", ".pdf")
_ALARM, _MUTED = "#d1242f", "#59636e"
# Okabe and Ito 2008, told apart by the colour-blind; without yellow, which is too light for a line.
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7a5195")
# A label is plain text: a "$" in one does not begin a formula.
_STYLE: Any = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "svg.hashsalt": "labelwright",
}
_LONGEST_NAME = 32


def draw(watched: Watched, path: Path) -> None:
    """Write the picture.

    Raises
    ------
    DataError
        A suffix that is none of ``SUFFIXES``, or a file that cannot be written.
    MissingExtraError
        matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: expected a picture ending in {', '.join(SUFFIXES)}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(f"a picture needs matplotlib ({error}): pip install matplotlib") from error
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 7), layout="constrained")
        shares, confidence, accuracy = figure.subplots(3, 1, sharex=True)
        at = [window.number for window in watched.windows]
        for number, label in enumerate(watched.labels):
            colour = _LINES[number % len(_LINES)]
            values = [100 * window.shares.get(label, 0.0) for window in watched.windows]
            shares.plot(at, values, color=colour, label=_name(label), linewidth=1.2)
            shares.axhline(100 * watched.shares_before[label], color=colour, linewidth=0.6, linestyle=":")
        shares.set_ylabel("% of rows")
        shares.set_title(f"labels, the most frequent ones; dotted: {_name(watched.reference)}", loc="left")
        shares.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        confidence.plot(at, [_nan(window.confidence) for window in watched.windows], color=_LINES[0], linewidth=1.2)
        confidence.set_ylabel("mean confidence")
        if audited := [window for window in watched.windows if window.n_audited]:
            found = [wilson(window.n_right / window.n_audited, window.n_audited) for window in audited]
            ends = [[100 * (one.value - one.low) for one in found], [100 * (one.high - one.value) for one in found]]
            places, values = [window.number for window in audited], [100 * one.value for one in found]
            accuracy.errorbar(places, values, yerr=ends, fmt="o", color=_LINES[2], markersize=3, linewidth=1)
        if watched.audit.n_dev:
            accuracy.axhline(100 * watched.audit.dev.value, color=_MUTED, linewidth=0.8, linestyle=":")
        accuracy.set_ylabel("accuracy %, 95 %")
        accuracy.set_title("audited rows" if watched.audit.n else "no row has a right label", loc="left")
        accuracy.set_xlabel(f"window of {watched.settings.window} rows; red: alarm")
        for axes in (shares, confidence, accuracy):
            for window in watched.alarms:
                axes.axvline(window.number, color=_ALARM, linewidth=0.8, alpha=0.6)
        try:
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _name(label: str) -> str:
    shown = printable_line(label)
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
