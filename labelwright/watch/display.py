"""What came of watching, as lines for a terminal: the windows, what changed, the audit and the challenger."""

from __future__ import annotations

from collections.abc import Iterator

from labelwright.bundle.reference import LABELS
from labelwright.plain_text import printable_line
from labelwright.statistics.proportions import Interval, wilson
from labelwright.watch.drift import sentence
from labelwright.watch.watching import Watched, Window

# Windows in the table, those with an alarm first of all, then the newest; and alarms that are told in words.
_SHOWN = 20
_LOOKED_AT = {LABELS: "labels", "confidence": "confidence", "words": "known words", "likeness": "likeness"}
_HEAD = ("window", "from row", "rows", "p", "confidence", "abstained", "no answer", "accuracy %, 95 %", "")


def lines(watched: Watched, name: str) -> Iterator[str]:
    """All that is said, a line at a time, fit for a terminal."""
    windows, alarms = watched.windows, watched.alarms
    n_rows = sum(one.n_rows for one in windows)
    looked_at = ", ".join(_LOOKED_AT[one] for one in watched.looked_at)
    yield printable_line(
        f"{name}: {n_rows} rows in {len(windows)} windows, compared with {watched.reference} "
        f"({watched.n_reference} rows) and the windows before: {looked_at}"
    )
    quiet = [one for one in windows if not one.is_alarm]
    shown = sorted(
        [*alarms[:_SHOWN], *(quiet[len(alarms) - _SHOWN :] if len(alarms) < _SHOWN else [])], key=lambda one: one.number
    )
    table = [_HEAD, *map(_line, shown)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    for line in table:
        yield "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
    if len(shown) < len(windows):
        yield f"  and {len(windows) - len(shown)} windows more, which --output FILE.json has"
    for window in alarms[:_SHOWN]:
        said = "; ".join(sentence(change) for change in window.changes)
        yield printable_line(f"window {window.number}{f' ({window.time})' if window.time else ''}: {said}")
    rate, n_windows = watched.settings.false_alarms, len(windows)
    yield (
        f"{len(alarms)} of {n_windows} windows are an alarm; if nothing had changed it would be {rate * n_windows:.2g} "
        f"at most, in the mean (--false-alarms {rate:g})"
    )
    yield from map(printable_line, (*_audited(watched), *_shadowed(watched)))


def _line(window: Window) -> tuple[str, ...]:
    accuracy = ""
    if window.n_audited:
        value, low, high = wilson(window.n_right / window.n_audited, window.n_audited)
        accuracy = f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {window.n_audited}"
    return (
        str(window.number),
        str(window.first_row),
        str(window.n_rows),
        f"{window.p:.2g}",
        "" if window.confidence is None else f"{window.confidence:.3f}",
        str(window.n_abstained),
        str(window.n_unanswered),
        accuracy,
        "ALARM" if window.is_alarm else "",
    )


def _audited(watched: Watched) -> Iterator[str]:
    """Accuracy, and what is told of it."""
    audit = watched.audit
    if not audit.n:
        yield "no row has its right label (--gold-column): accuracy is not known"
        return
    value, low, high = audit.accuracy
    yield f"accuracy {value:.1%} [{low:.1%}, {high:.1%}] of {audit.n} audited rows, taken as independent"
    if not audit.n_dev:
        return
    always, dev = audit.always, audit.n_dev_right / audit.n_dev
    if audit.told_at is None:
        yield f"not told apart from dev's {dev:.1%} ({audit.n_dev} rows); may be looked at daily: {_range(always)}"
    else:
        where = "BELOW" if audit.has_fallen else "above"
        yield (
            f"told {where} dev's {dev:.1%} ({audit.n_dev} rows) from row {audit.told_at} on, however often one looks; "
            f"now {_range(always)}"
        )


def _shadowed(watched: Watched) -> Iterator[str]:
    """The challenger, and what is told of it."""
    shadow = watched.shadow
    if shadow is None:
        return
    yield f"challenger: the same answer in {shadow.agreement.value:.1%} {_range(shadow.agreement)} of {shadow.n} rows"
    for ours, theirs, n in shadow.most_pairs:
        yield f"  {n} rows: {_answer(ours)} here, {_answer(theirs)} there"
    if not shadow.n_audited:
        yield "no row has its right label: who is right more often is not known"
        return
    value, low, high = shadow.difference
    yield (
        f"of {shadow.n_audited} audited rows both have {shadow.both} right, the bundle alone {shadow.first}, the "
        f"challenger alone {shadow.second}: {100 * value:+.1f} points for the challenger [{100 * low:+.1f}, "
        f"{100 * high:+.1f}], McNemar's exact p {shadow.mcnemar_p:.2g}"
    )
    if shadow.told_at is None:
        yield "not told apart, if one may look after every row: go on auditing"
    else:
        better = "challenger" if shadow.second > shadow.first else "bundle"
        yield f"told apart from row {shadow.told_at} on, however often one looks: the {better} is right more often"


def _answer(label: str | None) -> str:
    return "no answer" if label is None else repr(label)


def _range(interval: Interval) -> str:
    return f"[{interval.low:.1%}, {interval.high:.1%}]"
