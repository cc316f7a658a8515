"""The verdict: which candidate wins, which are as good, what to ship and why, and whether tuning was worth it.

Decides over numbers that ``workbench.compare.leaderboard`` has found; nothing is computed from probabilities here, and
nothing put into words (``workbench.report.verdict_words``). That a candidate is not told apart from the best one is no
merit of it: with few enough rows nothing is. Only what is shown to be as good, within a margin, is shipped in place of
the best (``workbench.compare.differences.standing``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from labelwright.data.task import Example
from labelwright.statistics.intervals import Interval
from workbench.compare.board import By, Difference, Entry, Sure, TestRows, Verdict, WhyShip, Worth
from workbench.compare.candidate import is_second_name
from workbench.compare.differences import TOLD_APART, standing

# Costs that differ by no more than this factor are taken for equal.
EQUAL = 1.1


def rank(scores: Mapping[str, Interval], priced: Mapping[str, Interval] | None = None) -> tuple[float, float]:
    """Sorts the best first: highest accuracy, or with prices least cost; then lowest log loss, none being the highest.

    Parameters
    ----------
    scores, priced : mapping of str to Interval
        ``Entry.test`` and ``Entry.priced``.
    """
    first = priced["cost"].value if priced else -scores["accuracy"].value
    return first, scores["log_loss"].value if "log_loss" in scores else math.inf


def labels_without_rows(rows: Sequence[Example], names: Sequence[str]) -> tuple[str, ...]:
    """The labels that none of the rows has: nothing that is measured on them speaks of those."""
    there = {str(row.label) for row in rows}
    return tuple(name for name in names if name not in there)


def judge(
    entries: Sequence[Entry],
    best: Entry,
    rows: TestRows,
    n_labels: int,
    margin: float,
    compare: Callable[[str, str], Difference],
    rows_to_tell: Callable[[str], float] | None = None,
) -> Verdict:
    """The verdict over the candidates that have numbers.

    Parameters
    ----------
    margin : float
        Within which a candidate is as good as the best: a share of accuracy, or with prices so much a row.
    compare : function of two candidates' names
        How much better the first is than the second: accuracy, or with prices what a row of it costs less.
    rows_to_tell : function of a candidate's name, optional
        With prices: about how many rows bring the interval of its lead inside the margin, if it is as good as the best.
    """
    by: By = "cost" if best.priced else "accuracy"
    as_good, unclear = ([one for one in entries if one.standing == word] for word in ("as good", "not told apart"))
    usable = [one for one in as_good if _can_ship(one)]
    ship = cheapest([best, *usable], by)
    perhaps = [one for one in unclear if _can_ship(one) and cheapest([ship, one], by) is one]
    ahead = [one for one in entries if one.kind == "free" and one.merit(by) > best.merit(by)]
    tuned, rivals = _tuned(entries), [one for one in entries if one.kind in ("baseline", "searched")]
    rival = min(rivals, key=_rank, default=None)
    found = compare(rival.name, tuned.name) if tuned and rival else None
    return Verdict(
        best=best.name,
        ship=ship.name,
        why_ship=_why(ship, best, usable, perhaps, n_labels - len(rows.without_rows)),
        as_good=tuple(one.name for one in as_good),
        not_told_apart=tuple(one.name for one in unclear),
        margin=margin,
        n_rows_needed=_rows_needed(perhaps, rows.n_rows, margin, by, rows_to_tell),
        least_known=max(unclear, key=lambda one: _width(one, by)).name if unclear else None,
        free_ahead=min(ahead, key=_rank).name if ahead else None,
        tuned=tuned.name if tuned and rival else None,
        best_baseline=rival.name if tuned and rival else None,
        worth=_worth(found, rival is not None),
        difference=found.value if found else None,
        p_value=found.p_holm if found else None,
        sure=sure_of(found, margin) if found else None,
    )


def is_untuned(entry: Entry) -> bool:
    """A model as it comes, under labels or codes."""
    return entry.name.split("@")[0] == "untuned" or entry.step == "0-untuned"


def frontier(entries: Sequence[Entry], by: By = "accuracy") -> tuple[str, ...]:
    """Names of the candidates that are better than every faster one, from fast to slow.

    Better is more often right, or with prices of less cost a row. Of candidates that are equally fast and equally good,
    the first of the comparison stands for all. Candidates that failed, or whose milliseconds a row are not known, are
    not considered.
    """
    timed = [entry for entry in entries if entry.test and entry.ms is not None]
    names, highest = [], -math.inf
    for entry in sorted(timed, key=lambda entry: (speed(entry), -entry.merit(by))):
        if entry.merit(by) > highest:
            highest = entry.merit(by)
            names.append(entry.name)
    return tuple(names)


def cheapest(entries: Sequence[Entry], by: By = "accuracy") -> Entry:
    """The candidate of fewest milliseconds a row; of equal ones the smallest on disk; of those the best.

    Costs within a tenth of the lowest count as equal: times of the same work differ by that much from run to run.
    """
    for cost in (speed, _size):
        least = min(map(cost, entries))
        entries = [entry for entry in entries if cost(entry) <= EQUAL * least]
    return min(entries, key=lambda entry: -entry.merit(by))


def speed(entry: Entry) -> float:
    """Milliseconds a row (``Entry.ms``); infinite where not known."""
    return math.inf if entry.ms is None else entry.ms


def _can_ship(entry: Entry) -> bool:
    """Not free text, which nothing keeps to the labels; nor what is another candidate once more."""
    return entry.kind != "free" and not is_second_name(entry.together)


def _tuned(entries: Sequence[Entry]) -> Entry | None:
    """The best model that was tuned; the untuned one where it is the only one.

    The best on test, as the baseline it is held against is the best on test: choosing flatters both.
    """
    models = [one for one in entries if one.kind == "llm"]
    tuned = [one for one in models if not is_untuned(one)]
    return min(tuned or models, key=_rank, default=None)


def _rank(entry: Entry) -> tuple[float, float]:
    return rank(entry.test, entry.priced)


def _why(ship: Entry, best: Entry, usable: Sequence[Entry], perhaps: Sequence[Entry], n_labels_seen: int) -> WhyShip:
    if n_labels_seen == 1:
        return "one label"
    if ship is not best:
        return "cheaper"
    if perhaps:
        return "too few rows"
    return "none cheaper" if usable else "none as good"


def _width(entry: Entry, by: By) -> float:
    """Of the interval of its difference to the best."""
    lead = entry.lead(by)
    assert lead is not None
    return lead.value.high - lead.value.low


def _rows_needed(
    perhaps: Sequence[Entry], n_test: int, margin: float, by: By, rows_to_tell: Callable[[str], float] | None
) -> int | None:
    """About how many rows bring the interval of the most promising of these inside the margin; two digits.

    If it is as good as the best: intervals shrink with the root of the rows, those of prices faster, since much of
    their width is that of dear mistakes that few rows may lack. None where there is no such one.
    """
    known = [(lead.value, one.name) for one in perhaps if (lead := one.lead(by))]
    if not known:
        return None
    (_, low, high), name = max(known)
    rows = rows_to_tell(name) if rows_to_tell else n_test * ((high - low) / 2 / margin) ** 2
    unit = 10 ** max(0, math.floor(math.log10(rows)) - 1)
    return unit * math.ceil(rows / unit)


def _worth(found: Difference | None, has_baseline: bool) -> Worth:
    if found is None:
        return "no model" if has_baseline else "no baseline"
    return "equal" if found.value.value == 0 else "baseline" if found.value.value > 0 else "model"


def sure_of(found: Difference, margin: float) -> Sure:
    """How sure the difference between two candidates is."""
    value, low, high = found.value
    if value == 0:
        return "as good" if standing(found, margin) == "as good" and high < margin else "chance"
    if found.p_holm < TOLD_APART:
        return "told apart"
    return "as good" if max(-low, high) < margin else "chance"


def _size(entry: Entry) -> float:
    value = entry.cost.get("size_bytes")
    return math.inf if value is None else value
