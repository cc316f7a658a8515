"""The verdict in words: which rung wins, which are as good within noise, what to ship, and whether tuning was worth it.

Words over numbers that ``workbench.leaderboard`` has found; nothing is computed from probabilities here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from labelwright.intervals import Interval
from workbench.board import Line, Verdict
from workbench.frontier import EQUAL, cheapest, speed
from workbench.rungs import Rung
from workbench.wording import listed, megabytes, milliseconds, percent, points

# A rung is told apart from the best one where its Holm-corrected p-value is below this.
TOLD_APART = 0.05
# Where a difference of accuracies is known less well than within this many (a share), "within noise" says little.
_WIDE = 0.05


def rank(scores: Mapping[str, Interval]) -> tuple[float, float]:
    """Sorts the best first: highest accuracy, then lowest log loss; none at all counts as the highest."""
    return -scores["accuracy"].value, scores["log_loss"].value if "log_loss" in scores else math.inf


def within_noise(lines: Sequence[Line]) -> list[Line]:
    """Lines other than the best one whose accuracy is not told apart from its."""
    return [line for line in lines if line.against_best and line.against_best["accuracy"].p_holm >= TOLD_APART]


def judge(
    lines: Sequence[Line], best: Line, n_test: int, compare: Callable[[Rung, Rung], tuple[Interval, float]]
) -> Verdict:
    """The verdict over the lines that have numbers.

    Parameters
    ----------
    compare : function of two rungs
        Accuracy of the first minus that of the second, and the p-value of the paired test.
    """
    near = within_noise(lines)
    # Free text cannot be shipped: nothing keeps it to the labels.
    ship = cheapest([best, *(line for line in near if line.rung.kind != "free")])
    sentences = [_winner(best, near, len(lines), n_test), _ship(ship, best, near), _caution(best, near, n_test)]
    sentences.append(_free_text(lines, best))
    tuned, rivals = _tuned(lines), [line for line in lines if line.rung.kind == "baseline"]
    names = best.rung.name, tuple(line.rung.name for line in near), ship.rung.name
    if tuned is None or not rivals:
        missing = "No baseline ran" if not rivals else "No model ran"
        sentences.append(f"{missing}, so nothing can be said about whether a tuned model is worth it.")
        return Verdict(_joined(sentences), *names)
    rival = min(rivals, key=lambda line: rank(line.test))
    difference, p_value = compare(rival.rung, tuned.rung)
    sentences.append(_worth(tuned, rival, difference))
    return Verdict(_joined(sentences), *names, tuned.rung.name, rival.rung.name, difference, p_value)


def _tuned(lines: Sequence[Line]) -> Line | None:
    """The best model that was tuned; the untuned one where it is the only one.

    The best on test, as the baseline it is held against is the best on test: choosing flatters both.
    """
    models = [line for line in lines if line.rung.kind == "llm"]
    tuned = [line for line in models if not _is_untuned(line.rung)]
    return min(tuned or models, key=lambda line: rank(line.test), default=None)


def _is_untuned(rung: Rung) -> bool:
    return rung.name.split("@")[0] == "untuned" or rung.step == "0-untuned"


def _joined(sentences: Sequence[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _winner(best: Line, near: Sequence[Line], n_lines: int, n_test: int) -> str:
    value = f"{percent(best.test['accuracy'])} % of {n_test} test rows"
    if n_lines == 1:
        return f"{best.rung.name} is the only rung that could be scored: right on {value}."
    wins = f"{best.rung.name} wins: right on {value}"
    if not near:
        return f"{wins}; every other rung is told apart from it (Holm-corrected p < {TOLD_APART})."
    names = listed([line.rung.name for line in near])
    return f"{wins}; within noise of it (Holm-corrected p >= {TOLD_APART}): {names}."


def _ship(ship: Line, best: Line, near: Sequence[Line]) -> str:
    if ship is best:
        return f"Ship {best.rung.name}" + (": nothing within noise of it answers clearly faster." if near else ".")
    assert ship.against_best is not None
    lost = _turned(ship.against_best["accuracy"].value)
    price = _price(ship, best)
    if lost.value > 0:
        return f"Ship {ship.rung.name} unless {points(lost)}, matter more than {price}."
    return f"Ship {ship.rung.name}: it is as often right (it loses {points(lost)}), with {price}."


def _price(ship: Line, best: Line) -> str:
    """What the shipped rung saves: "0.1 ms a row against 40 ms (400 times faster), 1.2 MB against 540 MB"."""
    mine, theirs = speed(ship), speed(best)
    parts = []
    if math.isfinite(mine) and math.isfinite(theirs):
        times = f" ({_times(theirs / mine)} faster)" if mine > 0 and theirs > EQUAL * mine else ""
        parts.append(f"{milliseconds(mine)} ms a row against {milliseconds(theirs)} ms{times}")
    elif math.isfinite(mine):
        parts.append(f"{milliseconds(mine)} ms a row")
    sizes = [line.rung.cost.get("size_bytes") for line in (ship, best)]
    if None not in sizes:
        parts.append(f"{megabytes(sizes[0])} against {megabytes(sizes[1])}")
    return ", ".join(parts) or "a simpler rung"


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:.0f} times"


def _caution(best: Line, near: Sequence[Line], n_test: int) -> str:
    """Said where the test split is so small that a rung much worse than the best would be within noise as well."""
    differences = [(line.rung.name, line.against_best["accuracy"].value) for line in near if line.against_best]
    if not differences:
        return ""
    name, widest = max(differences, key=lambda one: one[1].high - one[1].low)
    if widest.high - widest.low <= _WIDE:
        return ""
    return (
        f"Caution: with {n_test} test rows, within noise says little; the accuracy of {name} minus that of "
        f"{best.rung.name} may be anything from {100 * widest.low:+z.1f} to {100 * widest.high:+z.1f} points."
    )


def _free_text(lines: Sequence[Line], best: Line) -> str:
    """Said where answers in free text are right more often than the best closed answer."""
    free = [line for line in lines if line.rung.kind == "free" and line is not best]
    ahead = [line for line in free if line.test["accuracy"].value > best.test["accuracy"].value]
    if not ahead:
        return ""
    one = min(ahead, key=lambda line: rank(line.test))
    return (
        f"Free text ({one.rung.name}) is right on {percent(one.test['accuracy'])} %, but answers what it likes and "
        "has no probabilities, so it is not ranked."
    )


def _worth(tuned: Line, rival: Line, difference: Interval) -> str:
    """Whether the tuned model is worth it: the best baseline against it."""
    mine, theirs = (100 * line.test["accuracy"].value for line in (tuned, rival))
    noise = difference.low <= 0 <= difference.high
    sure = "the interval holds 0, so this may be chance" if noise else "the interval leaves out 0"
    model = "the untuned model" if _is_untuned(tuned.rung) else f"the tuned model ({tuned.rung.name})"
    capital = model[0].upper() + model[1:]
    if difference.value > 0:
        return (
            f"A baseline beats {model}: {rival.rung.name} {theirs:.1f} % against {mine:.1f} % on test, ahead by "
            f"{points(difference)}; {sure}."
        )
    if difference.value < 0:
        return (
            f"{capital} beats every baseline: {mine:.1f} % against {theirs:.1f} % of {rival.rung.name} on test, "
            f"ahead by {points(_turned(difference))}; {sure}."
        )
    return (
        f"{capital} and the baseline {rival.rung.name} are equally often right on test, {mine:.1f} % each "
        f"(difference {points(difference)}): take the cheaper one."
    )


def _turned(difference: Interval) -> Interval:
    """b minus a from a minus b."""
    return Interval(-difference.value, -difference.high, -difference.low)
