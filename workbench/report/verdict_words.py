"""The verdict in words: the only place where its sentences are made. They are made anew each time, and never kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from labelwright.statistics.intervals import Interval
from workbench.compare.board import By, Entry, Leaderboard
from workbench.compare.differences import TOLD_APART
from workbench.compare.verdict import EQUAL, is_untuned, speed
from workbench.wording import by_how_much, listed, megabytes, milliseconds, parts, percent, price, quoted, shortened


class Words(NamedTuple):
    """The verdict's sentences, each empty where there is nothing to say: who wins, what makes every number mean less,
    how the others stand, what to ship, and what else there is, above all whether the tuned model was worth it."""

    winner: str
    caution: str
    others: str
    advice: str
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """The report's first line: all sentences in their order."""
        return " ".join(one for one in (*self[:4], *self.remarks) if one)


def words(board: Leaderboard) -> Words:
    """The verdict of a leaderboard, or of a report, in words."""
    best, n_test = board.entry(board.verdict.best), board.test_rows.n_rows
    measured = rows_words(board)
    how = "is the only candidate that could be scored:" if len(board.scored) == 1 else "wins:"
    remarks = (
        _free_text(board),
        _least_known(board),
        _unanswered(board),
        _gain(board),
        _cascade(board),
        _hosted(board),
        _worth(board),
    )
    right = f"right on {percent(best.test['accuracy'])} % of"
    said = f"{right} {measured}"
    if board.by == "cost":
        cost = " ".join(parts(best.score("cost"), is_share=False))
        said = f"it costs {cost} a row at the recipe's prices on {measured}, and is {right} them"
    return Words(
        winner=f"{best.name} {how} {said}.",
        caution=caution(n_test, board.labels, board.test_rows.without_rows),
        others=_others(board),
        advice=_advice(board),
        remarks=tuple(one for one in remarks if one),
    )


def caution(n_test: int, labels: Sequence[str], missing: Sequence[str]) -> str:
    """What about the test rows' labels a reader must know before any number: one label alone, labels without rows.

    Parameters
    ----------
    missing : sequence of str
        The labels that no test row has.
    """
    if not missing or len(missing) == len(labels):
        return ""
    if len(missing) == len(labels) - 1:
        (only,) = (quoted(label) for label in labels if label not in missing)
        others = "the other label" if len(missing) == 1 else f"the other {len(missing)} labels"
        return (
            f"All {n_test} test rows have the label {only}: accuracy here is how often a candidate answers {only}, and "
            f"says nothing of {others}."
        )
    have = f"{len(missing)} of {len(labels)} labels {'have' if len(missing) > 1 else 'has'}"
    return f"{have} no test row, so nothing here speaks of {shortened([quoted(label) for label in missing])}."


def margin_words(margin: float, by: By = "accuracy") -> str:
    """Of accuracy, in points; or of what a row costs.

    >>> margin_words(0.02), margin_words(0.01), margin_words(0.025), margin_words(0.1, "cost")
    ('2 points', '1 point', '2.5 points', '0.1 a row')
    """
    if by == "cost":
        return f"{margin:.3g} a row"
    return f"{100 * margin:.3g} point{'' if math.isclose(margin, 0.01) else 's'}"


def rows_words(board: Leaderboard) -> str:
    """What was measured on: "90 test rows"; where several points are asked of a row, "300 answers to 90 test rows"."""
    n_rows = board.test_rows.n_rows if board.several is None else board.several.n_rows
    said = f"{n_rows} test row{'s' if n_rows > 1 else ''}"
    return said if board.several is None else f"{board.test_rows.n_rows} answers to {said}"


def _others(board: Leaderboard) -> str:
    """How the others stand to the best one."""
    verdict, said = board.verdict, []
    if verdict.as_good:
        said.append(f"as good within {margin_words(verdict.margin, board.by)}: {listed(verdict.as_good)}")
    if verdict.not_told_apart:
        said.append(f"too few rows to tell from it: {shortened(verdict.not_told_apart)}")
    if len(verdict.as_good) + len(verdict.not_told_apart) < len(board.scored) - 1:
        others = "the others are" if said else "every other candidate is"
        said.append(f"{others} worse (Holm-corrected p < {TOLD_APART:.2g})")
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}." if said else ""


def _advice(board: Leaderboard) -> str:
    verdict, n_test = board.verdict, board.test_rows.n_rows
    within, needed = f"within {margin_words(verdict.margin, board.by)}", verdict.n_rows_needed
    if verdict.why_ship == "one label":
        return "Ship nothing on the strength of these rows: test on rows of the other labels as well."
    if verdict.why_ship == "cheaper":
        ship, best = board.entry(verdict.ship), board.entry(verdict.best)
        lead = ship.lead(board.by)
        assert lead is not None
        lost, saved = by_how_much(lead.turned.value, board.by), _price(ship, best)
        said = f"Ship {ship.name}, as good as {best.name} {within},"
        if lead.value.value < 0:
            return f"{said} unless {lost}, matter more than {saved}."
        return f"{said} with {saved}: it loses {lost}."
    if verdict.why_ship == "too few rows":
        what = " answers" if board.several is not None else ""
        would = f"; about {needed:,}{what} would be needed" if needed and needed > n_test else ""
        return (
            f"Ship {verdict.ship}: of the cheaper ones none is shown to be as good, which {rows_words(board)} "
            f"{'are' if n_test > 1 else 'is'} too few to tell {within}{would}."
        )
    none_cheaper = verdict.why_ship == "none cheaper"
    return f"Ship {verdict.ship}" + (": nothing as good answers clearly faster." if none_cheaper else ".")


def _price(ship: Entry, best: Entry) -> str:
    """What the shipped candidate saves: "0.1 ms a row against 40 ms (400 times faster), 1.2 MB against 540 MB"."""
    mine, theirs = speed(ship), speed(best)
    found = []
    if math.isfinite(mine) and math.isfinite(theirs):
        ratio = theirs / mine if mine > 0 else 0
        times = f" ({ratio:.{int(ratio < 10)}f} times faster)" if ratio > EQUAL else ""
        found.append(f"{milliseconds(mine)} ms a row against {milliseconds(theirs)} ms{times}")
    elif math.isfinite(mine):
        found.append(f"{milliseconds(mine)} ms a row")
    sizes = [one.cost.get("size_bytes") for one in (ship, best)]
    if None not in sizes:
        found.append(f"{megabytes(sizes[0])} against {megabytes(sizes[1])}")
    return ", ".join(found) or "a simpler candidate"


def _free_text(board: Leaderboard) -> str:
    """Said where answers in free text are right more often than the best closed answer."""
    name = board.verdict.free_ahead
    if not name:
        return ""
    free = board.entry(name)
    does = (
        f"is right on {percent(free.test['accuracy'])} %" if board.by == "accuracy" else f"costs {_did(free, 'cost')}"
    )
    return f"Free text ({name}) {does}, but answers what it likes and has no probabilities, so it is not ranked."


def _least_known(board: Leaderboard) -> str:
    """How little is known of the candidate that is known least."""
    name = board.verdict.least_known
    found = board.entry(name).against_best if name else None
    if not found:
        return ""
    _, low, high = found[board.by].value
    ends = f"{100 * low:+z.1f} to {100 * high:+z.1f} points"
    if board.by == "cost":
        ends = f"{low:+z.3f} to {high:+z.3f} a row"
    return (
        f"Caution: with {rows_words(board)}, the {board.by} of {name} minus that of {board.verdict.best} "
        f"may be anything from {ends}."
    )


def _unanswered(board: Leaderboard) -> str:
    """Said where a server's answers were none of the labels."""
    silent = [f"{one.name} on {n:.0f}" for one in board.scored if (n := one.cost.get("n_invalid") or 0)]
    rows = rows_words(board)
    return f"Without a usable answer of {rows}, counted as wrong: {listed(silent)}." if silent else ""


def _gain(board: Leaderboard) -> str:
    """What several candidates together gain over the best single one, and what that costs."""
    found = board.verdict.gain
    if found is None:
        return ""
    whole, single = board.entry(found.together), board.entry(found.single)
    sure = {
        "told apart": "the test tells them apart",
        "as good": f"within {margin_words(board.verdict.margin, board.by)} they are as good as each other",
        "chance": "this may be chance",
    }[found.sure]
    said = "behind by" if found.value.value < 0 else "ahead by"
    difference = _turned(found.value) if found.value.value < 0 else found.value
    time = f"{milliseconds(whole.ms)} ms a row against {milliseconds(single.ms)}"
    does, other, take = f"are right on {whole.accuracy:.1f} %", f"on {single.accuracy:.1f}", "cost"
    if board.by == "cost":
        does, other, take = f"cost {_did(whole, 'cost')}", _did(single, "cost"), "take"
    text = (
        f"Several together ({whole.name}) {does}, the best single candidate ({single.name}) {other}: "
        f"{said} {by_how_much(difference, board.by)}, {sure}; they {take} {time}."
    )
    if found.over_splits is not None:
        text += f" Over {found.n_splits} splits they gain {by_how_much(found.over_splits, board.by)}."
    return text


def _cascade(board: Leaderboard) -> str:
    """How many rows a cascade's last level never sees, and what that saves."""
    found = next((one for one in board.scored if one.together and one.together.last), None)
    if found is None or found.together is None or len(found.together.levels) == 1:
        return ""
    last = found.together.last
    whole = next((one for one in board.scored if found.together.ends_in(one.name, one.together)), None)
    never = sum(level.share for level in found.together.levels[:-1])
    against = f", {last} has {_number(whole, board.by)} at {milliseconds(whole.ms)} ms" if whole is not None else ""
    does = f"right on {found.accuracy:.1f} %" if board.by == "accuracy" else f"it costs {_did(found, 'cost')}"
    return (
        f"In the {found.name} {100 * never:.0f} % of the rows never reach {last}: {does} "
        f"at {milliseconds(found.ms)} ms a row on average{against}."
    )


def _hosted(board: Leaderboard) -> str:
    """What a model elsewhere brings behind the cascade, on how many rows."""
    entry = next((one for one in board.scored if one.together and one.together.hosted), None)
    if entry is None or entry.together is None or (found := entry.together.hosted) is None:
        return ""
    if not found.threshold:
        return f"No row is passed on to {found.model}: on {found.n_calib} calib rows it does not surely gain."
    if not found.n_rows:
        return f"The {entry.name} is sure enough of every test row: none is passed on to {found.model}."
    left = found.n_no_label + found.n_refused
    rest = f"; {left} without a label are left to a person" if left else ""
    change = "loses" if found.gain.value < 0 else "gains"
    gain = _turned(found.gain) if found.gain.value < 0 else found.gain
    return (
        f"Passed on to {found.model}, {100 * found.share:.1f} % of the rows are right on {found.n_right} of "
        f"{found.n_rows} in place of {found.n_right_before}{rest}: the {entry.name} with it is right on "
        f"{percent(found.accuracy)} % and {change} {by_how_much(gain, board.by)}."
    )


def _worth(board: Leaderboard) -> str:
    """Whether the tuned model is worth it: the best baseline against it."""
    verdict, difference = board.verdict, board.verdict.difference
    if difference is None:
        missing = "No baseline ran" if verdict.worth == "no baseline" else "No model ran"
        return f"{missing}, so nothing can be said about whether a tuned model is worth it."
    tuned, rival = board.entry(verdict.tuned), board.entry(verdict.best_baseline)
    model = "the untuned model" if is_untuned(tuned) else f"the tuned model ({tuned.name})"
    capital = model[0].upper() + model[1:]
    if verdict.worth == "equal":
        cheaper, unknown = "take the cheaper one", "which of them is better, these rows cannot tell"
        equally = "are equally often right" if board.by == "accuracy" else "cost the same"
        return (
            f"{capital} and the baseline {rival.name} {equally} on test, {_did(tuned, board.by)} each "
            f"(difference {by_how_much(difference, board.by)}): {cheaper if verdict.sure == 'as good' else unknown}."
        )
    touches = difference.low <= 0 <= difference.high
    sure = {
        "told apart": "the test tells them apart" if touches else "the interval leaves out 0",
        "as good": f"within {margin_words(verdict.margin, board.by)} they are as good as each other",
        "chance": "the interval holds 0, so this may be chance",
    }[verdict.sure or "chance"]
    if verdict.worth == "baseline":
        return (
            f"A baseline beats {model}: {rival.name} {_did(rival, board.by)} against {_did(tuned, board.by)} on test, "
            f"ahead by {by_how_much(difference, board.by)}; {sure}."
        )
    return (
        f"{capital} beats every baseline: {_did(tuned, board.by)} against {_did(rival, board.by)} of {rival.name} on "
        f"test, ahead by {by_how_much(_turned(difference), board.by)}; {sure}."
    )


def _did(entry: Entry, by: By) -> str:
    """How well a candidate did on test, without an interval."""
    return f"{_number(entry, by)} %" if by == "accuracy" else f"{_number(entry, by)} a row"


def _number(entry: Entry, by: By) -> str:
    return f"{entry.accuracy:.1f}" if by == "accuracy" else price(entry.score(by).value)


def _turned(difference: Interval) -> Interval:
    """b minus a from a minus b."""
    return Interval(-difference.value, -difference.high, -difference.low)
