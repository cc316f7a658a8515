"""The statistics over scored rungs, the verdict in words, and the frontier."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ladder_fakes import draw_rungs, homeowner_rows
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from labelwright.errors import DataError
from labelwright.intervals import Interval, mcnemar
from labelwright.task import Example
from workbench.board import Leaderboard, Line
from workbench.frontier import cheapest, frontier
from workbench.leaderboard import build
from workbench.rungs import Repeat, Rung

NAMES = ("a", "b")


def rung(name: str, kind: Any, right: list[bool], sure: float = 0.9, **more: Any) -> Rung:
    """A rung that gives the gold label "a" ``sure`` or the rest of 1."""
    p = np.where(right, sure, 1 - sure)
    probs = np.stack([p, 1 - p], axis=1)
    return Rung(name, kind, raw=probs, probs=probs, **more)


def free(name: str, answers: list[int], **more: Any) -> Rung:
    """A rung in free text; answer 2 is no label."""
    said = np.eye(3)[answers]
    return Rung(name, "free", raw=said, probs=said, **more)


def rows(n: int) -> list[Example]:
    return [Example(str(i), f"text {i}", "a") for i in range(n)]


def first(n: int, of: int = 100) -> list[bool]:
    """The first ``n`` rows right."""
    return [i < n for i in range(of)]


def made(*rungs: Rung, n: int = 100, resamples: int = 500, seed: int = 0) -> Leaderboard:
    return build(rungs, rows(n), NAMES, resamples, seed)


def priced(ms: float, size: float = 1e6) -> dict[str, float]:
    return {"ms_p50": ms, "size_bytes": size}


# --- numbers ---


def test_the_best_is_the_most_often_right_and_of_equal_ones_the_better_sure() -> None:
    board = made(
        rung("worse", "baseline", first(80)), rung("timid", "llm", first(90), 0.6), rung("sure", "llm", first(90), 0.9)
    )
    assert board.verdict.best == "sure"
    assert board.line("sure").against_best is None
    assert board.line("sure").n_only_this is None


def test_accuracy_is_tested_exactly_and_everything_else_by_the_bootstrap() -> None:
    board = made(rung("good", "llm", first(90)), rung("bad", "baseline", [i >= 15 for i in range(100)]))
    line = board.line("bad")
    assert (line.n_only_this, line.n_only_best) == (10, 15)
    assert line.against_best is not None
    assert set(line.against_best) == {"accuracy", "macro_f1", "log_loss"}
    assert line.against_best["accuracy"].p_value == pytest.approx(binomtest(10, 25).pvalue)
    assert line.against_best["accuracy"].value.value == pytest.approx(-0.05)
    assert line.against_best["log_loss"].value.value > 0
    for one in line.against_best.values():
        assert one.value.low <= one.value.value <= one.value.high


def test_a_bootstrap_p_value_agrees_with_its_interval() -> None:
    board = build(draw_rungs(homeowner_rows(90), labels_of(90)), homeowner_rows(90), labels_of(90), 1000, 0)
    for line in board.lines:
        for name in ("macro_f1", "log_loss"):
            found = (line.against_best or {}).get(name)
            # At the edge the two may differ by the one resample that the p-value adds.
            if found and not 0.03 < found.p_value < 0.07:
                assert (found.p_value < 0.05) == (not found.value.low <= 0 <= found.value.high), (line.rung.name, name)


def labels_of(n: int) -> list[str]:
    return sorted({row.label for row in homeowner_rows(n)})


def test_holm_corrects_every_metric_over_the_rungs_that_have_it() -> None:
    board = made(
        rung("best", "llm", first(90)), rung("near", "baseline", first(89)), rung("far", "baseline", first(70)),
        free("talks", [0] * 60 + [2] * 40),
    )  # fmt: skip
    found = {line.rung.name: line.against_best for line in board.lines if line.against_best}
    assert set(found["talks"]) == {"accuracy", "macro_f1"}
    assert found["talks"]["accuracy"].p_holm == pytest.approx(3 * mcnemar(0, 30))
    assert found["far"]["accuracy"].p_holm == pytest.approx(2 * mcnemar(0, 20))
    assert found["near"]["accuracy"].p_holm == 1
    # Two rungs besides the best have a log loss.
    assert found["far"]["log_loss"].p_holm == pytest.approx(2 * found["far"]["log_loss"].p_value)


def test_an_answer_that_is_no_label_is_wrong_and_no_label_of_its_own() -> None:
    answers = [0, 0, 2, 1, 1, 2, 0, 1]
    test = [Example(str(i), "t", label) for i, label in enumerate("aaaabbbb")]
    gold = [0] * 4 + [1] * 4
    board = build([free("talks", answers)], test, NAMES, 200, 0)
    (line,) = board.lines
    assert set(line.test) == {"accuracy", "macro_f1"}
    assert line.raw == {}
    assert line.test["accuracy"].value == 0.5
    assert line.test["macro_f1"].value == pytest.approx(f1_score(gold, answers, labels=[0, 1], average="macro"))
    assert line.test["macro_f1"].high <= 1
    assert board.verdict.best == board.verdict.ship == "talks"


def test_free_text_is_not_ranked_but_told_where_it_is_right_more_often() -> None:
    board = made(rung("closed", "llm", first(60)), rung("words", "baseline", first(59)), free("talks", [0] * 99 + [2]))
    assert board.verdict.best == "closed"
    assert "Free text (talks) is right on 99.0 [" in board.verdict.text
    assert board.line("talks").against_best["accuracy"].value.value == pytest.approx(0.39)
    assert "Free text" not in made(rung("closed", "llm", first(60)), free("talks", [0] * 50 + [2] * 50)).verdict.text


def test_raw_numbers_stand_beside_calibrated_ones() -> None:
    one = replace(rung("m", "llm", first(80), 0.8), raw=rung("", "llm", first(80), 0.999).probs)
    line = made(one).line("m")
    assert line.raw["accuracy"] == line.test["accuracy"]
    assert line.raw["log_loss"].value > line.test["log_loss"].value


def test_groups_widen_the_intervals() -> None:
    right = [bool(i // 10 % 2) for i in range(100)]
    grouped = [Example(row.id, row.text, "a", group=str(i // 10)) for i, row in enumerate(rows(100))]
    alone, together = (
        build([rung("m", "llm", right)], test, NAMES, 1000, 0).line("m").test["accuracy"]
        for test in (rows(100), grouped)
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_groups_are_exchanged_whole_in_the_test() -> None:
    grouped = [Example(row.id, row.text, "a", group=str(i // 10)) for i, row in enumerate(rows(100))]
    board = build([rung("m", "llm", first(100)), rung("n", "baseline", first(90))], grouped, NAMES, 300, 0)
    assert board.line("n").n_only_best == 10
    assert board.line("n").against_best["accuracy"].p_value == 1.0, "ten rows of one group are one coin toss"


def test_spread_is_over_the_rung_and_its_repeats() -> None:
    scores = [{"accuracy": a, "macro_f1": a, "log_loss": 1 - a} for a in (0.7, 0.9)]
    repeats = (Repeat(3, 1, scores[0]), Repeat(3, 2, scores[1]), Repeat(8, 1, scores[0]))
    line = made(rung("m", "llm", first(80), repeats=repeats), seed=3).line("m")
    fixed, varied = line.spread["split fixed"], line.spread["split varied"]
    assert (fixed.n, varied.n) == (3, 2)
    assert fixed.mean["accuracy"] == pytest.approx(0.8)
    assert fixed.sd["accuracy"] == pytest.approx(np.std([0.8, 0.7, 0.9], ddof=1))
    assert varied.sd["accuracy"] == pytest.approx(np.std([0.8, 0.7], ddof=1))
    assert set(fixed.mean) == {"accuracy", "macro_f1", "log_loss"}
    assert made(rung("m", "llm", first(80))).line("m").spread == {}
    assert set(made(rung("m", "llm", first(80), repeats=repeats[:1]), seed=3).line("m").spread) == {"split fixed"}


def test_a_failed_rung_is_a_line_without_numbers() -> None:
    board = made(rung("m", "llm", first(80)), Rung("gone", "baseline", failed="no package"))
    line = board.line("gone")
    assert (line.test, line.raw, line.against_best, line.spread) == ({}, {}, None, {})
    assert [line.rung.name for line in board.lines] == ["m", "gone"]


def test_nothing_scored_says_why() -> None:
    with pytest.raises(DataError, match=r"none of 1 rungs could be scored.*gone: no package"):
        made(Rung("gone", "baseline", failed="no package"))


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"m: probabilities of shape \(80, 2\) for 100 test rows and 2 labels"):
        made(rung("m", "llm", first(50, 80)))
    with pytest.raises(DataError, match=r"expected \(100, 3\)"):
        made(rung("m", "free", first(50)))


def test_a_ladder_of_usual_size_takes_a_few_seconds() -> None:
    """25 rungs, 180 rows, 18 labels: 2 s on two cores."""
    few = homeowner_rows(180)
    labels = labels_of(180)
    rungs = draw_rungs(few, labels)
    begun = time.process_time()
    build(rungs, few, labels, 2000, 0)
    assert time.process_time() - begun < 30


# --- the verdict ---


def test_the_verdict_names_winner_noise_and_what_to_ship() -> None:
    board = made(
        rung("big", "llm", first(90), cost=priced(40, 540e6)),
        rung("mid", "baseline", first(89), cost=priced(6, 91e6)),
        rung("small", "baseline", first(87), cost=priced(0.1, 1.2e6)),
        rung("tiny", "baseline", first(50), cost=priced(0.01, 1e3)),
    )
    verdict = board.verdict
    assert verdict.text.startswith("big wins: right on 90.0 [")
    assert verdict.within_noise == ("mid", "small")
    assert verdict.ship == "small"
    assert "within noise of it (Holm-corrected p >= 0.05): mid and small." in verdict.text
    assert "Ship small unless 3.0 points of accuracy, 95 % interval " in verdict.text
    assert "matter more than 0.1 ms a row against 40 ms (400 times faster), 1.2 MB against 540 MB." in verdict.text
    assert "\n" not in verdict.text


def test_the_winner_ships_where_nothing_near_is_cheaper() -> None:
    near = made(
        rung("m", "llm", first(90), cost=priced(1)),
        rung("n", "baseline", first(89), cost=priced(2)),
        rung("o", "baseline", first(20), cost=priced(0.1)),
    ).verdict
    assert near.ship == "m"
    assert "Ship m: nothing within noise of it answers clearly faster." in near.text
    alone = made(rung("m", "llm", first(90)), rung("n", "baseline", first(20))).verdict
    assert alone.within_noise == ()
    assert "every other rung is told apart from it (Holm-corrected p < 0.05). Ship m." in alone.text


def test_a_winner_by_log_loss_alone_loses_no_points() -> None:
    verdict = made(
        rung("m", "llm", first(90), 0.95, cost=priced(9)), rung("n", "baseline", first(90), 0.8, cost=priced(1))
    ).verdict
    assert (verdict.best, verdict.ship) == ("m", "n")
    assert "Ship n: it is as often right (it loses 0.0 points of accuracy" in verdict.text


def test_unknown_costs_are_not_made_up() -> None:
    verdict = made(rung("m", "llm", first(90)), rung("n", "baseline", first(89))).verdict
    assert verdict.ship == "m"
    verdict = made(rung("m", "llm", first(90)), rung("n", "baseline", first(89), cost={"ms_p50": 3.0})).verdict
    assert "Ship n unless 1.0 points of accuracy" in verdict.text
    assert "matter more than 3 ms a row." in verdict.text


def test_free_text_is_never_shipped() -> None:
    verdict = made(rung("m", "llm", first(90), cost=priced(9)), free("t", [0] * 89 + [2] * 11, cost=priced(1))).verdict
    assert verdict.within_noise == ("t",)
    assert verdict.ship == "m"


def test_few_rows_are_a_caution() -> None:
    few = made(rung("m", "llm", first(18, 20)), rung("n", "baseline", [i > 3 for i in range(20)]), n=20).verdict
    assert "Caution: with 20 test rows, within noise says little; the accuracy of n minus that of m" in few.text
    many = made(rung("m", "llm", first(1800, 2000)), rung("n", "baseline", first(1799, 2000)), n=2000).verdict
    assert many.within_noise == ("n",)
    assert "Caution" not in many.text


def test_a_winning_baseline_is_named_with_its_interval() -> None:
    verdict = made(rung("sgd", "baseline", first(90)), rung("grpo", "llm", first(60), step="1")).verdict
    assert "A baseline beats the tuned model (grpo): sgd 90.0 % against 60.0 % on test" in verdict.text
    assert "30.0 points of accuracy, 95 % interval 2" in verdict.text
    assert "leaves out 0" in verdict.text
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(0.3)
    assert verdict.p_value == mcnemar(30, 0)
    assert (verdict.best, verdict.best_baseline, verdict.tuned) == ("sgd", "sgd", "grpo")


def test_a_winning_model_is_said_to_win_and_chance_is_called_chance() -> None:
    verdict = made(rung("sgd", "baseline", first(49)), rung("grpo", "llm", [i >= 50 for i in range(100)])).verdict
    assert "The tuned model (grpo) beats every baseline: 50.0 % against 49.0 % of sgd" in verdict.text
    assert "ahead by 1.0 points of accuracy" in verdict.text
    assert "may be chance" in verdict.text


def test_equal_ones_are_called_equal() -> None:
    verdict = made(rung("sgd", "baseline", first(50)), rung("grpo", "llm", first(50))).verdict
    assert "are equally often right on test, 50.0 % each" in verdict.text


def test_the_tuned_model_is_the_best_one_that_was_tuned() -> None:
    ladder = [
        rung("sgd", "baseline", first(40)), rung("untuned", "llm", first(80)), rung("grpo", "llm", first(70)),
        rung("gepa", "llm", first(60)), rung("untuned@code", "llm", first(90)),
    ]  # fmt: skip
    assert made(*ladder).verdict.tuned == "grpo"
    only = made(*ladder[:2]).verdict
    assert only.tuned == "untuned"
    assert "The untuned model beats every baseline" in only.text


def test_one_side_alone_says_nothing_of_tuning() -> None:
    models = made(rung("a", "llm", first(80)), rung("b", "llm", first(70))).verdict
    assert "No baseline ran, so nothing can be said about whether a tuned model is worth it." in models.text
    baselines = made(rung("a", "baseline", first(80)), rung("b", "baseline", first(70))).verdict
    assert "No model ran" in baselines.text
    assert (baselines.tuned, baselines.best_baseline, baselines.difference) == (None, None, None)
    assert made(rung("a", "llm", first(80))).verdict.text.startswith("a is the only rung that could be scored")


# --- the frontier ---


def line(name: str, accuracy: float, ms: float | None, size: float = 1.0) -> Line:
    cost = {"ms_p50": ms, "size_bytes": size}
    return Line(Rung(name, "baseline", cost=cost), {"accuracy": Interval(accuracy, accuracy, accuracy)})


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    lines = [
        line("slow", 0.95, 50), line("fast", 0.7, 1), line("beaten", 0.69, 2), line("mid", 0.9, 5), line("as", 0.9, 6),
        line("untimed", 1.0, None), Line(Rung("gone", "baseline", failed="no")), line("twin", 0.9, 5),
    ]  # fmt: skip
    assert frontier(lines) == ("fast", "mid", "slow")


def test_cheap_is_fast_then_small_then_right() -> None:
    assert cheapest([line("a", 0.9, 5), line("b", 0.8, 1)]).rung.name == "b"
    assert cheapest([line("a", 0.9, 1.05, 9), line("b", 0.8, 1, 1)]).rung.name == "b"
    assert cheapest([line("a", 0.9, 1.05, 1), line("b", 0.8, 1, 1)]).rung.name == "a"
    assert cheapest([line("a", 0.9, None), line("b", 0.8, 7)]).rung.name == "b"


def test_the_board_holds_its_frontier() -> None:
    board = made(rung("m", "llm", first(90), cost=priced(9)), rung("n", "baseline", first(50), cost=priced(1)))
    assert board.frontier == ("n", "m")
