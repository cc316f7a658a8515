"""Students in a whole small comparison: who teaches, what they learn, what is said of them, what ships."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened

import baselines
from labelwright.bundle.store import load
from labelwright.data.task import texts_and_labels
from labelwright.errors import DataError
from workbench.cli import main
from workbench.compare import jobs
from workbench.compare.distilled import asking, teacher
from workbench.compare.expected import Expected
from workbench.compare.jobs import Job, measured_code
from workbench.compare.processes.pool import Processes
from workbench.compare.processes.worker import attempt
from workbench.compare.score import score_candidates
from workbench.progress import Display
from workbench.recipe.beside.unlabelled import own_texts
from workbench.run.folder import RunFolder, runs_of

NAMES = ["words", "chars", "ensemble", "distilled-chars"]


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has done nothing, over a pool of some rows of its own, some of its rows', and an empty one."""
    know_two_ngrams(monkeypatch)
    edit_recipe("[ensemble]\nmost_members = 0\n", "[ensemble]\nn_bags = 3\n[splits]\ndev = 0.2\ncalib = 0.2\n")
    edit_recipe('names = ["majority", "words", "absent"]', 'names = ["majority", "words", "chars"]')
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    edit_recipe('path = "rows.jsonl"', 'path = "rows.jsonl"\nunlabelled = "pool.csv"')
    edit_recipe("[compare]\n", '[distil]\nstudents = ["chars"]\n[compare]\nseeds = 2\n')
    fresh = [f"the {one} of the {other} is broken" for one in ("pump", "gate", "duct") for other in ("liner", "panel")]
    Path("pool.csv").write_text("\n".join(["text", *fresh, "my pool has a chlorine near the skimmer no 0", '""']))
    return new_toy_run()


def test_students_stand_last_and_are_trained_on_one_split(run):
    found = opened(run)
    assert found.names[-1] == "distilled-chars"
    assert found.distilled == {"distilled-chars": "chars"}
    assert found.kind("distilled-chars") == "distilled"
    assert "distilled-chars" not in found.together["ensemble"]
    # Of another split there is no bundle of the teacher's that has not seen its dev rows.
    assert found.jobs("distilled-chars") == [Job("distilled-chars", 3, 3), Job("distilled-chars", 4, 3)]
    assert found.unlabelled.left_out["empty"] == 1
    assert found.unlabelled.left_out["measured"] + found.unlabelled.left_out["taught"] == 1


def test_what_it_learns_is_what_the_teacher_that_ships_says_of_the_pool(run, monkeypatch):
    asked, real = [], asking.score_rows
    monkeypatch.setattr(asking, "score_rows", lambda *given: asked.append(given) or real(*given))
    ran, here = [], Processes.run

    def run_here(self, jobs, family, *rest, **more):
        n_before = len(asked)
        here(self, jobs, family, *rest, **more)
        ran.append((jobs[0].candidate, family, len(asked) - n_before))

    monkeypatch.setattr(Processes, "run", run_here)
    scored = {one.name: one for one in score_candidates(opened(run), Display(), names=NAMES)}
    student, plain = scored["distilled-chars"], scored["chars"]
    assert not student.failed
    assert student.distilled is not None
    assert (student.distilled.teacher, student.distilled.n_rows) == ("ensemble", 6)
    assert {(one.split_seed, one.seed) for one in student.repeats} == {(3, 4)}
    # Once for both trainings: dev and the pool, by the bundle of the ensemble.
    assert len(asked) == 1
    # And in the teacher's process: what is held there is no student's price.
    assert ran[-2:] == [("distilled-chars", "together", 1), ("distilled-chars", "baselines.linear", 0)]
    bundle, engine, texts = asked[0]
    assert bundle.weights.base == "ensemble"
    dev = texts_and_labels(opened(run).splits_of(Job("chars", 3, 3)).dev)[0]
    assert len(texts) == len(dev) + 6
    taught = teacher.teach(opened(run), Job("distilled-chars", 3, 3))
    np.testing.assert_allclose(taught.probs, np.stack(real(bundle, engine, taught.texts)), atol=1e-12)
    assert np.abs(student.probs - plain.probs).max() > 1e-3
    # What it agrees on is dev, and what ships says who taught it.
    place = opened(run).place(Job("distilled-chars", 3, 3))
    with np.load(place.with_suffix(".npz")) as kept:
        same = (kept["dev"].argmax(axis=1) == taught.said_of_dev).mean()
    assert student.distilled.agreement.value == pytest.approx(same)
    entry = load(place).history[-1]
    assert (entry["candidate"], entry["teacher"], entry["n_taught"]) == ("distilled-chars", "ensemble", 6)


@pytest.fixture
def tuned(run: RunFolder) -> RunFolder:
    """The same, with the tuned model among the students."""
    edit_recipe('students = ["chars"]', 'teacher = "chars"\nstudents = ["sft"]\n[models]\ncandidates = ["sft"]')
    return run


def test_the_tuned_model_is_a_student_by_its_own_stage_and_keeps_what_it_learnt(tuned):
    found = opened(tuned)
    assert (found.names[-1], found.kind("distilled-sft")) == ("distilled-sft", "distilled")
    assert found.is_heavy("distilled-sft")
    assert found.jobs("distilled-sft") == [Job("distilled-sft", 3, 3)]
    scored = {one.name: one for one in score_candidates(found, Display(), names=["chars", "sft", "distilled-sft"])}
    student = scored["distilled-sft"]
    assert not student.failed
    assert (student.distilled.teacher, student.distilled.n_rows) == ("chars", 6)
    found = opened(tuned)
    taught = teacher.teach(found, Job("distilled-sft", 3, 3))
    bundle = load(found.place(Job("distilled-sft", 3, 3)))
    # Every row of the pool, under the label that its teacher finds likeliest.
    said = [f"{found.task.names[k]}: {text}" for k, text in zip(taught.probs.argmax(1), taught.texts, strict=True)]
    assert bundle.prompt.instructions.endswith("\n".join(said))
    assert load(found.place(Job("sft", 3, 3))).prompt.instructions == bundle.prompt.instructions.removesuffix(
        "\n" + "\n".join(said)
    )
    assert bundle.history[-1]["teacher"] == "chars"
    # Done once, beside the plain tuning's step; FORCE=1 does this one again and not that.
    (own,), (plain,) = (found.steps(Job(name, 3, 3)) for name in ("distilled-sft", "sft"))
    assert own.is_done
    assert plain.is_done
    assert own.key != plain.key
    assert "distilled-sft" not in opened(tuned).unfinished()
    opened(tuned).forget("distilled-sft")
    assert not own.is_done
    assert plain.is_done


@pytest.mark.parametrize("what", ["pool", "teacher"])
def test_a_tuned_student_is_trained_again_where_what_it_learnt_changes(tuned, what):
    names, job = ["chars", "sft", "distilled-sft"], Job("distilled-sft", 3, 3)
    score_candidates(opened(tuned), Display(), names=names)
    before = opened(tuned).steps(job)[-1].key
    if what == "pool":
        with Path("pool.csv").open("a") as pool:
            pool.write("\nanother row\n")
    else:
        place = opened(tuned).place(Job("chars", 3, 3)).with_suffix(".json")
        place.write_text(json.dumps(json.loads(place.read_text()) | {"measured": "again"}))
    assert "distilled-sft" in opened(tuned).unfinished()
    found = opened(tuned)
    (*_, student) = score_candidates(found, Display(), names=names)
    assert student.distilled.n_rows == (7 if what == "pool" else 6)
    assert found.steps(job)[-1].key != before
    assert found.steps(job)[-1].is_done


def test_what_was_answered_before_a_kill_is_not_asked_again_and_the_rest_is_expected(run, monkeypatch):
    monkeypatch.setattr(asking, "CHUNK_ROWS", 3)
    (*_, ensemble) = score_candidates(opened(run), Display(), names=NAMES[:-1])
    job, asked, real = Job("distilled-chars", 3, 3), [], asking.score_rows

    def answered(bundle, engine, texts):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(texts)
        return real(bundle, engine, texts)

    monkeypatch.setattr(asking, "score_rows", answered)
    who, n_rows = teacher.to_ask(opened(run), job)
    assert who == "ensemble"
    with pytest.raises(KeyboardInterrupt):
        teacher.ask_teacher(opened(run), job, lambda *said: None)
    assert teacher.to_ask(opened(run), job) == (who, n_rows - 6)
    before = Expected(opened(run)).candidate("distilled-chars")
    asked.append([])  # so that it is not cut off again
    assert attempt(Path("toy.toml"), run.path, [job], lambda said: None, asks_teacher=True) == 0
    assert teacher.to_ask(opened(run), job) == (who, 0)
    assert sum(map(len, asked)) == n_rows
    after = Expected(opened(run)).candidate("distilled-chars")
    assert before - after > (n_rows - 6) / ensemble.cost["rows_per_second"]
    # Asked in another way, they would be other answers.
    key = opened(run).key(job)
    other = {"workbench.compare.distilled.asking": "other code"}
    for module in (jobs, teacher):
        monkeypatch.setattr(module, "measured_code", lambda name: other.get(name) or measured_code(name))
    assert teacher.to_ask(opened(run), job) == (who, n_rows)
    assert opened(run).key(job) != key


def test_a_row_that_the_teacher_does_not_answer_teaches_nothing(run, monkeypatch):
    real = asking.score_rows

    def score_rows(bundle, engine, texts):
        found = zip(texts, real(bundle, engine, texts), strict=True)
        return [DataError("too long") if "pump" in text else one for text, one in found]

    monkeypatch.setattr(asking, "score_rows", score_rows)
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert (student.distilled.n_rows, student.distilled.left_out["silent"]) == (4, 2)


def test_without_an_ensemble_the_best_on_dev_teaches_and_a_named_one_before_all(run):
    edit_recipe("n_bags = 3", "most_members = 0")
    scored = score_candidates(opened(run), Display(), names=["words", "chars", "distilled-chars"])
    found = opened(run)
    gold = np.array([found.task.index(row.label) for row in found.splits_of(Job("chars", 3, 3)).dev])
    losses = {}
    for name in ("words", "chars"):
        with np.load(found.place(Job(name, 3, 3)).with_suffix(".npz")) as kept:
            losses[name] = -np.log(kept["dev"][np.arange(len(gold)), gold]).mean()
    assert scored[-1].distilled.teacher == min(losses, key=losses.__getitem__)
    other = max(losses, key=losses.__getitem__)
    edit_recipe("[distil]", f'[distil]\nteacher = "{other}"')
    assert opened(run).unfinished()[-1:] == ["distilled-chars"]
    (*_, student) = score_candidates(opened(run), Display(), names=["distilled-chars"])
    assert student.distilled.teacher == other


def test_a_teacher_without_results_is_said_and_tried_again_when_it_has_some(run):
    edit_recipe("[distil]", '[distil]\nteacher = "words"')
    (student,) = score_candidates(opened(run), Display(), names=["distilled-chars"])
    assert student.failed == "distilled-chars: no results of its teacher (words): compare that first"
    score_candidates(opened(run), Display(), names=["words"])
    assert "distilled-chars" in opened(run).unfinished()


@pytest.mark.parametrize("what", ["pool", "teacher", "student"])
def test_what_it_learnt_from_makes_it_stale_when_it_changes(run, what, monkeypatch):
    score_candidates(opened(run), Display(), names=NAMES)
    assert "distilled-chars" not in opened(run).unfinished()
    if what == "pool":
        with Path("pool.csv").open("a") as pool:
            pool.write("\nanother row\n")
    elif what == "student":
        edit_recipe("[compare]\n", "[baselines.settings.chars]\nalpha = 0.1\n[compare]\n")
        monkeypatch.setattr(
            baselines,
            "BASELINES",
            {**baselines.BASELINES, "chars": baselines.BASELINES["chars"]._replace(settings={"alpha": float})},
        )
    else:
        place = opened(run).place(Job("ensemble", 3, 3)).with_suffix(".json")
        place.write_text(json.dumps(json.loads(place.read_text()) | {"measured": "again"}))
    assert "distilled-chars" in opened(run).unfinished()


def test_it_is_reported_and_exported_and_only_it_needs_the_pool(run):
    assert main(["compare", "toy.toml"]) == 0
    assert main(["export", "toy.toml", "--candidate", "distilled-chars"]) == 0
    (path,) = runs_of(Path("runs/toy"))
    report = json.loads((path / "report.json").read_text())
    (entry,) = [one for one in report["candidates"] if one["name"] == "distilled-chars"]
    lesson = entry["lesson"]
    of = {one["name"]: one for one in report["candidates"]}
    accuracy = {name: one["test"]["accuracy"]["value"] for name, one in of.items() if one["test"]}
    for key, other in (("to_teacher", "ensemble"), ("to_plain", "chars")):
        assert lesson[key]["value"] == pytest.approx(accuracy["distilled-chars"] - accuracy[other])
        assert lesson[key]["low"] <= lesson[key]["value"] <= lesson[key]["high"]
    assert lesson["cost_ratio"] == pytest.approx(of["ensemble"]["cost"]["ms_p50"] / entry["cost"]["ms_p50"])
    text = (path / "report.md").read_text()
    assert "## Students and their teacher" in text
    assert "Left out of these rows: 1 with" in text
    assert load(path / "bundle").weights.base == "chars"
    assert "in probabilities, of pool.csv." in text
    assert "pool.csv: its first row has no 'group'" in text
    # Without the pool nobody can be taught; who learnt nothing of it ships as before.
    Path("pool.csv").unlink()
    assert main(["compare", "toy.toml"]) == 2
    assert main(["export", "toy.toml", "--candidate", "chars"]) == 0


def test_without_a_pool_named_students_learn_trains_own_texts_and_what_a_model_wrote(run):
    edit_recipe('\nunlabelled = "pool.csv"', "")
    found = opened(run)
    train = found.splits_of(Job("chars", 3, 3)).train
    assert sorted(found.unlabelled.texts) == sorted({row.text for row in train})
    assert found.unlabelled.source == "train rows"
    key = found.key(Job("distilled-chars", 3, 3))
    (*_, student) = score_candidates(found, Display(), names=NAMES)
    assert student.distilled.n_rows == len(found.unlabelled.texts)
    assert student.distilled.source == "train rows"
    taught = teacher.teach(opened(run), Job("distilled-chars", 3, 3))
    measured = {row.text for row in found._measured}
    assert not measured & set(taught.texts)
    # A file of written rows is read where the recipe has the table, and what is nearly measured is not learnt.
    written = ["the diving board wobbles when jumped on", next(iter(sorted(measured)))]
    lines = [json.dumps({"text": text, "label": "pool"}) for text in written]
    Path("runs/toy/synthetic.jsonl").write_text("\n".join(lines))
    assert opened(run).key(Job("distilled-chars", 3, 3)) == key
    edit_recipe("[compare]\n", '[synthetic]\nmodel = "far"\n[compare]\n')
    found = opened(run)
    assert found.unlabelled.source == "train rows and rows that a model wrote"
    assert set(found.unlabelled.texts) == {row.text for row in train} | {written[0]}
    assert found.key(Job("distilled-chars", 3, 3)) != key
    # A demo has no students, and no student whom the recipe does not name.
    assert not jobs.comparison_of(jobs.shortened(found.recipe), run, found._rows, found._splits[3]).distilled
    edit_recipe('students = ["chars"]', "")
    edit_recipe("[distil]\n", "")
    assert not opened(run).distilled


def test_of_own_texts_each_is_learnt_once_and_no_more_than_may_be(run):
    edit_recipe('\nunlabelled = "pool.csv"', "")
    edit_recipe("[distil]", "[distil]\nmost_rows = 5")
    found = opened(run)
    train = found.splits_of(Job("chars", 3, 3)).train
    n_texts = len({row.text for row in train})
    assert len(found.unlabelled.texts) == 5
    assert found.unlabelled.left_out["beyond"] == n_texts - 5
    twice = own_texts(found.recipe, train, train, [])
    assert twice.texts == found.unlabelled.texts
    assert twice.left_out["repeated"] == 2 * len(train) - n_texts
    # What another label kept on this side, though a test row has nearly its text, teaches nothing.
    like = replace(train[0], text=f"{train[0].text}!")
    less = own_texts(found.recipe, train, (), [like])
    assert train[0].text not in less.texts
    assert less.left_out["measured"] == sum(row.text == train[0].text for row in train)
    with pytest.raises(DataError, match=r"none of the \d+ train rows can be learnt; left out: \d+ with the text"):
        own_texts(found.recipe, train, (), train)
