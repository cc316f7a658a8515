"""Scores every rung on the test split: baselines, the untuned model, the model after each stage.

The only module that reads ``splits.test``, in one function. A rung's scores are kept in the run folder under a hash of
what made them, so a killed comparison goes on with the next rung and a new stage costs one rung. A rung that cannot
run is a row that says why.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle import Bundle, load
from labelwright.decide import probabilities
from labelwright.engine import Engine, has_probabilities
from labelwright.errors import LabelwrightError
from labelwright.prompt import Prompt
from labelwright.task import Example, Splits, texts_and_labels
from labelwright.thinking import ThinkingEngine
from workbench.data import split_digest
from workbench.engines import folder_hash, size_bytes
from workbench.folder import read_json, write_json
from workbench.run import Session

# Part of every cache key: raise it when what is measured, or how, changes.
_VERSION = 1


@dataclass(frozen=True)
class Rung:
    """One classifier on the test rows.

    Attributes
    ----------
    kind : str
        "baseline" or "llm".
    step : str, optional
        The step's folder, of an LLM rung.
    probs : ndarray of shape (n_test, n_labels)
        In label order; empty where ``failed`` says why there is none.
    cost : mapping
        seconds_to_train, ms_per_row, rows_per_second, size_bytes, prompt_tokens; None where it does not apply.
    generation : mapping
        n_rows, valid (share of answers that are a label) and right (share that are the gold label) under free
        generation; empty where it does not apply.
    """

    name: str
    kind: str
    step: str | None = None
    probs: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    cost: Mapping[str, float | None] = field(default_factory=dict)
    generation: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""


def read_test(splits: Splits) -> tuple[Example, ...]:
    """The test rows. Nothing else in the house reads them."""
    return splits.test


def score_rungs(session: Session, test: Sequence[Example]) -> list[Rung]:
    """Every rung of the run on the test rows, cheapest kind first."""
    folder = session.folder.path / "compare" / "rungs"
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, str, str | None, str, Callable[[], dict[str, Any]]]] = []
    digest = split_digest(session.splits)
    for name in session.recipe.baselines.names:
        jobs.append((name, "baseline", None, _baseline_key(session, name, digest), _baseline_job(session, name, test)))
    generated: dict[str, dict[str, float]] = {}
    for name, step in llm_rungs(session.folder.done_steps()):
        bundle = session.folder.bundle_path(step)
        settings = session.recipe.compare
        key = _hash([_VERSION, folder_hash(bundle), digest, settings.generate_rows, settings.latency_rows])
        jobs.append((name, "llm", step["folder"], key, _llm_job(session, bundle, test, generated)))
    rungs = []
    for number, (name, kind, step_folder, key, job) in enumerate(jobs):
        session.display.progress(number, len(jobs), name)
        try:
            made = _cached(folder / name, key, job)
            if step_folder is not None:
                # Time is the run's, not the bundle's: it is never taken from the cache.
                made["cost"]["seconds_to_train"] = _seconds_until(session.folder.done_steps(), step_folder)
            rungs.append(Rung(name, kind, step_folder, **made))
        except LabelwrightError as error:
            session.display.say(f"{name} is left out: {error}")
            rungs.append(Rung(name, kind, step_folder, failed=str(error)))
    session.display.progress(len(jobs), len(jobs), f"{len(jobs)} rungs")
    return rungs


def llm_rungs(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Names for the steps: the stage's, with a number from its second time on."""
    seen: dict[str, int] = {}
    named = []
    for step in steps:
        seen[step["stage"]] = seen.get(step["stage"], 0) + 1
        number = seen[step["stage"]]
        named.append((step["stage"] if number == 1 else f"{step['stage']}-{number}", step))
    return named


def free_generation(engine: Engine, prompt: Prompt, rows: Sequence[Example], n_rows: int) -> dict[str, float]:
    """What unconstrained greedy decoding answers on an even sample of the rows.

    An answer is valid if its first line, stripped, equals one of the prompt's answers.
    """
    if n_rows == 0:
        return {}
    sample = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int))]
    longest = max(engine.count_tokens(option) for option in prompt.options)
    said = engine.generate(prompt.render_all([row.text for row in sample]), max_new_tokens=longest + 2)
    answers = [text.strip().split("\n")[0].strip() for text in said]
    of_label = dict(zip((label.name for label in prompt.labels), prompt.answers, strict=True))
    valid = [answer in prompt.answers for answer in answers]
    right = [answer == of_label[row.label] for answer, row in zip(answers, sample, strict=True)]
    return {"n_rows": len(sample), "valid": float(np.mean(valid)), "right": float(np.mean(right))}


def _llm_job(
    session: Session, folder: Path, test: Sequence[Example], generated: dict[str, dict[str, float]]
) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        bundle = load(folder)
        engine = session.engines(bundle.weights)
        texts, _ = texts_and_labels(test)
        shortened = engine.n_shortened
        probs, cost = _measure(lambda part: probabilities(bundle, engine, part), texts, session.recipe.compare)
        # Calibration changes no generated word: the stage before has the same answers.
        same = _hash([bundle.weights.base, bundle.prompt.system, _tuned_hash(bundle)])
        if same not in generated:
            generated[same] = free_generation(engine, bundle.prompt, test, session.recipe.compare.generate_rows)
        cost["size_bytes"] = size_bytes(folder) + base_size_bytes(bundle)
        cost["prompt_tokens"] = engine.count_tokens(bundle.prompt.render("").text)
        cost |= _remarks(engine, shortened)
        return {"probs": probs, "cost": cost, "generation": generated[same]}

    return run


def _remarks(engine: Engine, shortened: int) -> dict[str, float | None]:
    """What a reader must know of how the rows were answered, where there is something to say."""
    said: dict[str, float | None] = {}
    if engine.n_shortened > shortened:
        said["scorings_shortened"] = engine.n_shortened - shortened
    if not has_probabilities(engine):
        said["has_probabilities"] = 0
    if isinstance(engine, ThinkingEngine):
        said["thinking_tokens_mean"], said["thoughts_cut_share"] = engine.cost.mean_tokens, engine.cost.share_cut
    return said


def _baseline_job(session: Session, name: str, test: Sequence[Example]) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        import baselines

        # Train rows only: what the model's stages learn from. Dev chooses for them, as it does for the model.
        baselines.refuse_unfit(name, session.task)
        estimator = baselines.BASELINES[name](session.task, session.recipe.seed)
        texts, labels = texts_and_labels(session.splits.train)
        begun = time.perf_counter()
        estimator.fit(texts, labels)
        seconds = time.perf_counter() - begun
        columns = [
            list(map(str, estimator.classes_)).index(one) for one in session.task.names if one in estimator.classes_
        ]
        places = [k for k, one in enumerate(session.task.names) if one in estimator.classes_]

        def predict(part: Sequence[str]) -> NDArray[np.float64]:
            probs = np.zeros((len(part), len(session.task.names)))
            probs[:, places] = np.asarray(estimator.predict_proba(list(part)))[:, columns]
            return probs

        probs, cost = _measure(predict, texts_and_labels(test)[0], session.recipe.compare)
        cost |= {"seconds_to_train": seconds, "size_bytes": baselines.size_bytes(estimator), "prompt_tokens": None}
        return {"probs": probs, "cost": cost, "generation": {}}

    return run


def _measure(
    predict: Callable[[Sequence[str]], NDArray[np.float64]], texts: Sequence[str], settings: Any
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Probabilities of all texts, and how fast: in bulk, and one by one (median, after a warm-up)."""
    predict(texts[:1])
    begun = time.perf_counter()
    probs = predict(texts)
    bulk_s = time.perf_counter() - begun
    single_s = []
    for i in range(min(settings.latency_rows, len(texts)) + 1):
        begun = time.perf_counter()
        predict([texts[i % len(texts)]])
        single_s.append(time.perf_counter() - begun)
    return probs, {"ms_per_row": 1000 * statistics.median(single_s[1:]), "rows_per_second": len(texts) / bulk_s}


def base_size_bytes(bundle: Bundle) -> int:
    """Bytes of the base weights; 0 where the bundle brings whole weights of its own, or the base is not on disk."""
    if bundle.weights.full is not None:
        return 0
    from labelwright.models import model_folder

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


def _seconds_until(steps: Sequence[Mapping[str, Any]], folder: str) -> float:
    """Seconds of the stages up to and with a step; the untuned model took none."""
    total = 0.0
    for step in steps:
        total += 0.0 if step["stage"] == "untuned" else step["seconds"]
        if step["folder"] == folder:
            break
    return total


def _cached(path: Path, key: str, job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The job's result from ``path``.json and ``path``.npy if it was made under the same key, else made and kept."""
    about, scores = path.with_name(path.name + ".json"), path.with_name(path.name + ".npy")
    if about.is_file() and scores.is_file():
        known = read_json(about)
        if known.pop("key") == key:
            return {**known, "probs": np.load(scores, allow_pickle=False)}
    made = job()
    # The numbers first: without its .json, which names the key, a .npy counts for nothing.
    about.unlink(missing_ok=True)
    temporary = scores.with_name(f".{scores.name}.tmp.npy")
    np.save(temporary, made["probs"], allow_pickle=False)
    temporary.replace(scores)
    write_json(about, {"key": key, "cost": made["cost"], "generation": made["generation"]})
    return made


def _baseline_key(session: Session, name: str, digest: str) -> str:
    settings = session.recipe.compare
    return _hash([_VERSION, name, digest, session.task.names, session.recipe.seed, settings.latency_rows])


def _tuned_hash(bundle: Bundle) -> str:
    return folder_hash(bundle.weights.folder) if bundle.weights.folder else ""


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
