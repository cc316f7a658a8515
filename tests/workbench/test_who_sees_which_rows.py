"""Train teaches, dev chooses, calib calibrates, test is read in one function: seen from what reaches whom."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import workbench_fakes
from fakes import FakeEngine

from baselines import Baseline
from baselines.majority import Majority
from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, group_keys
from labelwright.decide import log_scores
from optimizers import calibrate
from workbench.cli import main
from workbench.compare.jobs import Comparison, open_comparison
from workbench.compare.score import score_candidates
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import read_rows
from workbench.run.choose import new_run
from workbench.run.folder import runs_of


class Spy(Majority):
    """Label shares of what it is shown, and a list of that."""

    shown: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[list[str]]] = []

    def fit(self, X: Any, y: Any, *, groups: Any = None, eval_set: Any = None) -> Spy:  # noqa: N803
        self.shown.append({"X": list(X), "y": list(y), "groups": groups, "eval_set": eval_set})
        return super().fit(X, y, groups=groups, eval_set=eval_set)

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        self.asked.append(list(X))
        return super().predict_proba(X)


class SpyStage(workbench_fakes.FakeSft):
    """The fake SFT, and the splits that it was given."""

    given: ClassVar[list[Splits]] = []

    def run(self, bundle: Any, splits: Splits, context: Any) -> Any:
        self.given.append(splits)
        return super().run(bundle, splits, context)


# Who may touch the test rows besides ``read_test``: what deals, counts and hashes all four sides, and what copies them.
BOOKKEEPERS = {
    ("splits.py", "split_digest"),
    ("splits.py", "splits_document"),
    ("splits.py", "split_summary"),
    ("splits.py", "<dictcomp>"),
    ("splits.py", "<setcomp>"),
    ("rows.py", "<genexpr>"),
    # Keeps rows out of scope apart from those that are measured on, by text and group.
    ("outside.py", "<genexpr>"),
    # Says which shares came out, and which labels a side lacks.
    ("dealing.py", "dealt_remarks"),
    ("dealing.py", "<dictcomp>"),
    ("dealing.py", "<setcomp>"),
    ("choose.py", "<genexpr>"),
    ("dataclasses.py", "replace"),
}


class Watched:
    """One comparison with spies in every place: what each of them saw."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.readers: set[tuple[str, str]] = set()
        self.calibrations: list[tuple[np.ndarray, np.ndarray]] = []
        self.candidates: dict[str, Any] = {}
        self.jobs = {name: comparison.jobs(name) for name in comparison.names}
        self.train_probs: np.ndarray | None = None
        self.tuned: Bundle


def watching(readers: set[tuple[str, str]]) -> Callable[[Splits, str], Any]:
    """How splits look up a name: file and function of whoever gets test rows are noted."""

    def look_up(splits: Splits, name: str) -> Any:
        value = object.__getattribute__(splits, name)
        if name == "test" and value:
            code = sys._getframe(1).f_code
            readers.add((Path(code.co_filename).name, code.co_name))
        return value

    return look_up


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    recipe = workbench_fakes.write_workspace(folder)
    text = recipe.read_text().replace('"majority", "words", "absent"', '"spy"')
    recipe.write_text(
        text.replace("[compare]", '[models]\ncandidates = ["sft"]\n[compare]\nseeds = 2\nnoise = ["spy"]')
        + "[calibrate]\nn_folds = 3\n"
    )
    Spy.shown.clear()
    Spy.asked.clear()
    SpyStage.given.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        workbench_fakes.install(patch.setattr)
        patch.setattr("baselines.majority.majority", lambda task, seed: Spy(random_state=seed))
        patch.setattr("baselines.BASELINES", {"spy": Baseline("baselines.majority", "majority", "a spy")})
        patch.setattr("workbench_fakes.FakeSft", SpyStage)
        read = read_recipe("toy.toml")
        run = new_run(read, read_rows(read), Display())
        seen = Watched(open_comparison(Path("toy.toml"), run.path))

        real = calibrate.best_calibration

        def best(scores: np.ndarray, gold: np.ndarray, *rest: Any, **settings: Any) -> Any:
            seen.calibrations.append((scores, gold))
            return real(scores, gold, *rest, **settings)

        patch.setattr(calibrate, "best_calibration", best)
        patch.setattr(Splits, "__getattribute__", watching(seen.readers))
        candidates = score_candidates(seen.comparison, Display())
        seen.tuned = load(candidates[-1].folder)
        seen.train_probs = seen.comparison.train_probs("spy")
        seen.candidates = {candidate.name: candidate for candidate in candidates}
        assert not any(candidate.failed for candidate in candidates), [candidate.failed for candidate in candidates]
    return seen


def texts(rows: tuple[Example, ...]) -> list[str]:
    return [row.text for row in rows]


def test_baselines_learn_from_train_and_choose_on_dev(watched: Watched) -> None:
    jobs = watched.jobs["spy"]
    # The candidate itself is shown first, then three folds of it, then the other trainings.
    trainings = [Spy.shown[0], *Spy.shown[4:]]
    assert len(trainings) == len(jobs) == 3
    for job, shown in zip(jobs, trainings, strict=True):
        splits = watched.comparison.splits_of(job)
        assert shown["X"] == texts(splits.train)
        assert shown["y"] == [row.label for row in splits.train]
        assert shown["groups"] == group_keys(splits.train)
        assert shown["eval_set"] == (texts(splits.dev), [row.label for row in splits.dev])


def test_what_doubts_a_label_was_not_shown_it_nor_its_group(watched: Watched) -> None:
    train = watched.comparison.splits_of(watched.jobs["spy"][0]).train
    group = {row.text: row.group for row in train}
    folds, asked = Spy.shown[1:4], Spy.asked[:3]
    assert sorted(text for part in asked for text in part) == sorted(texts(train))
    for shown, part in zip(folds, asked, strict=True):
        assert part
        assert not {group[text] for text in shown["X"]} & {group[text] for text in part}
        assert sorted([*shown["X"], *part]) == sorted(texts(train))
        assert shown["eval_set"] is None
    kept = watched.train_probs
    assert kept is not None
    names = watched.comparison.task.names
    for shown, part in zip(folds, asked, strict=True):
        shares = [shown["y"].count(name) / len(shown["y"]) for name in names]
        for text in part:
            assert kept[texts(train).index(text)] == pytest.approx(shares)


def test_every_calibration_is_fitted_on_calib_rows(watched: Watched) -> None:
    names = watched.comparison.task.names
    jobs = [job for name in watched.candidates for job in watched.jobs[name]]
    assert len(watched.calibrations) == len(jobs)
    for job, (scores, gold) in zip(jobs, watched.calibrations, strict=True):
        calib = watched.comparison.splits_of(job).calib
        assert gold.tolist() == [names.index(row.label) for row in calib], job
        assert scores.shape == (len(calib), len(names))
    calib = watched.comparison.splits_of(watched.jobs["sft"][0]).calib
    assert (watched.calibrations[-1][0] == log_scores(watched.tuned, FakeEngine(), texts(calib))).all()


def test_stages_are_given_the_jobs_rows_without_test(watched: Watched) -> None:
    (given,) = SpyStage.given
    splits = watched.comparison.splits_of(watched.jobs["sft"][0])
    assert (given.train, given.dev, given.calib, given.test) == (splits.train, splits.dev, splits.calib, ())


def test_one_function_reads_the_test_rows_whatever_the_splits_are_called(watched: Watched) -> None:
    """Seen at run time: by whatever variable, ``getattr`` or loop over the sides they are reached."""
    assert ("score.py", "read_test") in watched.readers
    assert watched.readers - BOOKKEEPERS == {("score.py", "read_test")}


def test_the_watch_would_notice_another_reader(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: set[tuple[str, str]] = set()
    monkeypatch.setattr(Splits, "__getattribute__", watching(readers))
    passed_on = watched.comparison.splits_of(watched.jobs["spy"][0])
    assert passed_on.test
    here = (Path(__file__).name, "test_the_watch_would_notice_another_reader")
    assert readers == {here}
    readers.clear()
    for side in ("dev", "test"):
        assert getattr(passed_on, side)
    assert readers == {here}
    assert asdict(passed_on)
    assert ("dataclasses.py", "_asdict_inner") in readers


def test_the_runs_own_stages_and_its_export_read_no_test_rows(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: set[tuple[str, str]] = set()
    monkeypatch.setattr(Splits, "__getattribute__", watching(readers))
    for verb in ("optimize", "train", "calibrate", "export"):
        assert main([verb, "toy.toml"]) == 0
    assert readers <= BOOKKEEPERS
    (path,) = runs_of(workspace / "runs" / "toy")
    golden = {json.loads(line)["text"] for line in (path / "bundle" / "golden.jsonl").read_text().splitlines()}
    ids = json.loads((path / "splits.json").read_text())["ids"]
    rows = {row["id"]: row["text"] for row in map(json.loads, (workspace / "rows.jsonl").read_text().splitlines())}
    assert golden <= {rows[one] for one in ids["dev"]}
