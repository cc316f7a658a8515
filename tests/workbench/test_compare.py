"""The comparison over the fakes: what it writes, and that it keeps what it has scored."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.intervals import Interval
from labelwright.metrics import accuracy
from labelwright.task import Example
from workbench.cli import main
from workbench.compare import Rung, free_generation, llm_rungs
from workbench.leaderboard import build, holm
from workbench.plots import chosen_curves
from workbench.report import wilson

ROOT = Path(__file__).parents[2]
NAMES = ("a", "b")


def read(run: Path) -> dict:
    return json.loads((run / "report.json").read_text())


def rung(name: str, kind: str, right: list[bool], step: str | None = None) -> Rung:
    """A rung that gives the gold label "a" 0.9 or 0.1."""
    p = np.where(right, 0.9, 0.1)
    return Rung(name, kind, step, probs=np.stack([p, 1 - p], axis=1))


def rows(n: int) -> list[Example]:
    return [Example(str(i), f"text {i}", "a") for i in range(n)]


def test_the_report_follows_its_schema(demo_run: Path) -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read(demo_run), schema)


def test_every_rung_is_there_in_the_ladders_order(demo_run: Path) -> None:
    names = [one["name"] for one in read(demo_run)["rungs"]]
    assert names == ["majority", "words", "absent", "untuned", "gepa", "grpo", "calibrate"]


def test_intervals_hold_their_values(demo_run: Path) -> None:
    for one in read(demo_run)["rungs"]:
        for name, interval in one["test"].items():
            if interval is not None:
                assert interval["low"] <= interval["value"] <= interval["high"], (one["name"], name)


def test_a_rung_that_cannot_run_says_why_and_the_rest_go_on(demo_run: Path) -> None:
    (absent,) = (one for one in read(demo_run)["rungs"] if one["name"] == "absent")
    assert "absent needs a package" in absent["failed"]
    assert "absent is left out: absent needs a package" in (demo_run / "report.md").read_text()


def test_rows_hold_every_classifiers_probabilities(demo_run: Path) -> None:
    written = [json.loads(line) for line in (demo_run / "rows.jsonl").read_text().splitlines()]
    test_ids = json.loads((demo_run / "splits.json").read_text())["ids"]["test"]
    assert [row["id"] for row in written] == test_ids
    report = read(demo_run)
    for one in report["rungs"]:
        if one["failed"]:
            continue
        answers = [row["rungs"][one["name"]] for row in written]
        probs = np.array([[answer["probabilities"][name] for name in report["labels"]] for answer in answers])
        assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
        gold = np.array([report["labels"].index(row["label"]) for row in written])
        assert accuracy(probs, gold) == pytest.approx(one["test"]["accuracy"]["value"])
        assert [answer["label"] for answer in answers] == [report["labels"][k] for k in probs.argmax(axis=1)]


def test_the_first_line_of_the_report_is_the_verdict(demo_run: Path) -> None:
    assert (demo_run / "report.md").read_text().splitlines()[0] == read(demo_run)["verdict"]["text"]


def test_the_report_says_what_a_reader_needs(demo_run: Path) -> None:
    text = (demo_run / "report.md").read_text()
    for part in (
        "make compare",
        "split digest",
        "95 % bootstrap",
        "proposals: 3",
        "curve dev_accuracy",
        "Most confused",
    ):
        assert part in text or (part == "Most confused" and "No row is confused" in text), part
    for name in ("accuracy", "reliability", "risk-coverage", "curves"):
        assert (demo_run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_only_models_have_valid_labels_and_prompt_tokens(demo_run: Path) -> None:
    for one in read(demo_run)["rungs"]:
        if not one["failed"]:
            is_model = one["kind"] == "llm"
            assert (one["test"]["valid_labels"] is not None) == is_model
            assert (one["cost"]["prompt_tokens"] is not None) == is_model


def test_training_time_adds_up_over_the_stages(demo_run: Path) -> None:
    state = json.loads((demo_run / "state.json").read_text())
    seconds = {step["folder"]: step["seconds"] for step in state["steps"]}
    cost = {one["step"]: one["cost"]["seconds_to_train"] for one in read(demo_run)["rungs"] if one["step"]}
    assert cost["0-untuned"] == 0
    assert cost["2-grpo"] == pytest.approx(seconds["1-gepa"] + seconds["2-grpo"])


def test_a_later_compare_scores_only_what_is_new(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench import compare

    main(["optimize", "toy.toml"])
    scored: list[str] = []
    measure = compare._measure
    monkeypatch.setattr(compare, "_measure", lambda *a: scored.append("one") or measure(*a))
    main(["compare", "toy.toml"])
    assert len(scored) == 4
    main(["train", "toy.toml"])
    main(["compare", "toy.toml"])
    assert len(scored) == 5
    main(["compare", "toy.toml", "--force"])
    assert len(scored) == 10


def test_only_one_function_reads_the_test_rows() -> None:
    readers = []
    for folder in ("labelwright", "workbench", "optimizers", "baselines", "programs", "rewards"):
        for path in (ROOT / folder).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    reads = [
                        node for node in ast.walk(function) if isinstance(node, ast.Attribute) and node.attr == "test"
                    ]
                    readers += [(path.name, function.name) for node in reads if "splits" in ast.unparse(node.value)]
    assert readers == [("compare.py", "read_test")]


def test_a_winning_baseline_is_named_first_with_its_interval() -> None:
    rungs = [rung("sgd", "baseline", [True] * 90 + [False] * 10), rung("grpo", "llm", [True] * 60 + [False] * 40, "1")]
    verdict = build(rungs, rows(100), NAMES, 500, 0).verdict
    assert verdict.text.startswith("A baseline beats the tuned model (grpo): sgd 90.0 % against 60.0 % on test")
    assert "30.0 points of accuracy, 95 % interval 2" in verdict.text
    assert "leaves out 0" in verdict.text
    assert verdict.difference is not None
    assert verdict.difference.value == pytest.approx(0.3)
    assert (verdict.best, verdict.best_baseline, verdict.tuned) == ("sgd", "sgd", "grpo")


def test_a_winning_model_is_said_to_win_and_chance_is_called_chance() -> None:
    rungs = [
        rung("sgd", "baseline", [True] * 49 + [False] * 51),
        rung("grpo", "llm", [False] * 50 + [True] * 50, "1"),
    ]
    verdict = build(rungs, rows(100), NAMES, 500, 0).verdict
    assert verdict.text.startswith("The tuned model (grpo) beats every baseline: 50.0 % against 49.0 % of sgd")
    assert "may be chance" in verdict.text


def test_groups_widen_the_intervals() -> None:
    right = [bool(i // 10 % 2) for i in range(100)]
    grouped = [Example(row.id, row.text, "a", group=str(i // 10)) for i, row in enumerate(rows(100))]
    alone, together = (
        build([rung("m", "llm", right)], test, NAMES, 1000, 0).line("m").test["accuracy"]
        for test in (rows(100), grouped)
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_holm_is_never_below_the_plain_value_and_keeps_the_order() -> None:
    plain = {"a": 0.01, "b": 0.02, "c": 0.5, "d": 0.9}
    corrected = holm(plain)
    assert corrected == pytest.approx({"a": 0.04, "b": 0.06, "c": 1.0, "d": 1.0})


def test_repeated_stages_get_numbers() -> None:
    steps = [{"stage": name} for name in ("untuned", "gepa", "grpo", "gepa")]
    assert [name for name, _ in llm_rungs(steps)] == ["untuned", "gepa", "grpo", "gepa-2"]


def test_free_generation_counts_valid_and_right_answers() -> None:
    class Says(FakeEngine):
        def generate(self, prompts, max_new_tokens=8):
            return [" pool\nand more", "fence", "a fence, I think", "Pool"]

    rows = [row for row in toy_splits().train if row.label == "pool"][:4]
    found = free_generation(Says(), toy_bundle().prompt, rows, 4)
    assert found == {"n_rows": 4, "valid": 0.5, "right": 0.25}
    assert free_generation(Says(), toy_bundle().prompt, rows, 0) == {}


def test_wilson_interval() -> None:
    # Wilson 1927, as in Newcombe 1998, table I: 15 of 148.
    low, high = wilson(15 / 148, 148)[1:]
    assert (low, high) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(1.0, 5) == Interval(1.0, pytest.approx(0.5655, abs=1e-3), 1.0)


def test_curves_worth_showing_are_dev_scores_and_rewards() -> None:
    points = [(1, 0.1), (2, 0.2)]
    metrics = {"grad_norm": points, "reward": points, "dev_accuracy": points, "dev_log_loss": [(1, 0.1)]}
    chosen = chosen_curves({"2-grpo": metrics, "3-calibrate": {"candidate_log_loss": points}})
    assert {step: list(found) for step, found in chosen.items()} == {"2-grpo": ["dev_accuracy", "reward"]}
