"""Numbers and lists as people say them: the report, its page, its plots and the command line word them alike."""

from __future__ import annotations

from collections.abc import Sequence

from labelwright.intervals import Interval


def percent(interval: Interval, signed: bool = False) -> str:
    """An interval as percent, its ends in brackets.

    >>> percent(Interval(0.8712, 0.81, 0.92))
    '87.1 [81.0, 92.0]'
    """
    sign = "+" if signed else ""
    value, low, high = (100 * one for one in interval)
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def decimals(interval: Interval, signed: bool = False) -> str:
    """An interval of something that is no share, its ends in brackets.

    >>> decimals(Interval(0.4, -0.25, 1.0), signed=True)
    '+0.400 [-0.250, +1.000]'
    """
    sign = "+" if signed else ""
    value, low, high = interval
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def points(difference: Interval) -> str:
    """A difference of two accuracies.

    >>> points(Interval(0.05, -0.02, 0.12))
    '5.0 points of accuracy, 95 % interval -2.0 to 12.0'
    """
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:.1f} points of accuracy, 95 % interval {low:.1f} to {high:.1f}"


def p_value(p: float) -> str:
    """Two digits, and no pretence of more than there are.

    >>> p_value(0.0312), p_value(1e-7), p_value(1.0)
    ('0.031', '< 0.0001', '1')
    """
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def megabytes(n_bytes: float | None) -> str:
    """Bytes as people say them.

    >>> megabytes(1_234), megabytes(270_000_000), megabytes(None)
    ('1.2 kB', '270 MB', '–')
    """
    if n_bytes is None:
        return "–"
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e7 else f"{n_bytes / 1e6:.0f} MB"


def milliseconds(ms: float | None) -> str:
    """Two digits below 10 ms, whole ones above.

    >>> milliseconds(0.1234), milliseconds(41.7), milliseconds(None)
    ('0.12', '42', '–')
    """
    return "–" if ms is None else f"{ms:.2g}" if ms < 10 else f"{ms:.0f}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
