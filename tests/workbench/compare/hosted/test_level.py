"""Which rows are passed on, and what is told of it: on numbers, with a hosted model that knows what it is told to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.data.costs import Costs
from labelwright.data.task import Example
from labelwright.decisions.decision import LIKELIEST, Decision
from workbench.compare.hosted.asking import NO_LABEL, REFUSED
from workbench.compare.hosted.level import Side, choose_threshold, hosted_level


class Elsewhere:
    """Says the labels that it has been given, by row id, and keeps who asked."""

    def __init__(self, **labels: int) -> None:
        self.labels, self.asked = labels, list[str]()

    def __call__(self, rows) -> np.ndarray:
        self.asked += [row.id for row in rows]
        return np.array([self.labels[row.id] for row in rows])


def side(name: str, sure: list[float], right: list[bool]) -> Side:
    """Two labels; the first is said of every row, so that it is right where that is gold."""
    rows = [Example(f"{name}{number}", f"{name} {number}", "a" if one else "b") for number, one in enumerate(right)]
    return Side(rows, np.array([[one, 1 - one] for one in sure]), np.array([0 if one else 1 for one in right]))


def knows(*sides: Side) -> Elsewhere:
    return Elsewhere(**{row.id: int(gold) for one in sides for row, gold in zip(one.rows, one.gold, strict=True)})


# Twelve of the least sure thirty rows are wrong, and none of the others.
SURE = [0.5 + number / 120 for number in range(1, 60)]
CALIB = side("calib", SURE, [number >= 30 or number % 5 > 1 for number in range(59)])
TEST = side("test", [0.55, 0.6, 0.7, 0.99], [False, True, False, True])


def test_the_rows_that_it_has_right_more_often_are_passed_on_and_asked_about_once() -> None:
    ask = knows(CALIB, TEST)
    found = hosted_level("far", ask, CALIB, TEST, LIKELIEST, 100)
    assert SURE[26] < found.threshold < SURE[27], "behind the last row that the cascade has wrong"
    assert (found.n_rows, found.share, found.n_right, found.n_right_before) == (3, 0.75, 3, 1)
    assert (found.accuracy.value, found.gain.value) == (1.0, 0.5)
    assert sorted(ask.asked) == sorted(set(ask.asked)), "nobody is asked about twice"
    assert not {"test3"} & set(ask.asked), "the cascade is sure enough of it"


def test_nobody_is_asked_about_what_the_scope_turns_away() -> None:
    """Below the threshold lie rows that the bundle calls out of scope: it passes none of them on."""
    calib = CALIB._replace(outside=np.arange(59) % 10 == 9)
    test = TEST._replace(outside=np.array([True, False, False, False]))
    ask = knows(CALIB, TEST)
    found = hosted_level("far", ask, calib, test, LIKELIEST, 100)
    assert ask.asked == [row.id for row in (*calib.rows, *test.rows[1:3]) if row.id[-1] != "9"]
    assert (found.n_calib, found.n_rows, found.share) == (54, 2, 0.5)
    # What it would have said of it counts, as in all numbers of the cascade alone.
    assert (found.accuracy.value, found.gain.value) == (0.75, 0.25)


def test_what_is_no_label_or_refused_is_wrong_and_counted() -> None:
    ask = knows(CALIB, TEST)
    ask.labels |= {"test0": NO_LABEL, "test1": REFUSED}
    found = hosted_level("far", ask, CALIB, TEST, LIKELIEST, 100)
    assert (found.n_no_label, found.n_refused, found.n_right) == (1, 1, 1)
    assert found.accuracy.value == 0.5


def test_where_it_is_no_better_nobody_asks_about_a_test_row() -> None:
    worse = Elsewhere(**{row.id: 1 - int(CALIB.gold[number]) for number, row in enumerate(CALIB.rows)})
    found = hosted_level("far", worse, CALIB, TEST, LIKELIEST, 100)
    assert (found.threshold, found.n_rows, found.gain.value) == (0.0, 0, 0.0)
    assert not any(one.startswith("test") for one in worse.asked)


def test_of_more_calib_rows_than_may_be_asked_about_the_least_sure_are() -> None:
    ask = knows(CALIB)
    threshold, n_asked, curve = choose_threshold(ask, CALIB, LIKELIEST, 10)
    assert ask.asked == [row.id for row in CALIB.rows[:10]]
    assert n_asked == 10
    assert threshold < SURE[10]
    assert len(curve) == 11, "and no threshold is tried below which there are others"


@pytest.mark.parametrize(("n_helped", "is_passed_on"), [(0, False), (2, False), (3, True)])
def test_a_row_or_two_that_came_out_right_pass_nothing_on(n_helped, is_passed_on) -> None:
    rows = side("calib", SURE, [number >= n_helped for number in range(59)])
    assert (choose_threshold(knows(rows), rows, LIKELIEST, 100)[0] > 0) is is_passed_on


def test_with_prices_it_is_what_mistakes_cost_that_counts() -> None:
    """It is right on more rows than the cascade, and its one mistake on a leak is dearer than all that."""
    decision = Decision.of(Costs(pairs=(("b", "a", 100.0),)), ("a", "b"))
    rows = side("calib", [0.995 + number / 10000 for number in range(20)], [number % 2 == 0 for number in range(20)])
    ask = knows(rows)
    assert choose_threshold(ask, rows, decision, 100)[0] > 0
    # The cascade says b of every row, since a is dear; elsewhere a is said once where b is right.
    sure_of_b = Side(rows.rows, np.full((20, 2), 0.5) + np.linspace(0, 0.01, 20)[:, None] * [-1, 1], rows.gold)
    careless = knows(rows)
    careless.labels["calib1"] = 0
    assert choose_threshold(careless, sure_of_b, LIKELIEST, 100)[0] > 0
    assert choose_threshold(careless, sure_of_b, decision, 100)[0] == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 1), st.booleans(), st.integers(-2, 1)), min_size=2, max_size=30))
def test_what_is_chosen_gains_on_calib(rows: list[tuple[float, bool, int]]) -> None:
    calib = side("calib", [sure for sure, *_ in rows], [right for _, right, _ in rows])
    ask = Elsewhere(**{row.id: said for row, (*_, said) in zip(calib.rows, rows, strict=True)})
    threshold, _, curve = choose_threshold(ask, calib, LIKELIEST, len(rows))
    passed = calib.probs.max(axis=1) < threshold
    said = np.where(passed, [said for *_, said in rows], calib.probs.argmax(axis=1))
    gained = float((said == calib.gold).mean() - (calib.probs.argmax(axis=1) == calib.gold).mean())
    assert gained > 0 or threshold == 0
    assert any((passed.mean(), gained) == pytest.approx(one) for one in curve)
