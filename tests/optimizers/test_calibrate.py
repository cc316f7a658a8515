"""The calibrate stage: it helps where scores mislead, keeps out of the way where they do not, and resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits

from labelwright.bundle.types import Bundle
from labelwright.data.asked.questions import Question, put
from labelwright.data.choices import lettered
from labelwright.data.task import Example, Label, Splits, Task, group_keys
from labelwright.decisions.promise import NO_PROMISE
from labelwright.errors import DataError, RecipeError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from optimizers.calibrate import CalibrateStage, calibration_record, uncalibrated
from optimizers.calibration_choice import best_calibration
from optimizers.kept import KeptScores
from optimizers.stage import StageContext


class ListTracker:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.artifacts: list[Path] = []

    def params(self, values: Any) -> None: ...
    def table(self, name: str, columns: Any) -> None: ...
    def prompt(self, role: str, text: str) -> None: ...
    def progress(self, done: int, total: int, message: str = "") -> None: ...

    def metrics(self, values: Any, step: int | None = None) -> None:
        self.values.update(values)

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)


class DrawnEngine(FakeEngine):
    """Scores drawn once for each row text; ``wrong`` multiplies them and adds a bias to the first label."""

    def __init__(self, scores: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.scores = scores

    def score(self, prompts: Any, options: Any) -> np.ndarray:
        self.calls.append((len(prompts), len(options)))
        return np.stack([self.scores[prompt.user] for prompt in prompts])


def drawn(scale: float, first: float, n_rows: int = 240) -> tuple[DrawnEngine, Splits]:
    """Rows whose labels follow the scores exactly, and an engine that reports them scaled and with a prior."""
    names = toy_bundle().task.names
    rng = np.random.default_rng(0)
    true = 2 * rng.normal(size=(n_rows, len(names)))
    gold = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
    rows = tuple(Example(str(i), f"text {i}", names[k], group=f"g{i // 2}") for i, k in enumerate(gold))
    reported = scale * true + np.array([first, 0, 0])
    return DrawnEngine({row.text: s for row, s in zip(rows, reported, strict=True)}), Splits((), (), rows, ())


def context(folder: Path, engine: FakeEngine) -> tuple[StageContext, ListTracker]:
    tracker = ListTracker()
    return StageContext(folder, tracker, lambda weights: engine, seed=0), tracker


def test_scores_that_mislead_are_corrected(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    stage_context, tracker = context(tmp_path, engine)
    bundle = CalibrateStage().run(toy_bundle(), splits, stage_context)
    values = tracker.values
    assert bundle.calibration.temperature == pytest.approx(3, rel=0.3)
    assert bundle.calibration.bias[0] < bundle.calibration.bias[1] - 0.8
    assert values["calib.log_loss_cross_validated"] < values["calib.log_loss_uncalibrated"] - 0.2
    assert values["calib.log_loss_in_sample"] < values["calib.log_loss_cross_validated"]
    assert values["calib.ece_cross_validated"] < values["calib.ece_uncalibrated"]
    entry = bundle.history[-1]
    assert entry["stage"] == "calibrate"
    assert entry["kept"] is True
    assert entry["variant"] == "temperature+bias"
    assert "kept temperature+bias" in entry["decision"]
    assert json.loads(json.dumps(entry)) == entry


def test_bias_stays_small_where_only_the_scale_is_wrong(tmp_path: Path) -> None:
    engine, splits = drawn(scale=4.0, first=0.0)
    bundle = CalibrateStage().run(toy_bundle(), splits, context(tmp_path, engine)[0])
    assert max(map(abs, bundle.calibration.bias), default=0) < 0.4
    assert bundle.calibration.temperature == pytest.approx(4, rel=0.3)


def test_nothing_is_kept_where_nothing_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, splits = drawn(scale=1.0, first=0.0)
    worse = np.full((240, 3), 1 / 3)
    monkeypatch.setattr("optimizers.calibration_choice.cross_validated_paths", lambda *args, **settings: [worse] * 5)
    stage_context, tracker = context(tmp_path, engine)
    bundle = CalibrateStage(promise_share=0).run(toy_bundle(), splits, stage_context)
    assert bundle.calibration == Calibration()
    assert bundle.history[-1]["kept"] is False
    assert bundle.history[-1]["decision"].startswith("left uncalibrated")
    assert tracker.values["calib.log_loss_in_sample"] == tracker.values["calib.log_loss_uncalibrated"]


def test_an_older_calibration_does_not_stay(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    old = replace(toy_bundle(), calibration=Calibration(50.0, (1.0, 2.0, 3.0)))
    fresh = CalibrateStage().run(toy_bundle(), splits, context(tmp_path, engine)[0])
    assert CalibrateStage().run(old, splits, context(tmp_path, engine)[0]).calibration == fresh.calibration


def test_leaves_scores_and_plot_and_resumes_from_them(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    stage_context, tracker = context(tmp_path, engine)
    first = CalibrateStage().run(toy_bundle(), splits, stage_context)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reliability.png", "scores"]
    assert tracker.artifacts == [tmp_path / "reliability.png"]
    assert tracker.artifacts[0].read_bytes().startswith(b"\x89PNG")
    (path,) = (tmp_path / "scores").iterdir()
    with np.load(path, allow_pickle=False) as stored:
        assert stored["scores"].shape == (240, 3)
    n_calls = len(engine.calls)
    assert CalibrateStage().run(toy_bundle(), splits, stage_context) == first
    assert len(engine.calls) == n_calls
    other = toy_bundle()
    other = other.with_stage({}, prompt=other.prompt.with_instructions("Another prompt."))
    CalibrateStage().run(other, splits, stage_context)
    assert len(engine.calls) > n_calls


def test_runs_on_the_toy_task(tmp_path: Path) -> None:
    bundle = CalibrateStage(n_folds=2).run(toy_bundle(), toy_splits(), context(tmp_path, FakeEngine())[0])
    assert bundle.history[-1]["n_rows"] == len(toy_splits().calib)


def test_empty_calib_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="calib split is empty"):
        CalibrateStage().run(toy_bundle(), Splits((), (), (), ()), context(tmp_path, FakeEngine())[0])


def test_a_share_of_the_groups_is_kept_apart_and_nothing_is_fitted_on_it(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    stage = CalibrateStage()
    (tmp_path / "other").mkdir()
    bundle = stage.run(toy_bundle(), splits, context(tmp_path, engine)[0])
    fitted, apart = stage.sides(splits.calib, seed=0)
    groups = np.array(group_keys(splits.calib))
    assert (len(fitted), len(apart), bundle.history[-1]["n_apart"]) == (120, 60, 60)
    assert (bundle.promise.n_fitted, bundle.promise.n_apart) == (60, 60)
    assert not set(groups[fitted]) & set(groups[apart])
    assert len(set(groups[apart])) == 60  # one row a group
    # Other labels on the rows kept apart change what is promised, and nothing else.
    others = list(splits.calib)
    for i in apart.tolist():
        others[i] = replace(others[i], label="fence" if others[i].label == "pool" else "pool")
    changed = stage.run(toy_bundle(), replace(splits, calib=tuple(others)), context(tmp_path / "other", engine)[0])
    assert changed.calibration == bundle.calibration
    assert changed.promise != bundle.promise
    assert stage.sides(others, seed=0)[1].tolist() == apart.tolist()
    assert [row.id for row in stage.fitted_rows(splits.calib, 0)] == [splits.calib[i].id for i in fitted.tolist()]


def test_copies_lie_on_one_side_of_the_promise() -> None:
    _, splits = drawn(scale=1.0, first=0.0)
    rows = [replace(row, group=None) for row in splits.calib]
    copies = [replace(row, id=f"copy {row.id}", text=f"{row.text.upper()}!") for row in rows]
    fitted, apart = CalibrateStage().sides([*rows, *copies], seed=0)
    assert (len(fitted), len(apart)) == (240, 120)
    assert not set(fitted % 240) & set(apart % 240)


def test_too_few_rows_are_all_fitted_on_and_the_promise_says_so(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    few = replace(splits, calib=splits.calib[:234])  # 117 groups: a half is 58, and 59 could promise something
    bundle = CalibrateStage(abstain=True).run(toy_bundle(), few, context(tmp_path, engine)[0])
    assert bundle.history[-1]["n_rows"] == 234
    assert (
        "calib has 117 independent rows, and all of them fit the probabilities; 118 at the least"
        in bundle.promise.fault()
    )
    assert bundle.decision.decide(np.eye(3)).said.tolist() == [-1, -1, -1]


def test_what_can_be_promised_is_recorded_and_kept_by_the_bundle_where_it_is_to(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    stage_context, tracker = context(tmp_path, engine)
    bundle = CalibrateStage(max_error=0.3, abstain=True).run(toy_bundle(), splits, stage_context)
    assert 0 < tracker.values["calib.promise_coverage"] <= 1
    assert (bundle.decision.thresholds == tracker.values["calib.promise_threshold"]).all()
    plain = CalibrateStage(max_error=0.3).run(toy_bundle(), splits, stage_context)
    assert not plain.decision.may_abstain
    assert (plain.promise.ask(max_error=0.3).thresholds(3) == bundle.decision.thresholds).all()


def test_a_stage_behind_it_makes_another_classifier_and_ends_the_promise(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    bundle = CalibrateStage().run(toy_bundle(), splits, context(tmp_path, engine)[0])
    assert bundle.promise.all is not None
    assert bundle.with_stage({"stage": "sft"}).promise == NO_PROMISE


def test_the_choice_is_what_the_stage_would_make(tmp_path: Path) -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    bundle = CalibrateStage(promise_share=0).run(toy_bundle(), splits, context(tmp_path, engine)[0])
    gold = np.array([bundle.task.index(row.label) for row in splits.calib])
    scores = np.stack([engine.scores[row.text] for row in splits.calib])
    seen = []
    chosen = best_calibration(scores, gold, group_keys(splits.calib), progress=lambda *one: seen.append(one[:2]))
    assert chosen.calibration == bundle.calibration
    assert (chosen.variant, chosen.l2) == (bundle.history[-1]["variant"], bundle.history[-1]["l2"])
    assert chosen.log_loss_after == bundle.history[-1]["calib.log_loss_cross_validated"] < chosen.log_loss_before
    assert seen == [(n, 15) for n in range(1, 16)]


def test_scores_that_are_right_already_are_left_alone() -> None:
    chosen = best_calibration(np.zeros((40, 4)), np.arange(40) % 4)
    assert (chosen.variant, chosen.calibration, chosen.l2) == ("none", Calibration(), 0.0)
    assert chosen.log_loss_after == chosen.log_loss_before <= chosen.best.log_loss
    assert chosen.log_loss_before == pytest.approx(np.log(4))
    assert (chosen.probs == 1 / 4).all()


@pytest.mark.parametrize(
    "settings", [{"penalties": (0.0,)}, {"penalties": ()}, {"n_folds": 1}, {"target_accuracy": 95}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        CalibrateStage(**settings)


def test_what_rotations_cost_is_told_again_by_a_stage_that_was_killed(tmp_path: Path) -> None:
    """Scores that it finds took what they took; and another's, which say nothing of the price, it does not read."""
    task = Task("quiz", "Answer.", max_choices=3)
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration())
    texts = [lettered(f"what is {word}, {n}", ["red", "green", word]) for n in range(6) for word in ("wood", "stone")]
    splits = Splits((), (), tuple(Example(text, text, "ABC"[n % 3]) for n, text in enumerate(texts)), ())
    engine, known = FakeEngine(), KeptScores(tmp_path / "others", asker="another")
    known.of(bundle, splits.calib, lambda weights: FakeEngine())
    asking = replace(context(tmp_path, engine)[0], scores=known)
    stage = CalibrateStage(rotations=True)
    first = stage.run(bundle, splits, asking).history[-1]
    assert [n_rows for n_rows, _ in engine.calls if n_rows > 12] == [36], "in every order, once"
    assert sum(n_rows for n_rows, _ in engine.calls) == 12 + 36
    again = stage.run(bundle, splits, asking).history[-1]
    assert sum(n_rows for n_rows, _ in engine.calls) == 12 + 36
    for key in ("calib.seconds_one_order", "calib.seconds_rotations"):
        assert again[key] == first[key] > 0


# --------------------------------------------------------------------------------------- what labels are said from

TOPICS = Question("topics", "labels", (Label("late"), Label("refund")))
SEVERAL = Task.asking("mail", "Read it.", [TOPICS, Question("urgent", "yes_no")])


def rare_labels(n_rows: int = 300, share: float = 0.15) -> tuple[Bundle, tuple[Example, ...], np.ndarray]:
    """Rows whose labels are rare and follow calibrated probabilities; and their log-scores."""
    rng = np.random.default_rng(3)
    prompt = Prompt.for_task(SEVERAL, FakeEngine().template)
    rows, scores = [], []
    for number in range(n_rows):
        for place, point in enumerate(SEVERAL.points):
            p = rng.beta(2 * share, 2 * (1 - share)) if point.label else rng.random()
            p = min(max(p, 1e-6), 1 - 1e-6)
            said = "yes" if rng.random() < p else "no"
            rows.append(
                Example(
                    f"{number} ? {point.name}", put(f"text {number}", point), point.class_of(said), group=f"g{number}"
                )
            )
            line = np.full(6, -np.inf)
            line[2 * place : 2 * place + 2] = np.log([p, 1 - p])
            scores.append(line)
    return Bundle(SEVERAL, prompt, Base("fake"), Calibration()), tuple(rows), np.array(scores)


@pytest.mark.parametrize("maximise", ["micro_f1", "macro_f1"])
def test_labels_are_said_from_where_the_metric_gains(maximise: str) -> None:
    bundle, rows, scores = rare_labels()
    plain = CalibrateStage().calibrated(bundle, rows, lambda _: scores, 0)
    made = CalibrateStage(maximise=maximise).calibrated(bundle, rows, lambda _: scores, 0)
    assert plain.bundle.said_from == ()
    late, refund, urgent = made.bundle.said_from
    assert urgent == 0.5
    assert (late == refund) == (maximise != "macro_f1")
    record = calibration_record(made.bundle)
    assert record["maximise"] == maximise
    assert list(record["said_from"]) == ["topics"]
    gained = record["said_from"]["topics"]
    assert gained["after"] > gained["before"]
    assert gained["kept"] == 1.0
    # Taken off like the calibration, and not kept by another classifier.
    assert uncalibrated(made.bundle).said_from == ()
    again = CalibrateStage(maximise=maximise).calibrated(made.bundle, rows, lambda _: scores, 0)
    assert again.bundle.said_from == made.bundle.said_from


def test_what_does_not_gain_on_rows_not_fitted_on_is_not_kept() -> None:
    """Most rows have no label, and are wholly right where none is said: the F1 of rows does well with a half."""
    bundle, rows, scores = rare_labels()
    made = CalibrateStage(maximise="sample_f1").calibrated(bundle, rows, lambda _: scores, 0)
    gained = calibration_record(made.bundle)["said_from"]["topics"]
    assert gained["after"] <= gained["before"]
    assert gained["kept"] == 0.0
    assert made.bundle.said_from == ()


def test_nothing_is_promised_of_rows_with_several_answers() -> None:
    """Errors are counted answer by answer, and a row is told all its answers together."""
    bundle, rows, scores = rare_labels()
    made = CalibrateStage(max_error=0.3).calibrated(bundle, rows, lambda _: scores, 0)
    assert made.bundle.promise.all is None
    assert len(made.fitted_on) == len(rows)
    with pytest.raises(DataError, match="cannot be promised"):
        made.bundle.promise.ask(max_error=0.3)


def test_a_task_without_such_questions_is_calibrated_as_ever() -> None:
    engine, splits = drawn(scale=3.0, first=4.0)
    scores = np.stack([engine.scores[row.text] for row in splits.calib])
    made = CalibrateStage(maximise="micro_f1").calibrated(toy_bundle(), splits.calib, lambda _: scores, 0)
    assert made.bundle.said_from == ()
    assert "maximise" not in calibration_record(made.bundle)
