"""`python -m workbench.compare.worker RECIPE RUN CANDIDATE`: one candidate's missing jobs, each kept when done.

Started by ``workbench.compare.jobs.run_candidate``, whose process reads what is said here: lines of JSON, progress or
the error. Trains on train, calibrates on calib, scores test through ``compare.read_test``. What is scored is what
ships: a bundle, calibrated once by the recipe's ``[calibrate]``, kept beside the numbers, and exported as it is. A
baseline answers as the predictor in it, a model with its weights.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.store import load, predictor_bundle, save
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, group_keys, texts_and_labels
from labelwright.decide import log_scores, probabilities, render_rows
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine, has_probabilities
from labelwright.engines.settings import EngineSettings
from labelwright.engines.thinking import ThinkingEngine
from labelwright.errors import LabelwrightError
from labelwright.files import folder_bytes, write_json
from labelwright.models.weights import Base, Full, Predictor
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration, group_folds
from labelwright.statistics.metrics import accuracy, answers, log_loss, macro_f1
from workbench.compare.jobs import Comparison, Job, Say, is_lasting
from workbench.recipe.recipe import read_chain
from workbench.run.engines import Engines
from workbench.run.folder import RunFolder
from workbench.run.measure import Load, most, peak_memory_bytes
from workbench.run.pipeline import tune
from workbench.run.session import open_comparison


@dataclass(frozen=True)
class Trained:
    """A candidate after one training: what answers, and what it took.

    Attributes
    ----------
    bundle : Bundle
        As training left it, or the run's own step, which may be calibrated.
    engine : Engine
        Opened on the bundle's weights.
    others_busy_cores : float or None
        At most, while it was trained, see ``workbench.run.measure.Load``.
    size_bytes : int
        Of a baseline; a model's is counted from its bundle.
    n_shortened : int
        Train rows that were shortened, as the candidate reads only so many tokens.
    """

    bundle: Bundle
    engine: Engine
    seconds: float
    others_busy_cores: float | None
    size_bytes: int | None = None
    n_shortened: int = 0

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of the bundle as it stands, (n_texts, n_labels)."""
        return probabilities(self.bundle, self.engine, texts)


def main(arguments: Sequence[str]) -> int:
    """Run the candidate and say what happens on stdout; returns the exit status."""
    recipe, run, name = arguments
    say = _sayer()
    try:
        run_jobs(open_comparison(Path(recipe), Path(run)), name, lambda *progress: say({"progress": progress}))
    except LabelwrightError as error:
        say({"error": str(error), "lasting": is_lasting(error)})
        return 2
    except Exception as error:  # whatever a library raises is this candidate's failure, and no other's
        traceback.print_exc()
        first = (str(error).strip() or "no message").splitlines()[0]
        say({"error": f"{type(error).__name__}: {first}"})
        return 1
    return 0


def run_jobs(comparison: Comparison, name: str, say: Say) -> None:
    """Train, score and keep every missing job of a candidate. Raises whatever the candidate does."""
    jobs = comparison.missing(name)
    engines = Engines(comparison.recipe.model)
    for number, job in enumerate(jobs):
        where = f"job {number + 1} of {len(jobs)}: " if len(jobs) > 1 else ""

        def tell(done: int, total: int, message: str, number: int = number, where: str = where) -> None:
            say(number, len(jobs), where + message)

        say(number, len(jobs), where + _what(job, comparison))
        _run_job(comparison, job, engines, tell)
    say(len(jobs), len(jobs), "")


def _run_job(comparison: Comparison, job: Job, engines: Engines, say: Say) -> None:
    from optimizers.calibrate import uncalibrated
    from workbench.compare.score import read_test

    splits = comparison.splits_of(job)
    test, names = read_test(splits), comparison.task.names
    gold = np.array([names.index(row.label) for row in test])
    place = comparison.place(job)
    place.parent.mkdir(parents=True, exist_ok=True)
    is_main = comparison.is_main(job)
    if comparison.kind(job.candidate) == "free":
        _keep(place, _free(comparison, job, test, engines))
        return
    texts = texts_and_labels(test)[0]
    result: dict[str, Any] = {"n_train": len(splits.train)}
    arrays: dict[str, NDArray[np.float64]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if comparison.kind(job.candidate) == "baseline":
            trained = _train_baseline(comparison, job, splits, Path(scratch))
        else:
            trained = _train_model(comparison, job, splits, engines, say, place)
        before = replace(trained, bundle=uncalibrated(trained.bundle))
        # A learning curve is drawn uncalibrated: the calib rows would be labels that the candidate was not shown.
        final = before
        if not job.per_label:
            final, result["calibration"] = _calibrated(comparison, job, trained, splits)
        if is_main:
            # What is measured is what lies here, and what ships.
            entry = {"stage": "compare", "candidate": job.candidate}
            final = replace(final, bundle=save(final.bundle.with_stage(entry), place))
    if is_main:
        probs, result["cost"] = _measure(comparison, final, texts)
        result |= _of_the_bundle(comparison, job, final, test)
        result["outside"] = _outside(comparison, final, probs)
        if comparison.looks_for_noise(job.candidate):
            arrays["train"] = _out_of_fold(comparison, job, splits)
    else:
        probs = final.probabilities(texts)
    same = final.bundle.calibration == before.bundle.calibration
    raw = probs if same else before.probabilities(texts)
    result["scores"] = {
        "accuracy": float(accuracy(probs, gold)),
        "macro_f1": float(macro_f1(probs, gold)),
        "log_loss": float(log_loss(probs, gold)),
        "accuracy_raw": float(accuracy(raw, gold)),
    }
    _keep(place, result, {**arrays, "raw": raw, "probs": probs} if is_main else None)


def _calibrated(comparison: Comparison, job: Job, trained: Trained, splits: Splits) -> tuple[Trained, dict[str, Any]]:
    """The candidate with its one calibration, and what that did; a step that the run calibrated so already has it."""
    from optimizers.calibrate import calibration_record

    known = calibration_record(trained.bundle) if comparison.is_calibrated(job) else None
    if known is not None:
        return trained, known
    stage = comparison.calibration()
    if isinstance(trained.bundle.weights, Predictor):
        # A small classifier looks at every choice by itself, in whatever order they stand.
        stage = replace(stage, rotations=False)
    texts = texts_and_labels(splits.calib)[0]
    made = stage.calibrated(
        trained.bundle,
        splits.calib,
        lambda asked: log_scores(asked, trained.engine, texts),
        comparison.recipe.seed,
    )
    record = calibration_record(made.bundle)
    assert record is not None
    return replace(trained, bundle=made.bundle), record


def _out_of_fold(comparison: Comparison, job: Job, splits: Splits, n_folds: int = 3) -> NDArray[np.float64]:
    """Probabilities of train rows, (n_train, n_labels), each from a training that did not see the row or its group."""
    import baselines

    names = comparison.task.names
    texts, labels = texts_and_labels(splits.train)
    groups = group_keys(splits.train)
    folds = group_folds(np.array([names.index(label) for label in labels]), groups, n_folds, job.seed)
    probs = np.zeros((len(texts), len(names)))
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        shown = np.flatnonzero(folds != fold)
        estimator = baselines.make(
            job.candidate, comparison.task, job.seed, comparison.baseline_settings(job.candidate)
        )
        estimator.long_rows = comparison.recipe.model.long_rows
        estimator.fit([texts[i] for i in shown], [labels[i] for i in shown], groups=[groups[i] for i in shown])
        columns = np.array([names.index(str(label)) for label in estimator.classes_])
        probs[np.ix_(inside, columns)] = estimator.predict_proba([texts[i] for i in inside])
    return probs


def _train_baseline(comparison: Comparison, job: Job, splits: Splits, scratch: Path) -> Trained:
    import baselines

    task = comparison.task
    estimator = baselines.make(job.candidate, task, job.seed, comparison.baseline_settings(job.candidate))
    # Train rows only: what the model's stages learn from. Dev chooses for them, as it does for the model.
    texts, labels = texts_and_labels(splits.train)
    groups = group_keys(splits.train)
    estimator.long_rows = comparison.recipe.model.long_rows
    with Load() as load:
        begun = time.perf_counter()
        estimator.fit(texts, labels, groups=groups, eval_set=texts_and_labels(splits.dev))
        seconds = time.perf_counter() - begun
    save_predictor(estimator.predictor_, estimator.classes_, scratch)
    bundle = predictor_bundle(task, job.candidate, scratch, Calibration())
    # Answered later as trained: what the recipe says of long rows, it says of all candidates.
    engine = open_engine(bundle.weights, EngineSettings(long_rows=comparison.recipe.model.long_rows))
    others, size, n_shortened = load.others_busy_cores, estimator.size_bytes(), estimator.n_shortened_
    return Trained(bundle, engine, seconds, others, size, n_shortened)


def _train_model(comparison: Comparison, job: Job, splits: Splits, engines: Engines, say: Say, place: Path) -> Trained:
    own = comparison.own_step(job)
    if own is not None:
        bundle = load(comparison.folder.bundle_path(own))
        seconds, others = _until(comparison.folder, own)
        return Trained(bundle, engines(bundle.weights), seconds, others)
    chain = read_chain(job.candidate)
    tuned = tune(chain, comparison.recipe, comparison.task, splits, job.seed, engines, comparison.root / "steps", say)
    # For who wants the job done again: with its result, its weights go.
    write_json(place.with_suffix(".steps.json"), [str(folder) for folder in tuned.folders])
    return Trained(tuned.bundle, engines(tuned.bundle.weights), tuned.seconds, tuned.others_busy_cores)


def _of_the_bundle(comparison: Comparison, job: Job, final: Trained, test: Sequence[Example]) -> dict[str, Any]:
    """What only the candidate itself leaves: its bundle's place, and what a model writes when it may write freely."""
    generation: dict[str, float] = {}
    if not isinstance(final.bundle.weights, Predictor):
        generation = free_generation(final.engine, final.bundle.prompt, test, comparison.recipe.compare.generate_rows)
    return {"generation": generation, "bundle": str(comparison.place(job))}


def _outside(comparison: Comparison, final: Trained, on_test: NDArray[np.float64]) -> dict[str, float]:
    """Confidence on rows out of scope beside confidence on test rows; empty where the recipe has none of them."""
    from sklearn.metrics import roc_auc_score

    rows = comparison.out_of_scope
    if not rows:
        return {}
    outside = final.probabilities([row.text for row in rows]).max(axis=1)
    inside = on_test.max(axis=1)
    is_inside = np.repeat([1, 0], [len(inside), len(outside)])
    return {
        "n_rows": len(rows),
        "auroc": float(roc_auc_score(is_inside, np.concatenate([inside, outside]))),
        "accepted": float((outside >= np.quantile(inside, 0.05)).mean()),
    }


def _measure(
    comparison: Comparison, final: Trained, texts: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Test probabilities and the price of the candidate: in bulk, and one by one after a warm-up."""
    engine, bundle = final.engine, final.bundle
    final.probabilities(texts[:1])
    shortened = engine.n_shortened
    with Load() as load:
        begun = time.perf_counter()
        probs = final.probabilities(texts)
        bulk_s = time.perf_counter() - begun
        shortened = engine.n_shortened - shortened
        single_s = []
        for i in range(comparison.recipe.compare.latency_rows + 1):
            begun = time.perf_counter()
            final.probabilities([texts[i % len(texts)]])
            single_s.append(time.perf_counter() - begun)
    milliseconds = 1000 * np.array(single_s[1:])
    cost: dict[str, Any] = {
        "seconds_to_train": final.seconds,
        "ms_p50": statistics.median(milliseconds.tolist()),
        "ms_p95": float(np.quantile(milliseconds, 0.95)),
        "rows_per_second": len(texts) / bulk_s,
        "size_bytes": final.size_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "prompt_tokens": None,
        "others_busy_cores": load.others_busy_cores,
        "others_busy_cores_training": final.others_busy_cores,
    }
    if final.n_shortened:
        cost["train_rows_shortened"] = final.n_shortened
    if not isinstance(bundle.weights, Predictor):
        files = folder_bytes(bundle.weights.folder) if bundle.weights.folder else 0
        cost["size_bytes"] = files + base_size_bytes(bundle)
        cost["prompt_tokens"] = engine.count_tokens(render_rows(bundle.prompt, texts[:1])[0].text)
    cost |= _remarks(engine, shortened)
    if n_invalid := int((answers(probs) < 0).sum()):
        cost["n_invalid"] = n_invalid
    return probs, cost


def _remarks(engine: Engine, shortened: int) -> dict[str, float | None]:
    """What a reader must know of how the rows were answered, where there is something to say."""
    said: dict[str, float | None] = {}
    if shortened:
        said["scorings_shortened"] = shortened
    if not has_probabilities(engine):
        said["has_probabilities"] = 0
    if isinstance(engine, ThinkingEngine):
        said["thinking_tokens_mean"], said["thoughts_cut_share"] = engine.cost.mean_tokens, engine.cost.share_cut
    return said


def _free(comparison: Comparison, job: Job, test: Sequence[Example], engines: Engines) -> tuple[dict[str, Any], Any]:
    """The untuned model writing what it likes: one 1 a row, in the last column where that is no label."""
    weights = Base(comparison.recipe.model.name)
    engine = engines(weights)
    style = read_chain(job.candidate).style or comparison.recipe.task.style
    prompt = Prompt.for_task(comparison.task, engine.template, style)
    texts, labels = texts_and_labels(test)
    engine.generate(prompt.render_all(texts[:1]), max_new_tokens=2)
    with Load() as load:
        begun = time.perf_counter()
        answers = written_answers(engine, prompt, texts)
        bulk_s = time.perf_counter() - begun
        single_ms = []
        for text in texts[: max(2, comparison.recipe.compare.latency_rows // 4)]:
            begun = time.perf_counter()
            written_answers(engine, prompt, [text])
            single_ms.append(1000 * (time.perf_counter() - begun))
    names = comparison.task.names
    of_answer = dict(zip(prompt.answers, range(len(names)), strict=True))
    columns = np.array([of_answer.get(answer, len(names)) for answer in answers])
    probs = np.eye(len(names) + 1)[columns]
    gold = np.array([names.index(label) for label in labels])
    valid, right = float((columns < len(names)).mean()), float((columns == gold).mean())
    cost = {
        "seconds_to_train": 0.0,
        "ms_p50": statistics.median(single_ms),
        "ms_p95": float(np.quantile(single_ms, 0.95)),
        "rows_per_second": len(texts) / bulk_s,
        "size_bytes": base_size_bytes(Bundle(comparison.task, prompt, weights, Calibration())),
        "peak_memory_bytes": peak_memory_bytes(),
        "prompt_tokens": engine.count_tokens(prompt.render(texts[0]).text),
        "others_busy_cores": load.others_busy_cores,
    }
    result = {
        "n_train": 0,
        "cost": cost,
        "calibration": {},
        "generation": {"n_rows": len(texts), "valid": valid, "right": right},
        "bundle": "",
        "scores": {"accuracy": right, "accuracy_raw": right},
    }
    return result, {"raw": probs, "probs": probs}


def written_answers(engine: Engine, prompt: Prompt, texts: Sequence[str]) -> list[str]:
    """The first line, stripped, of what greedy decoding writes for each text."""
    longest = max(engine.count_tokens(option) for option in prompt.options)
    said = engine.generate(render_rows(prompt, texts), max_new_tokens=longest + 2)
    return [text.strip().split("\n")[0].strip() for text in said]


def free_generation(engine: Engine, prompt: Prompt, rows: Sequence[Example], n_rows: int) -> dict[str, float]:
    """What unconstrained greedy decoding answers on an even sample of the rows.

    An answer is valid if its first line, stripped, equals one of the prompt's answers.
    """
    if n_rows == 0:
        return {}
    sample = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int))]
    answers = written_answers(engine, prompt, [row.text for row in sample])
    of_label = dict(zip((label.name for label in prompt.labels), prompt.answers, strict=True))
    valid = [answer in prompt.answers for answer in answers]
    right = [answer == of_label[row.label] for answer, row in zip(answers, sample, strict=True)]
    return {"n_rows": len(sample), "valid": float(np.mean(valid)), "right": float(np.mean(right))}


def base_size_bytes(bundle: Bundle) -> int:
    """Bytes of the base weights; 0 where the bundle brings whole weights of its own, or the base is not on disk."""
    if isinstance(bundle.weights, Full):
        return 0
    from labelwright.models.loading import model_folder

    try:
        folder = Path(model_folder(bundle.weights.base))
    except LabelwrightError:
        return 0
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(bundle.weights.base, "config.json")
        if not isinstance(config, str):
            return 0
        folder = Path(config).parent
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _until(folder: RunFolder, last: dict[str, Any]) -> tuple[float, float | None]:
    """Seconds of the run's stages up to and with a step, and the most that others kept busy; the untuned took none."""
    total, others = 0.0, []
    for step in folder.done_steps():
        if step["stage"] != "untuned":
            total += step["seconds"]
            others.append(step.get("others_busy_cores"))
        if step["folder"] == last["folder"]:
            break
    return total, most(others)


def _keep(place: Path, result: Any, arrays: dict[str, NDArray[np.float64]] | None = None) -> None:
    """Write a job's result; the .json comes last and makes it count."""
    if isinstance(result, tuple):
        result, arrays = result
    if arrays is not None:
        part = place.with_name(f".{place.name}.part.npz")
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(place.with_suffix(".npz"))
    write_json(place.with_suffix(".json"), result)


def _what(job: Job, comparison: Comparison) -> str:
    seed = comparison.recipe.seed
    if job.per_label:
        return f"{job.per_label} rows a label, seed {job.seed}"
    if job.split_seed != seed:
        return f"split {job.split_seed}"
    return f"seed {job.seed}" if job.seed != seed else "training and scoring"


def _sayer() -> Callable[[dict[str, Any]], None]:
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

    _end_with_the_parent()
    silence_libraries()
    sys.exit(main(sys.argv[1:]))
