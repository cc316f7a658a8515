"""`python -m workbench.compare.processes.worker RECIPE RUN`: candidates' missing jobs, each kept when done.

Started by ``pool``, whose process asks by lines of JSON and reads what is said here, lines of JSON as well: progress,
what stages report for the tracking store, the error, the end. Every candidate is worked on in a child, which has what
this process has imported and nothing of the candidates before. Trains on train, calibrates on calib, scores test
through ``score.read_test``; the numbers are made in ``measure.py``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import save
from labelwright.data.task import Example, texts_and_labels
from labelwright.errors import LabelwrightError
from labelwright.files import replacing, write_json
from labelwright.models.weights import Base, is_language_model
from labelwright.predictors.encoders.sentence_encoder import one_pass
from optimizers.scope import Outside
from optimizers.stage import SoftLabels, Tracker
from workbench.compare import measure, score
from workbench.compare.distilled.teacher import ask_teacher, teach
from workbench.compare.jobs import Comparison, Job, open_comparison
from workbench.compare.processes.lasting import is_lasting
from workbench.compare.processes.pool import Record, Say
from workbench.compare.searched.trials import run_trial
from workbench.compare.steering.endings import steering
from workbench.compare.together.job import measured_together
from workbench.run.folder import locked
from workbench.run.steps import Step
from workbench.tracking import entries
from workbench.tracking.entries import StepTracker

Tell = Callable[[dict[str, Any]], None]


def serve(recipe: Path, run: Path) -> int:
    """Run the candidates that stdin names, a line each, until it ends; returns the exit status."""
    say = _sayer()
    for line in sys.stdin:
        asked = json.loads(line)
        for module in asked["modules"]:
            # What fails to import now fails in the candidate's own process, and is told there.
            with suppress(Exception):
                importlib.import_module(module)
        if not _can_fork():
            status = _work(recipe, run, asked, say)
            say({"ended": status, "is_last": True})
            return status
        child = os.fork()
        if child == 0:
            os._exit(_work(recipe, run, asked, say))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        say({"ended": status, "is_last": False})
    return 0


def _can_fork() -> bool:
    """Only Linux's libraries are made for it; and neither another thread nor a GPU in use comes through a fork."""
    torch: Any = sys.modules.get("torch")
    is_gpu_used = torch is not None and torch.cuda.is_initialized()
    return sys.platform == "linux" and threading.active_count() == 1 and not is_gpu_used


def _work(recipe: Path, run: Path, asked: Mapping[str, Any], say: Tell) -> int:
    """One candidate, with its output in its log; returns the exit status."""
    with open(asked["log"], "a", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    _end_with_the_parent()
    before = set(sys.modules)
    status = attempt(recipe, run, [Job(**job) for job in asked["jobs"]], say, asked["asks_teacher"], asked["trial"])
    sys.stderr.flush()
    say({"modules": [*asked["modules"], *(name for name in list(sys.modules) if name not in before)]})
    return status


def attempt(
    recipe: Path,
    run: Path,
    jobs: Sequence[Job],
    say: Tell,
    asks_teacher: bool = False,
    trial: Mapping[str, Any] | None = None,
) -> int:
    """Run a candidate's jobs, ask their teacher, or try its settings, and say what happens; returns the exit status."""

    def tell(*progress: Any) -> None:
        say({"progress": progress})

    try:
        comparison = open_comparison(recipe, run)
        # What an engine has elsewhere is gone before the next candidate begins.
        with closing(comparison.engines):
            if asks_teacher:
                ask_teacher(comparison, jobs[0], tell)
            elif trial is not None:
                run_trial(comparison, jobs[0], **trial)
            else:
                run_jobs(comparison, jobs, tell, lambda entry: say({"record": entry}))
    except LabelwrightError as error:
        say({"error": str(error), "lasting": is_lasting(error)})
        return 2
    except BaseException as error:  # whatever a library raises is this candidate's failure, and no other's
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0]
        say({"error": f"{type(error).__name__}: {first}"})
        return 1
    return 0


def run_jobs(comparison: Comparison, jobs: Sequence[Job], say: Say, record: Record) -> None:
    """Train, score and keep a candidate's jobs. Raises whatever the candidate does."""

    def run(some: Sequence[Job]) -> None:
        for job in some:
            number = jobs.index(job)
            where = f"job {number + 1} of {len(jobs)}: " if len(jobs) > 1 else ""

            def tell(done: int, total: int, message: str, number: int = number, where: str = where) -> None:
                say(number, len(jobs), where + message)

            say(number, len(jobs), where + _what(job, comparison))
            _run_job(comparison, job, tell, record)

    # One at a time: where a machine was given up and is there after all, two would write the same bundle.
    place = comparison.root / jobs[0].candidate
    place.mkdir(parents=True, exist_ok=True)
    with locked(place):
        run([job for job in jobs if comparison.is_main(job)])
        # The others are not timed, and their rows are the same again: an encoder need read each but once.
        with one_pass():
            run([job for job in jobs if not comparison.is_main(job)])
    say(len(jobs), len(jobs), "")


def _run_job(comparison: Comparison, job: Job, say: Say, record: Record) -> None:
    splits, place = comparison.splits_of(job), comparison.place(job)
    test, names = score.read_test(splits), comparison.task.names
    place.parent.mkdir(parents=True, exist_ok=True)
    if comparison.kind(job.candidate) == "free":
        _keep(place, *_free(comparison, job, test))
        return
    if comparison.kind(job.candidate) == "together":
        _keep(place, *measured_together(comparison, job, test))
        return
    # What a baseline learnt lies in no step; what a model's steps left is noted before it is measured.
    made_from: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        taught = teach(comparison, job) if comparison.kind(job.candidate) == "distilled" else None
        if comparison.is_baseline(job.candidate):
            soft = (taught.texts, names, taught.probs) if taught else None
            trained = measure.train_baseline(_baseline(comparison, job), splits, Path(scratch), soft)
        else:
            labels = SoftLabels(tuple(taught.texts), taught.probs) if taught else None
            trained, made_from = _train_model(comparison, job, labels, say, record)
        before = measure.before_calibration(trained)
        result: dict[str, Any] = {"n_train": len(splits.train), "made_from": made_from}
        if taught or comparison.kind(job.candidate) == "searched":
            result["members"] = comparison.available(job)
        # A learning curve is drawn uncalibrated: the calib rows would be labels that the candidate was not shown.
        final = before
        arrays: dict[str, NDArray[np.float64]] = {}
        if not job.per_label:
            stage, seed = comparison.calibration(), comparison.recipe.seed
            final, result["calibration"], arrays["calib"] = measure.calibrated(trained, stage, splits.calib, seed)
            # What candidates that are made of this one are chosen on, and what the export counts.
            arrays["dev"] = final.bundle.calibration.apply(final.log_scores(splits.dev))
        if comparison.is_main(job) and comparison.recipe.data.out_of_scope:
            none = Outside()
            if (outside := comparison.out_of_scope).calib:
                arrays["calib_outside"] = final.probabilities([row.text for row in outside.calib])
                none = Outside(outside.taught, outside.calib, arrays["calib_outside"])
            final = replace(final, bundle=measure.with_scope(final.bundle, splits, stage, seed, arrays["calib"], none))
        if comparison.is_main(job):
            # What is measured is what lies here, and what ships.
            entry: dict[str, Any] = {"stage": "compare", "candidate": job.candidate}
            if taught:
                result["distilled"] = asdict(taught.told(comparison, job, arrays["dev"]))
                entry |= {"teacher": taught.teacher, "n_taught": len(taught.texts)}
            if comparison.kind(job.candidate) == "synthetic":
                entry |= {"n_synthetic": len(comparison.written.rows), "written_by": list(comparison.written.models)}
            if found := comparison.found(job.candidate) if comparison.kind(job.candidate) == "searched" else None:
                entry |= {"settings": dict(found.trials[found.best].settings), "n_trials": len(found.trials)}
            made = final.bundle
            kept = made.with_stage(entry, promise=made.promise, scope=made.scope, said_from=made.said_from)
            final = replace(final, bundle=save(kept, place))
            result |= {"promise": made.promise.to_dict(), "scoped": made.scope is not None}
            result |= {"said_from": list(made.said_from)}
    texts = texts_and_labels(test)[0]
    if comparison.is_main(job):
        probs, result["cost"] = measure.price(final, texts, comparison.recipe.compare.latency_rows)
        result |= _of_the_candidate(comparison, job, final, test, probs)
        if comparison.looks_for_noise(job.candidate):
            arrays["train"] = measure.out_of_fold(_baseline(comparison, job), splits)
    else:
        probs = final.probabilities(texts)
    # Raw scores cost a pass over the test rows: where calibrating changed nothing, they are the same numbers.
    same = final.bundle.calibration == before.bundle.calibration
    raw = probs if same else before.probabilities(texts)
    gold = np.array([names.index(row.label) for row in test])
    result["scores"] = measure.one_training(probs, raw, gold, final.bundle.decision)
    if comparison.is_main(job):
        arrays["raw"] = raw
        arrays |= measure.turned_away(final.bundle, texts, probs)
    _keep(place, result, {**arrays, "probs": probs} if arrays else None)


def _baseline(comparison: Comparison, job: Job) -> measure.BaselineJob:
    settings, long_rows = comparison.baseline_settings(job.candidate), comparison.recipe.model.long_rows
    return measure.BaselineJob(comparison.plain(job.candidate), comparison.task, settings, job.seed, long_rows)


def _train_model(
    comparison: Comparison, job: Job, soft: SoftLabels | None, say: Say, record: Record
) -> tuple[measure.Trained, list[str]]:
    """The model as its pipeline leaves it, and what each step left; steps that are kept are not run again."""

    @contextmanager
    def opened(step: Step) -> Iterator[Tracker]:
        stage = step.stage.name

        def tell(done: int, total: int, message: str) -> None:
            say(done, total, f"{stage} {done}/{total}" + (f", {message}" if message else ""))

        tracker = StepTracker(step, record, tell)
        tracker.begin()
        record(entries.status(step.key, "RUNNING"))
        yield tracker
        record(entries.status(step.key, "FINISHED"))

    stages = comparison.stages(job.candidate)
    tuned = comparison.pipelines.run(stages, replace(comparison.asked(job), soft=soft), opened)
    engine = comparison.engines(tuned.bundle.weights)
    trained = measure.Trained(
        tuned.bundle, engine, tuned.seconds, tuned.others_busy_cores, kept=comparison.pipelines.scores()
    )
    return trained, [step.left for step in tuned.steps]


def _of_the_candidate(
    comparison: Comparison, job: Job, final: measure.Trained, test: Sequence[Example], probs: NDArray[np.float64]
) -> dict[str, Any]:
    """What is asked of the candidate itself alone: how it writes freely, how sure it is of rows out of scope, and what
    rows that ask for a label make of it."""
    generation: dict[str, float] = {}
    if is_language_model(final.bundle.weights):
        n_rows = comparison.recipe.compare.generate_rows
        generation = measure.free_generation(final.engine, final.bundle.prompt, test, n_rows)
    outside = measure.on_rows_out_of_scope(final, comparison.out_of_scope.test, test, probs)
    steered = steering(final.bundle, final.engine, test, comparison.recipe.compare.steering_rows)
    return {"generation": generation, "outside": outside, "steering": steered, "bundle": str(comparison.place(job))}


def _free(comparison: Comparison, job: Job, test: Sequence[Example]) -> tuple[dict[str, Any], Any]:
    weights = Base(comparison.recipe.model.name)
    engine, style = comparison.engines(weights), comparison.asked(job).style
    return measure.free(engine, comparison.task, weights, style, test, comparison.recipe.compare.latency_rows)


def _keep(place: Path, result: Any, arrays: dict[str, NDArray[np.float64]] | None = None) -> None:
    """Write a job's result; the .json comes last and makes it count."""
    if arrays is not None:
        # Under a name of its own: where somebody else does the same job, the later one stands, and both are whole.
        with replacing(place.with_suffix(".npz")) as part:
            np.savez(part, **arrays)  # type: ignore[arg-type]
    write_json(place.with_suffix(".json"), result)


def _what(job: Job, comparison: Comparison) -> str:
    seed = comparison.recipe.seed
    if job.per_label:
        which = "synthetic " * (job.candidate in comparison.synthetic)
        return f"{job.per_label} {which}rows a label, seed {job.seed}"
    if job.split_seed != seed:
        return f"split {job.split_seed}"
    return f"seed {job.seed}" if job.seed != seed else "training and scoring"


def _sayer() -> Tell:
    """Says things to the parent as JSON lines; whatever libraries print goes to stderr, hence to the log."""
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def say(value: dict[str, Any]) -> None:
        with lock:
            parent.write(json.dumps(value) + "\n")
            parent.flush()

    return say


def _end_with_the_parent() -> None:
    """Watch stdin, whose other end the parent holds: once it is gone, nobody waits for this process."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    from workbench.progress import silence_libraries

    silence_libraries()
    sys.exit(serve(Path(sys.argv[1]), Path(sys.argv[2])))
