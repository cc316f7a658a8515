"""Numbers and lists as people say them: every face of the report and the command line word them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelwright.statistics.intervals import Interval

DASH = "–"


def parts(interval: Interval, is_share: bool = True, signed: bool = False) -> tuple[str, str]:
    """A value, as percent where it is a share, and the ends of its interval in brackets.

    >>> parts(Interval(0.8712, 0.81, 0.92)), parts(Interval(0.4, -0.25, 1.0), is_share=False, signed=True)
    (('87.1', '[81.0, 92.0]'), ('+0.400', '[-0.250, +1.000]'))
    """
    # "z": what rounds to nothing is 0.0, not -0.0.
    form = ("+" if signed else "") + ("z.1f" if is_share else "z.3f")
    value, low, high = (format(100 * one if is_share else one, form) for one in interval)
    return value, f"[{low}, {high}]"


def percent(interval: Interval) -> str:
    """An interval as percent, its ends in brackets.

    >>> percent(Interval(0.8712, 0.81, 0.92))
    '87.1 [81.0, 92.0]'
    """
    return " ".join(parts(interval))


def points(difference: Interval) -> str:
    """A difference of two accuracies.

    >>> points(Interval(0.05, -0.02, 0.12))
    '5.0 points of accuracy, 95 % interval -2.0 to 12.0'
    """
    value, low, high = (format(100 * one, "z.1f") for one in difference)
    return f"{value} points of accuracy, 95 % interval {low} to {high}"


def price(value: float) -> str:
    """Money, or whatever the recipe's prices are in.

    >>> price(0.21349), price(12.5), price(1234.567)
    ('0.213', '12.5', '1,235')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z.3g}" if abs(value) >= 1 else f"{value:z.3f}"


def by_how_much(difference: Interval, by: str) -> str:
    """How much better one candidate is than another: in accuracy, or in what a row costs.

    >>> by_how_much(Interval(0.05, -0.02, 0.12), "cost")
    "0.050 a row at the recipe's prices, 95 % interval -0.020 to 0.120"
    """
    if by == "accuracy":
        return points(difference)
    value, low, high = map(price, difference)
    return f"{value} a row at the recipe's prices, 95 % interval {low} to {high}"


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
        return DASH
    if n_bytes < 1e6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e7 else f"{n_bytes / 1e6:.0f} MB"


def milliseconds(ms: float | None) -> str:
    """Two digits below 10 ms, whole ones above.

    >>> milliseconds(0.1234), milliseconds(41.7), milliseconds(None)
    ('0.12', '42', '–')
    """
    return DASH if ms is None else f"{ms:.2g}" if ms < 10 else f"{ms:.0f}"


def number(value: float | None, form: str = "{:,.0f}") -> str:
    """A number that may be missing."""
    return DASH if value is None else form.format(value)


def told(value: Any) -> str:
    """A value from a stage's history as text.

    >>> told(0.123456), told({"a": 1, "b": 0.5}), told(["x", "y"]), told(None)
    ('0.1235', 'a 1, b 0.5', 'x, y', '–')
    """
    if value is None or value == "" or value == [] or value == {}:
        return DASH
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, (Mapping, list, tuple)):
        return str(value)
    of = value.values() if isinstance(value, Mapping) else value
    between = "\n" if any(isinstance(one, (Mapping, list, tuple)) for one in of) else ", "
    if isinstance(value, Mapping):
        return between.join(f"{key} {told(one)}" for key, one in value.items())
    return between.join(map(told, value))


def plural(n: int, noun: str) -> str:
    """A count and what is counted.

    >>> plural(1, "row"), plural(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


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
