"""The verdict in words: which candidate wins, which are as good, what to ship, and whether tuning was worth it.

Words over numbers that ``workbench.compare.leaderboard`` has found; nothing is computed from probabilities here. That a
candidate is not told apart from the best one is no merit of it: with few enough rows nothing is. Only what is shown to
be as good, within a margin, is shipped in place of the best (``workbench.compare.differences.standing``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from labelwright.statistics.intervals import Interval
from labelwright.statistics.metrics import Ints
from workbench.compare.board import Difference, Line, Verdict
from workbench.compare.candidate import Candidate
from workbench.compare.differences import TOLD_APART, standing
from workbench.compare.frontier import EQUAL, cheapest, speed
from workbench.report.wording import listed, megabytes, milliseconds, percent, points, quoted, shortened


def rank(scores: Mapping[str, Interval]) -> tuple[float, float]:
    """Sorts the best first: highest accuracy, then lowest log loss; none at all counts as the highest."""
    return -scores["accuracy"].value, scores["log_loss"].value if "log_loss" in scores else math.inf


def standing_as(lines: Sequence[Line], word: str) -> list[Line]:
    """The lines of a standing."""
    return [line for line in lines if line.standing == word]


def cautions(gold: Ints, names: Sequence[str]) -> tuple[str, ...]:
    """What about the test rows' labels a reader must know before any number: one label alone, labels without rows.

    Parameters
    ----------
    gold : int ndarray of shape (n_test,)
        Positions in ``names``.
    """
    n_rows = np.bincount(gold, minlength=len(names))
    missing = [quoted(name) for name, n in zip(names, n_rows, strict=True) if n == 0]
    if not missing:
        return ()
    if len(missing) == len(names) - 1:
        only = quoted(names[int(n_rows.argmax())])
        return (
            f"All {len(gold)} test rows have the label {only}: accuracy here is how often a candidate answers "
            f"{only}, and "
            f"says nothing of {'the other label' if len(missing) == 1 else f'the other {len(missing)} labels'}.",
        )
    have = f"{len(missing)} of {len(names)} labels {'have' if len(missing) > 1 else 'has'}"
    return (f"{have} no test row, so nothing here speaks of {shortened(missing)}.",)


def judge(
    lines: Sequence[Line],
    best: Line,
    gold: Ints,
    names: Sequence[str],
    margin: float,
    compare: Callable[[Candidate, Candidate], Difference],
) -> Verdict:
    """The verdict over the lines that have numbers.

    Parameters
    ----------
    gold, names
        As for ``cautions``.
    margin : float
        Share of accuracy within which a candidate is as good as the best.
    compare : function of two candidates
        Accuracy of the first minus that of the second.
    """
    as_good, unclear = standing_as(lines, "as good"), standing_as(lines, "not told apart")
    # Free text cannot be shipped: nothing keeps it to the labels.
    usable = [line for line in as_good if line.candidate.kind != "free"]
    ship = cheapest([best, *usable])
    perhaps = [
        line
        for line in unclear
        if line.candidate.kind != "free" and cheapest([ship, line]) is line and line is not ship
    ]
    needed = _rows_needed(perhaps, len(gold), margin)
    remarks = [_free_text(lines, best), _caution(best, unclear, len(gold)), _unanswered(lines, len(gold))]
    tuned, rivals = _tuned(lines), [line for line in lines if line.candidate.kind == "baseline"]
    rival = min(rivals, key=lambda line: rank(line.test), default=None)
    difference = compare(rival.candidate, tuned.candidate) if tuned and rival else None
    if tuned and rival and difference:
        remarks.append(_worth(tuned, rival, difference, margin))
    else:
        missing = "No baseline ran" if rival is None else "No model ran"
        remarks.append(f"{missing}, so nothing can be said about whether a tuned model is worth it.")
    advice = _advice(ship, best, usable, perhaps, len(gold), needed, margin)
    if len(np.unique(gold)) == 1:
        advice = "Ship nothing on the strength of these rows: test on rows of the other labels as well."
    return Verdict(
        best=best.candidate.name,
        winner=_winner(best, len(lines), len(gold)),
        others=_others(as_good, unclear, len(lines) - 1, margin),
        advice=advice,
        cautions=cautions(gold, names),
        remarks=tuple(one for one in remarks if one),
        as_good=tuple(line.candidate.name for line in as_good),
        not_told_apart=tuple(line.candidate.name for line in unclear),
        ship=ship.candidate.name,
        margin=margin,
        n_rows_needed=needed,
        tuned=tuned.candidate.name if tuned and rival else None,
        best_baseline=rival.candidate.name if tuned and rival else None,
        difference=difference.value if difference else None,
        p_value=difference.p_holm if difference else None,
    )


def _tuned(lines: Sequence[Line]) -> Line | None:
    """The best model that was tuned; the untuned one where it is the only one.

    The best on test, as the baseline it is held against is the best on test: choosing flatters both.
    """
    models = [line for line in lines if line.candidate.kind == "llm"]
    tuned = [line for line in models if not _is_untuned(line.candidate)]
    return min(tuned or models, key=lambda line: rank(line.test), default=None)


def _is_untuned(candidate: Candidate) -> bool:
    return candidate.name.split("@")[0] == "untuned" or candidate.step == "0-untuned"


def _rows_needed(perhaps: Sequence[Line], n_test: int, margin: float) -> int | None:
    """About how many rows bring the interval of the most promising of these lines inside the margin; two digits.

    If it is as often right as the best: intervals shrink with the root of the rows. None where there is no such line.
    """
    known = [line.against_best["accuracy"].value for line in perhaps if line.against_best]
    if not known:
        return None
    nearest = max(known)
    rows = n_test * ((nearest.high - nearest.low) / 2 / margin) ** 2
    unit = 10 ** max(0, math.floor(math.log10(rows)) - 1)
    return unit * math.ceil(rows / unit)


def _winner(best: Line, n_lines: int, n_test: int) -> str:
    value = f"{percent(best.test['accuracy'])} % of {n_test} test row{'s' if n_test > 1 else ''}"
    if n_lines == 1:
        return f"{best.candidate.name} is the only candidate that could be scored: right on {value}."
    return f"{best.candidate.name} wins: right on {value}."


def _others(as_good: Sequence[Line], unclear: Sequence[Line], n_others: int, margin: float) -> str:
    """How the others stand to the best one."""
    said = []
    if as_good:
        said.append(f"as good within {_margin(margin)}: {listed([line.candidate.name for line in as_good])}")
    if unclear:
        said.append(f"too few rows to tell from it: {shortened([line.candidate.name for line in unclear])}")
    if len(as_good) + len(unclear) < n_others:
        others = "the others are" if said else "every other candidate is"
        said.append(f"{others} worse (Holm-corrected p < {TOLD_APART:.2g})")
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}." if said else ""


def _margin(margin: float) -> str:
    """Of accuracy, in points.

    >>> _margin(0.02), _margin(0.01), _margin(0.025)
    ('2 points', '1 point', '2.5 points')
    """
    return f"{100 * margin:.3g} point{'' if math.isclose(margin, 0.01) else 's'}"


def _advice(
    ship: Line,
    best: Line,
    usable: Sequence[Line],
    perhaps: Sequence[Line],
    n_test: int,
    needed: int | None,
    margin: float,
) -> str:
    if ship is not best:
        assert ship.against_best is not None
        lost, price = _turned(ship.against_best["accuracy"].value), _price(ship, best)
        within = f"Ship {ship.candidate.name}, as good as {best.candidate.name} within {_margin(margin)},"
        if lost.value > 0:
            return f"{within} unless {points(lost)}, matter more than {price}."
        return f"{within} with {price}: it loses {points(lost)}."
    if perhaps:
        would = f"; about {needed:,} would be needed" if needed and needed > n_test else ""
        return (
            f"Ship {best.candidate.name}: of the cheaper ones none is shown to be as good, which {n_test} test "
            f"row{'s are' if n_test > 1 else ' is'} too few to tell within {_margin(margin)}{would}."
        )
    return f"Ship {best.candidate.name}" + (": nothing as good answers clearly faster." if usable else ".")


def _price(ship: Line, best: Line) -> str:
    """What the shipped candidate saves: "0.1 ms a row against 40 ms (400 times faster), 1.2 MB against 540 MB"."""
    mine, theirs = speed(ship), speed(best)
    parts = []
    if math.isfinite(mine) and math.isfinite(theirs):
        times = f" ({_times(theirs / mine)} faster)" if mine > 0 and theirs > EQUAL * mine else ""
        parts.append(f"{milliseconds(mine)} ms a row against {milliseconds(theirs)} ms{times}")
    elif math.isfinite(mine):
        parts.append(f"{milliseconds(mine)} ms a row")
    sizes = [line.candidate.cost.get("size_bytes") for line in (ship, best)]
    if None not in sizes:
        parts.append(f"{megabytes(sizes[0])} against {megabytes(sizes[1])}")
    return ", ".join(parts) or "a simpler candidate"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def _caution(best: Line, unclear: Sequence[Line], n_test: int) -> str:
    """How little is known of the candidate that is known least."""
    differences = [(line.candidate.name, line.against_best["accuracy"].value) for line in unclear if line.against_best]
    if not differences:
        return ""
    name, widest = max(differences, key=lambda one: one[1].high - one[1].low)
    return (
        f"Caution: with {n_test} test row{'s' if n_test > 1 else ''}, the accuracy of {name} minus that of "
        f"{best.candidate.name} may be anything from {100 * widest.low:+z.1f} to {100 * widest.high:+z.1f} points."
    )


def _unanswered(lines: Sequence[Line], n_test: int) -> str:
    """Said where a server's answers were none of the labels."""
    counts = {line.candidate.name: line.candidate.cost.get("n_invalid") or 0 for line in lines}
    silent = [f"{name} on {count:.0f}" for name, count in counts.items() if count]
    return f"Without a usable answer of {n_test} test rows, counted as wrong: {listed(silent)}." if silent else ""


def _free_text(lines: Sequence[Line], best: Line) -> str:
    """Said where answers in free text are right more often than the best closed answer."""
    free = [line for line in lines if line.candidate.kind == "free" and line is not best]
    ahead = [line for line in free if line.test["accuracy"].value > best.test["accuracy"].value]
    if not ahead:
        return ""
    one = min(ahead, key=lambda line: rank(line.test))
    return (
        f"Free text ({one.candidate.name}) is right on {percent(one.test['accuracy'])} %, but answers what it likes "
        "and "
        "has no probabilities, so it is not ranked."
    )


def _worth(tuned: Line, rival: Line, found: Difference, margin: float) -> str:
    """Whether the tuned model is worth it: the best baseline against it."""
    mine, theirs = (100 * line.test["accuracy"].value for line in (tuned, rival))
    difference = found.value
    model = "the untuned model" if _is_untuned(tuned.candidate) else f"the tuned model ({tuned.candidate.name})"
    capital = model[0].upper() + model[1:]
    if difference.value == 0:
        equal = standing(found, margin) == "as good" and difference.high < margin
        said = "take the cheaper one" if equal else "which of them is better, these rows cannot tell"
        return (
            f"{capital} and the baseline {rival.candidate.name} are equally often right on test, {mine:.1f} % each "
            f"(difference {points(difference)}): {said}."
        )
    if found.p_holm < TOLD_APART:
        touches = difference.low <= 0 <= difference.high
        sure = "the test tells them apart" if touches else "the interval leaves out 0"
    elif max(-difference.low, difference.high) < margin:
        sure = f"within {_margin(margin)} they are as good as each other"
    else:
        sure = "the interval holds 0, so this may be chance"
    if difference.value > 0:
        return (
            f"A baseline beats {model}: {rival.candidate.name} {theirs:.1f} % against {mine:.1f} % on test, ahead by "
            f"{points(difference)}; {sure}."
        )
    return (
        f"{capital} beats every baseline: {mine:.1f} % against {theirs:.1f} % of {rival.candidate.name} on test, "
        f"ahead by {points(_turned(difference))}; {sure}."
    )


def _turned(difference: Interval) -> Interval:
    """b minus a from a minus b."""
    return Interval(-difference.value, -difference.high, -difference.low)
