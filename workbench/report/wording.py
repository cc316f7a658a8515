"""Numbers and lists as people say them: the report, its page, its plots and the command line word them alike."""

from __future__ import annotations

from collections.abc import Sequence

from labelwright.statistics.intervals import Interval


def percent(interval: Interval, signed: bool = False) -> str:
    """An interval as percent, its ends in brackets.

    >>> percent(Interval(0.8712, 0.81, 0.92))
    '87.1 [81.0, 92.0]'
    """
    # "z": what rounds to nothing is 0.0, not -0.0.
    form = "+z.1f" if signed else "z.1f"
    value, low, high = (format(100 * one, form) for one in interval)
    return f"{value} [{low}, {high}]"


def decimals(interval: Interval, signed: bool = False) -> str:
    """An interval of something that is no share, its ends in brackets.

    >>> decimals(Interval(0.4, -0.25, 1.0), signed=True)
    '+0.400 [-0.250, +1.000]'
    """
    form = "+z.3f" if signed else "z.3f"
    value, low, high = (format(one, form) for one in interval)
    return f"{value} [{low}, {high}]"


def points(difference: Interval) -> str:
    """A difference of two accuracies.

    >>> points(Interval(0.05, -0.02, 0.12))
    '5.0 points of accuracy, 95 % interval -2.0 to 12.0'
    """
    value, low, high = (format(100 * one, "z.1f") for one in difference)
    return f"{value} points of accuracy, 95 % interval {low} to {high}"


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


def quoted(text: str, longest: int = 40) -> str:
    """A label, which is user text, in a sentence: in quotes, on one line, without control characters, not too long.

    >>> quoted("water" + chr(10) + chr(27) + "[1mheater")
    '"water [1mheater"'
    >>> print(quoted('x" <b> "'))
    "x' <b> '"
    """
    # A quote inside would end it for whoever escapes what is quoted.
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace('"', "'")
    return f'"{shown if len(shown) <= longest else shown[: longest - 1] + "…"}"'


def shortened(names: Sequence[str], at_most: int = 8) -> str:
    """Names in a sentence, of very many the first.

    >>> shortened(["a", "b", "c", "d"], 2), shortened(["a", "b", "c"], 2)
    ('a, b and 2 others', 'a, b and c')
    """
    if len(names) <= at_most + 1:
        return listed(names)
    return listed([*names[:at_most], f"{len(names) - at_most} others"])


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
