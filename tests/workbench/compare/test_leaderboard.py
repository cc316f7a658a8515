"""The statistics over scored candidates, the verdict with its words, and the frontier."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from comparison_fakes import draw_candidates, homeowner_rows
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from labelwright.data.task import Example
from labelwright.errors import DataError
from labelwright.statistics.intervals import Interval, Resampled, mcnemar
from labelwright.statistics.metrics import Answers, answers_of
from workbench.compare.board import Entry, Leaderboard
from workbench.compare.candidate import Asking, Candidate, Repeat, Together
from workbench.compare.differences import against_best, standing
from workbench.compare.leaderboard import build
from workbench.compare.verdict import cheapest, frontier, labels_without_rows
from workbench.report.verdict_words import caution, words

NAMES = ("a", "b")


def candidate(name: str, kind: Any, right: list[bool], sure: float = 0.9, **more: Any) -> Candidate:
    """A candidate that gives the gold label ``sure`` or the rest of 1."""
    p = np.where(right, sure, 1 - sure)
    gold = np.arange(len(p)) % 2
    probs = np.where(np.arange(2) == gold[:, None], p[:, None], 1 - p[:, None])
    return Candidate(name, kind, raw=probs, probs=probs, **more)


def free(name: str, answers: list[int], **more: Any) -> Candidate:
    """A candidate in free text; answer 0 is right, 1 wrong, 2 no label."""
    said = np.eye(3)[[answer if answer == 2 else (answer + i) % 2 for i, answer in enumerate(answers)]]
    return Candidate(name, "free", raw=said, probs=said, **more)


def rows(n: int) -> list[Example]:
    return [Example(str(i), f"text {i}", NAMES[i % 2]) for i in range(n)]


def first(n: int, of: int = 100) -> list[bool]:
    """The first ``n`` rows right."""
    return [i < n for i in range(of)]


def made(*candidates: Candidate, n: int = 100, resamples: int = 500, seed: int = 0) -> Leaderboard:
    return build(candidates, rows(n), NAMES, resamples, seed)


def priced(ms: float, size: float = 1e6) -> dict[str, float]:
    return {"ms_p50": ms, "size_bytes": size}


# --- numbers ---


def test_the_best_is_the_most_often_right_and_of_equal_ones_the_better_sure() -> None:
    board = made(
        candidate("worse", "baseline", first(80)),
        candidate("timid", "llm", first(90), 0.6),
        candidate("sure", "llm", first(90), 0.9),
    )
    assert board.verdict.best == "sure"
    assert board.entry("sure").against_best is None
    assert board.entry("sure").n_only_this is None


def test_accuracy_is_tested_exactly_and_everything_else_by_the_bootstrap() -> None:
    board = made(candidate("good", "llm", first(90)), candidate("bad", "baseline", [i >= 15 for i in range(100)]))
    line = board.entry("bad")
    assert (line.n_only_this, line.n_only_best) == (10, 15)
    assert line.against_best is not None
    assert set(line.against_best) == {"accuracy", "macro_f1", "log_loss"}
    assert line.against_best["accuracy"].p_value == pytest.approx(binomtest(10, 25).pvalue)
    assert line.against_best["accuracy"].value.value == pytest.approx(-0.05)
    assert line.against_best["log_loss"].value.value > 0
    for one in line.against_best.values():
        assert one.value.low <= one.value.value <= one.value.high


def test_every_interval_says_what_its_corrected_p_value_says() -> None:
    for n in (18, 90):
        board = build(draw_candidates(homeowner_rows(n), labels_of(n)), homeowner_rows(n), labels_of(n), 300, 0)
        for line in board.candidates:
            for name, found in (line.against_best or {}).items():
                strictly_inside = found.value.low < 0 < found.value.high
                outside = found.value.low > 0 or found.value.high < 0
                assert not (outside and found.p_holm >= 0.05), (line.name, name, found)
                assert not (strictly_inside and found.p_holm < 0.05), (line.name, name, found)
                assert found.value.low < found.value.high, (line.name, name, found)


def labels_of(n: int) -> list[str]:
    return sorted({row.label for row in homeowner_rows(n)})


def test_holm_corrects_every_metric_over_the_candidates_that_have_it() -> None:
    board = made(
        candidate("best", "llm", first(90)), candidate("near", "baseline", first(89)),
        candidate("far", "baseline", first(70)),
        free("talks", [0] * 60 + [2] * 40),
    )  # fmt: skip
    found = {line.name: line.against_best for line in board.candidates if line.against_best}
    assert set(found["talks"]) == {"accuracy", "macro_f1"}
    assert found["talks"]["accuracy"].p_holm == pytest.approx(3 * mcnemar(0, 30))
    assert found["far"]["accuracy"].p_holm == pytest.approx(2 * mcnemar(0, 20))
    assert found["near"]["accuracy"].p_holm == 1
    # Two candidates besides the best have a log loss.
    assert found["far"]["log_loss"].p_holm == pytest.approx(2 * found["far"]["log_loss"].p_value)


def test_an_answer_that_is_no_label_is_wrong_and_no_label_of_its_own() -> None:
    answers = [0, 0, 2, 1, 1, 2, 0, 1]
    test = [Example(str(i), "t", label) for i, label in enumerate("aaaabbbb")]
    gold = [0] * 4 + [1] * 4
    said = np.eye(3)[answers]
    board = build([Candidate("talks", "free", raw=said, probs=said)], test, NAMES, 200, 0)
    (line,) = board.candidates
    assert set(line.test) == {"accuracy", "macro_f1"}
    assert line.raw == {}
    assert line.test["accuracy"].value == 0.5
    assert line.test["macro_f1"].value == pytest.approx(f1_score(gold, answers, labels=[0, 1], average="macro"))
    assert line.test["macro_f1"].high <= 1
    assert board.verdict.best == board.verdict.ship == "talks"


def test_a_row_without_a_usable_answer_is_wrong_and_the_verdict_says_how_many() -> None:
    silent = candidate("server", "llm", first(100), cost={"n_invalid": 30, "has_probabilities": 0})
    silent.probs[:30] = silent.raw[:30] = 0.0
    board = made(silent, candidate("words", "baseline", first(90)))
    assert board.entry("server").test["accuracy"].value == board.entry("server").raw["accuracy"].value == 0.7
    assert board.verdict.best == "words"
    assert "Without a usable answer of 100 test rows, counted as wrong: server on 30." in words(board).text
    assert "usable answer" not in words(made(candidate("words", "baseline", first(90)))).text
    assert all(suspect.suggested != NAMES[-1] for suspect in board.suspects)


def test_free_text_is_not_ranked_but_told_where_it_is_right_more_often() -> None:
    board = made(
        candidate("closed", "llm", first(60)), candidate("words", "baseline", first(59)), free("talks", [0] * 99 + [2])
    )
    assert board.verdict.best == "closed"
    assert board.verdict.free_ahead == "talks"
    assert "Free text (talks) is right on 99.0 [" in words(board).text
    assert board.entry("talks").against_best["accuracy"].value.value == pytest.approx(0.39)
    assert (
        "Free text" not in words(made(candidate("closed", "llm", first(60)), free("talks", [0] * 50 + [2] * 50))).text
    )


def test_raw_numbers_stand_beside_calibrated_ones() -> None:
    one = replace(candidate("m", "llm", first(80), 0.8), raw=candidate("", "llm", first(80), 0.999).probs)
    line = made(one).entry("m")
    assert line.raw["accuracy"] == line.test["accuracy"]
    assert line.raw["log_loss"].value > line.test["log_loss"].value


def test_groups_widen_the_intervals() -> None:
    right = [bool(i // 10 % 2) for i in range(100)]
    grouped = [replace(row, group=str(i // 10)) for i, row in enumerate(rows(100))]
    alone, together = (
        build([candidate("m", "llm", right)], test, NAMES, 1000, 0).entry("m").test["accuracy"]
        for test in (rows(100), grouped)
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_groups_are_exchanged_whole_in_the_test() -> None:
    grouped = [replace(row, group=str(i // 10)) for i, row in enumerate(rows(100))]
    board = build([candidate("m", "llm", first(100)), candidate("n", "baseline", first(90))], grouped, NAMES, 300, 0)
    assert board.entry("n").n_only_best == 10
    assert board.entry("n").against_best["accuracy"].p_value == 1.0, "ten rows of one group are one coin toss"


def test_spread_is_over_the_candidate_and_its_repeats() -> None:
    scores = [{"accuracy": a, "macro_f1": a, "log_loss": 1 - a} for a in (0.7, 0.9)]
    repeats = (Repeat(3, 1, scores[0]), Repeat(3, 2, scores[1]), Repeat(8, 1, scores[0]))
    line = made(candidate("m", "llm", first(80), repeats=repeats), seed=3).entry("m")
    fixed, varied = line.spread["split fixed"], line.spread["split varied"]
    assert (fixed.n, varied.n) == (3, 2)
    assert fixed.mean["accuracy"] == pytest.approx(0.8)
    assert fixed.sd["accuracy"] == pytest.approx(np.std([0.8, 0.7, 0.9], ddof=1))
    assert varied.sd["accuracy"] == pytest.approx(np.std([0.8, 0.7], ddof=1))
    assert set(fixed.mean) == {"accuracy", "macro_f1", "log_loss"}
    assert made(candidate("m", "llm", first(80))).entry("m").spread == {}
    assert set(made(candidate("m", "llm", first(80), repeats=repeats[:1]), seed=3).entry("m").spread) == {"split fixed"}


def test_a_failed_candidate_is_a_line_without_numbers() -> None:
    board = made(candidate("m", "llm", first(80)), Candidate("gone", "baseline", failed="no package"))
    line = board.entry("gone")
    assert (line.test, line.raw, line.against_best, line.spread) == ({}, {}, None, {})
    assert [line.name for line in board.candidates] == ["m", "gone"]


def test_nothing_scored_says_why() -> None:
    with pytest.raises(DataError, match=r"none of 1 candidates could be scored.*gone: no package"):
        made(Candidate("gone", "baseline", failed="no package"))


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"m: probabilities of shape \(80, 2\) for 100 test rows and 2 labels"):
        made(candidate("m", "llm", first(50, 80)))
    with pytest.raises(DataError, match=r"expected \(100, 3\)"):
        made(candidate("m", "free", first(50)))


def test_a_comparison_of_usual_size_takes_a_few_seconds() -> None:
    """25 candidates, 180 rows, 18 labels: 2 s on two cores."""
    few = homeowner_rows(180)
    labels = labels_of(180)
    candidates = draw_candidates(few, labels)
    begun = time.process_time()
    build(candidates, few, labels, 2000, 0)
    assert time.process_time() - begun < 30


# --- the verdict ---


def test_the_verdict_names_winner_the_as_good_and_what_to_ship() -> None:
    board = made(
        candidate("big", "llm", first(2700, 3000), cost=priced(40, 540e6)),
        candidate("mid", "baseline", first(2690, 3000), cost=priced(6, 91e6)),
        candidate("small", "baseline", first(2685, 3000), cost=priced(0.1, 1.2e6)),
        candidate("near", "baseline", first(2640, 3000), cost=priced(0.05, 1e3)),
        candidate("tiny", "baseline", first(1500, 3000), cost=priced(0.01, 1e3)),
        n=3000,
    )
    assert words(board).text.startswith("big wins: right on 90.0 [")
    assert (board.verdict.as_good, board.verdict.not_told_apart) == (("mid", "small"), ())
    assert {line.name: line.standing for line in board.candidates} == {
        "big": "best", "mid": "as good", "small": "as good", "near": "worse", "tiny": "worse",
    }  # fmt: skip
    assert (board.verdict.ship, board.verdict.why_ship) == ("small", "cheaper")
    assert (
        words(board).others == "As good within 2 points: mid and small; the others are worse (Holm-corrected p < 0.05)."
    )
    assert (
        "Ship small, as good as big within 2 points, unless 0.5 points of accuracy, 95 % interval " in words(board).text
    )
    assert "matter more than 0.1 ms a row against 40 ms (400 times faster), 1.2 MB against 540 MB." in words(board).text
    assert "\n" not in words(board).text


def test_twelve_rows_ship_no_majority() -> None:
    """24 candidates, 12 rows: all right against a third right is not told apart once corrected, and is not as good."""
    comparison = [
        candidate("majority", "baseline", first(4, 12), cost=priced(0.01, 1e3)),
        candidate("tuned", "llm", first(12, 12), 0.99, cost=priced(60, 270e6)),
        *(candidate(f"r{i}", "baseline", first(12 - i % 4, 12), cost=priced(1 + i)) for i in range(22)),
    ]
    board = made(*comparison, n=12)
    assert (board.verdict.best, board.verdict.ship, board.verdict.why_ship) == ("tuned", "tuned", "too few rows")
    assert board.verdict.least_known in board.verdict.not_told_apart
    assert board.entry("majority").standing == "not told apart"
    assert board.verdict.as_good == ()
    assert words(board).winner == "tuned wins: right on 100.0 [75.8, 100.0] % of 12 test rows."
    assert words(board).others.startswith("Too few rows to tell from it: majority, r0, r1,")
    assert words(board).others.endswith(" and 15 others.")
    assert (
        "Ship tuned: of the cheaper ones none is shown to be as good, which 12 test rows are too few"
        in words(board).text
    )
    assert board.verdict.n_rows_needed is not None
    assert board.verdict.n_rows_needed > 1000
    assert f"about {board.verdict.n_rows_needed:,} would be needed" in words(board).text


def test_no_candidate_is_shipped_that_is_not_shown_to_be_as_good() -> None:
    """Whatever the comparison: what ships is the best or has its whole interval above minus the margin."""
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 12, 60, 400, 2000):
        comparison = [
            candidate(
                f"r{i}", "baseline" if i % 2 else "llm", (rng.random(n) < share).tolist(), cost=priced(1 + (i * 7) % 5)
            )
            for i, share in enumerate([0.3, 0.7, 0.9, 0.9, 0.95])
        ]
        for margin in (0.01, 0.1):
            board = build(comparison, rows(n), NAMES, 100, 0, margin)
            shipped = board.entry(board.verdict.ship)
            assert shipped.standing == "best" or shipped.against_best["accuracy"].value.low > -margin


def test_an_interval_below_zero_is_worse() -> None:
    """76.7 against 85.6 % with -16.7 to -1.7 points between them was called the same."""
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(150):
        best, other = rng.random(180) < 0.856, rng.random(180) < 0.767
        board = made(
            candidate("a", "llm", best.tolist()), candidate("b", "baseline", other.tolist()), n=180, resamples=50
        )
        for line in board.candidates:
            if line.standing == "best":
                continue
            found = line.against_best["accuracy"].value
            seen.add(line.standing)
            assert (line.standing == "worse") == (found.high <= 0 and line.against_best["accuracy"].p_holm < 0.05)
            if found.high < 0:
                assert line.standing == "worse"
    assert seen >= {"worse", "not told apart"}


def test_as_good_is_seldom_said_of_what_is_worse_by_the_margin() -> None:
    """Ten candidates that lose just the margin: in about one comparison of forty any of them is called as good."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(120):
        best = rng.random(1500) < 0.9
        answers = {"best": best}
        for i in range(10):
            # Two of a hundred rows more are wrong, and three changed both ways.
            answers[f"r{i}"] = np.where(rng.random(1500) < 0.06, rng.random(1500) < 0.9 - 0.02 / 0.06, best)
        found = {name: (right_of(one, 1500)) for name, one in answers.items()}
        none = {name: {"accuracy": Resampled(0.0, np.zeros(1))} for name in found}
        against = against_best("best", found, none, np.arange(1500) % 2, None)
        wrong += any(standing(one["accuracy"], 0.02) == "as good" for one in against.values())
    assert wrong <= 10


def right_of(right: np.ndarray, n: int) -> Answers:
    return answers_of(candidate("", "llm", right.tolist()).probs, np.arange(n) % 2)


def test_the_winner_ships_where_nothing_as_good_is_cheaper() -> None:
    near = made(
        candidate("m", "llm", first(2700, 3000), cost=priced(1)),
        candidate("n", "baseline", first(2699, 3000), cost=priced(2)),
        candidate("o", "baseline", first(20, 3000), cost=priced(0.1)),
        n=3000,
    )
    assert (near.verdict.ship, near.verdict.as_good, near.verdict.why_ship) == ("m", ("n",), "none cheaper")
    assert "Ship m: nothing as good answers clearly faster." in words(near).text
    alone = made(candidate("m", "llm", first(90)), candidate("n", "baseline", first(20)))
    assert alone.verdict.as_good == alone.verdict.not_told_apart == ()
    assert (alone.verdict.why_ship, alone.verdict.least_known) == ("none as good", None)
    assert "Every other candidate is worse (Holm-corrected p < 0.05). Ship m." in words(alone).text


def test_a_winner_by_log_loss_alone_loses_no_points() -> None:
    comparison = [
        candidate("m", "llm", first(900, 1000), 0.95, cost=priced(9)),
        candidate("n", "baseline", first(900, 1000), 0.8, cost=priced(1)),
    ]
    board = made(*comparison, n=1000)
    assert (board.verdict.best, board.verdict.ship) == ("m", "n")
    assert "Ship n, as good as m within 2 points, with 1 ms a row against 9 ms (9.0 times faster)" in words(board).text
    assert "it loses 0.0 points of accuracy" in words(board).text


def test_equal_answers_on_few_rows_are_not_as_good() -> None:
    board = made(
        candidate("m", "llm", first(10, 10), 0.95, cost=priced(9)),
        candidate("n", "baseline", first(10, 10), cost=priced(1)),
        n=10,
    )
    assert (board.verdict.ship, board.verdict.not_told_apart) == ("m", ("n",))


def test_the_margin_is_the_recipes() -> None:
    comparison = [
        candidate("m", "llm", first(900, 1000), cost=priced(9)),
        candidate("n", "baseline", first(880, 1000), cost=priced(1)),
    ]
    for margin, ship in ((0.02, "m"), (0.05, "n")):
        board = build(comparison, rows(1000), NAMES, 100, 0, margin)
        assert (board.verdict.ship, board.verdict.margin) == (ship, margin)


def test_unknown_costs_are_not_made_up() -> None:
    n = 3000
    board = made(candidate("m", "llm", first(2700, n)), candidate("n", "baseline", first(2690, n)), n=n)
    assert board.verdict.ship == "m"
    board = made(
        candidate("m", "llm", first(2700, n)), candidate("n", "baseline", first(2690, n), cost={"ms_p50": 3.0}), n=n
    )
    assert "Ship n, as good as m within 2 points, unless 0.3 points of accuracy" in words(board).text
    assert "matter more than 3 ms a row." in words(board).text


def test_free_text_is_never_shipped() -> None:
    answers = [0] * 2690 + [2] * 310
    board = made(candidate("m", "llm", first(2700, 3000), cost=priced(9)), free("t", answers, cost=priced(1)), n=3000)
    assert board.verdict.as_good == ("t",)
    assert board.verdict.ship == "m"


def test_free_text_alone_is_best_and_nothing_breaks() -> None:
    board = made(free("t", [0] * 60 + [2] * 40))
    assert (board.verdict.best, board.verdict.ship) == ("t", "t")


def test_few_rows_are_a_caution() -> None:
    few = made(candidate("m", "llm", first(18, 20)), candidate("n", "baseline", [i > 3 for i in range(20)]), n=20)
    assert "Caution: with 20 test rows, the accuracy of n minus that of m may be anything from -" in words(few).text
    many = made(candidate("m", "llm", first(1800, 2000)), candidate("n", "baseline", first(1799, 2000)), n=2000)
    assert many.verdict.as_good == ("n",)
    assert "Caution" not in words(many).text


@pytest.mark.parametrize("n", [1, 2, 3])
def test_hardly_any_rows_are_no_reason_to_break(n: int) -> None:
    board = made(candidate("m", "llm", first(n, n), 0.95), candidate("n", "baseline", first(0, n)), n=n, resamples=50)
    assert board.verdict.best == "m"
    assert board.entry("n").standing == "not told apart"
    assert board.entry("m").test["accuracy"].low < 0.5
    grouped = [replace(row, group="one") for row in rows(n)]
    build([candidate("m", "llm", first(n, n)), candidate("n", "baseline", first(0, n))], grouped, NAMES, 50, 0)


def test_no_rows_at_all_are_said() -> None:
    with pytest.raises(DataError, match="there are no test rows"):
        build([candidate("m", "llm", [])], [], NAMES, 50, 0)


# --- rows that cannot tell ---


def test_one_label_on_test_is_said_first_and_breaks_nothing() -> None:
    test = [Example(str(i), f"text {i}", "a") for i in range(12)]
    probs = np.tile([0.9, 0.1], (12, 1))
    candidates = [
        Candidate("majority", "baseline", raw=probs, probs=probs, cost=priced(1)),
        Candidate("m", "llm", raw=probs, probs=probs),
    ]
    board = build(candidates, test, NAMES, 100, 0)
    assert board.verdict.why_ship == "one label"
    assert board.test_rows.without_rows == ("b",)
    said = words(board)
    assert said.caution == (
        'All 12 test rows have the label "a": accuracy here is how often a candidate answers "a", and says nothing of '
        "the other label."
    )
    assert said.text.index(said.caution) < said.text.index("Ship nothing")


def test_labels_without_a_test_row_are_named() -> None:
    def said_of(labels: Sequence[str], names: Sequence[str]) -> str:
        rows = [Example(str(i), "t", label) for i, label in enumerate(labels)]
        return caution(len(rows), names, labels_without_rows(rows, names))

    assert said_of("ac", "abc") == '1 of 3 labels has no test row, so nothing here speaks of "b".'
    many = said_of("02", [str(i) for i in range(100)])
    assert many.startswith('98 of 100 labels have no test row, so nothing here speaks of "1", "3", "4",')
    assert many.endswith('"9" and 90 others.')
    assert said_of("ab", "ab") == said_of("", "ab") == ""
    assert "\x1b" not in said_of("ac", ["a", "\x1b[2J", "c"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5])
@pytest.mark.parametrize("where", ["raw", "probs"])
def test_a_candidate_whose_probabilities_are_none_has_failed(bad: float, where: str) -> None:
    broken = candidate("broken", "llm", first(90))
    spoilt = getattr(broken, where).copy()
    spoilt[7, 0] = bad
    board = made(replace(broken, **{where: spoilt}), candidate("n", "baseline", first(50)))
    assert "is no probability" in board.entry("broken").failed
    assert board.entry("broken").test == {}
    assert board.verdict.best == board.verdict.ship == "n"
    with pytest.raises(DataError, match="none of 1 candidates could be scored"):
        made(replace(broken, **{where: spoilt}))


def test_a_repeat_without_numbers_is_left_out() -> None:
    scores = {"accuracy": 0.7, "macro_f1": 0.7, "log_loss": float("nan")}
    line = made(candidate("m", "llm", first(80), repeats=(Repeat(3, 1, scores),)), seed=3).entry("m")
    assert set(line.spread["split fixed"].mean) == {"accuracy", "macro_f1"}


def test_a_winning_baseline_is_named_with_its_interval() -> None:
    board = made(candidate("sgd", "baseline", first(90)), candidate("grpo", "llm", first(60), step="1"))
    assert "A baseline beats the tuned model (grpo): sgd 90.0 % against 60.0 % on test" in words(board).text
    assert "30.0 points of accuracy, 95 % interval 2" in words(board).text
    assert "leaves out 0" in words(board).text
    assert board.verdict.difference is not None
    assert board.verdict.difference.value == pytest.approx(0.3)
    assert board.verdict.p_value == mcnemar(30, 0)
    assert (board.verdict.worth, board.verdict.sure) == ("baseline", "told apart")
    assert (board.verdict.best, board.verdict.best_baseline, board.verdict.tuned) == ("sgd", "sgd", "grpo")


def test_a_winning_model_is_said_to_win_and_chance_is_called_chance() -> None:
    board = made(candidate("sgd", "baseline", first(49)), candidate("grpo", "llm", [i >= 50 for i in range(100)]))
    assert "The tuned model (grpo) beats every baseline: 50.0 % against 49.0 % of sgd" in words(board).text
    assert "ahead by 1.0 points of accuracy" in words(board).text
    assert "may be chance" in words(board).text
    assert (board.verdict.worth, board.verdict.sure) == ("model", "chance")


def test_equal_ones_are_called_equal() -> None:
    board = made(candidate("sgd", "baseline", first(50)), candidate("grpo", "llm", first(50)))
    assert "are equally often right on test, 50.0 % each" in words(board).text
    assert (board.verdict.worth, board.verdict.sure) == ("equal", "chance")


def test_the_tuned_model_is_the_best_one_that_was_tuned() -> None:
    comparison = [
        candidate("sgd", "baseline", first(40)), candidate("untuned", "llm", first(80)),
        candidate("grpo", "llm", first(70)),
        candidate("gepa", "llm", first(60)), candidate("untuned@code", "llm", first(90)),
    ]  # fmt: skip
    assert made(*comparison).verdict.tuned == "grpo"
    only = made(*comparison[:2])
    assert only.verdict.tuned == "untuned"
    assert "The untuned model beats every baseline" in words(only).text


def test_one_side_alone_says_nothing_of_tuning() -> None:
    models = made(candidate("a", "llm", first(80)), candidate("b", "llm", first(70)))
    assert "No baseline ran, so nothing can be said about whether a tuned model is worth it." in words(models).text
    baselines = made(candidate("a", "baseline", first(80)), candidate("b", "baseline", first(70)))
    assert (models.verdict.worth, baselines.verdict.worth) == ("no baseline", "no model")
    assert "No model ran" in words(baselines).text
    assert baselines.verdict.tuned is baselines.verdict.best_baseline is baselines.verdict.difference is None
    assert words(made(candidate("a", "llm", first(80)))).text.startswith("a is the only candidate that could be scored")


# --- the frontier ---


def entry(name: str, accuracy: float, ms: float | None, size: float = 1.0) -> Entry:
    cost = {"ms_p50": ms, "size_bytes": size}
    return Entry(name, "baseline", cost=cost, test={"accuracy": Interval(accuracy, accuracy, accuracy)})


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    lines = [
        entry("slow", 0.95, 50), entry("fast", 0.7, 1), entry("beaten", 0.69, 2), entry("mid", 0.9, 5),
        entry("as", 0.9, 6), entry("untimed", 1.0, None), Entry("gone", "baseline", failed="no"), entry("twin", 0.9, 5),
    ]  # fmt: skip
    assert frontier(lines) == ("fast", "mid", "slow")


def test_cheap_is_fast_then_small_then_right() -> None:
    assert cheapest([entry("a", 0.9, 5), entry("b", 0.8, 1)]).name == "b"
    assert cheapest([entry("a", 0.9, 1.05, 9), entry("b", 0.8, 1, 1)]).name == "b"
    assert cheapest([entry("a", 0.9, 1.05, 1), entry("b", 0.8, 1, 1)]).name == "a"
    assert cheapest([entry("a", 0.9, None), entry("b", 0.8, 7)]).name == "b"


def test_the_board_holds_its_frontier() -> None:
    board = made(
        candidate("m", "llm", first(90), cost=priced(9)), candidate("n", "baseline", first(50), cost=priced(1))
    )
    assert board.frontier == ("n", "m")


@pytest.mark.parametrize("ms", [1.0, 3.0])
def test_a_cascade_of_one_member_is_neither_best_nor_shipped_in_its_place(ms):
    """It answers what its member does, a little surer; a hosted model is behind it, unmeasured here."""
    alone = Together((Asking({"words": 1.0}, None, 1.0, 0.9),), "log", "words")
    cascade = candidate("cascade", "together", first(90), 0.9, cost=priced(ms), together=alone)
    member = candidate("words", "baseline", first(90), 0.8, cost=priced(2))
    board = made(member, cascade)
    assert (board.verdict.best, board.verdict.ship, board.verdict.gain) == ("words", "words", None)
    of_two = replace(alone, levels=(Asking({"words": 0.5, "chars": 0.5}, None, 1.0, 0.9),))
    several = made(member, replace(cascade, together=of_two))
    assert several.verdict.best == several.verdict.gain.together == "cascade"
