"""What makes a candidate's numbers: a baseline's training, the one calibration, the scores, the price.

Nothing here knows of recipes, runs or processes: rows and settings come in, numbers go out. So what can change a number
is what this file and the candidate's own module import, and that is what makes a kept result stale. What is scored is
what ships: a bundle, calibrated once; a baseline answers as the predictor in it, a model with its weights.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import baselines
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits, Task, group_keys, texts_and_labels, words_and_labels
from labelwright.decide import log_scores, probabilities, render_rows
from labelwright.decisions.decision import Decision
from labelwright.decisions.promise import Promise
from labelwright.decisions.scope import certainty
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import Engine, has_probabilities
from labelwright.engines.settings import EngineSettings
from labelwright.engines.thinking import ThinkingCost, ThinkingEngine
from labelwright.errors import LabelwrightError
from labelwright.files import folder_bytes
from labelwright.models.folders import model_folder
from labelwright.models.weights import Full, Weights, is_language_model
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt, Style
from labelwright.statistics.calibration import Calibration, group_folds
from labelwright.statistics.metrics import Floats, accuracy, answers, log_loss, macro_f1
from labelwright.statistics.proportions import share_interval
from optimizers.calibrate import CalibrateStage, calibration_record, uncalibrated
from optimizers.kept import KeptScores
from optimizers.scope import Outside, fit_scope
from optimizers.scores import gold_of
from workbench.run.usage import Load, peak_memory_bytes

# Behind the name of a share: itself, and the two ends of its interval.
_ENDS = ("", "_low", "_high")
# Enough for an engine to pack them, and to have all the memory that it wants.
_WARM_UP_ROWS = 16


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
        At most, while it was trained, see ``workbench.run.usage.Load``.
    size_bytes : int
        Of a baseline; a model's is counted from its bundle.
    n_shortened : int
        Train rows that were shortened, as the candidate reads only so many tokens.
    kept : KeptScores, optional
        What its language model was asked before: of dev and calib rows, whose price is not measured.
    """

    bundle: Bundle
    engine: Engine
    seconds: float
    others_busy_cores: float | None
    size_bytes: int | None = None
    n_shortened: int = 0
    kept: KeptScores | None = None

    def log_scores(self, rows: Sequence[Example], bundle: Bundle | None = None) -> NDArray[np.float64]:
        """Whole log-scores of rows, (n_rows, n_labels); of another bundle over the same weights where one is given."""
        bundle = self.bundle if bundle is None else bundle
        if self.kept is not None and is_language_model(bundle.weights):
            return self.kept.of(bundle, rows, lambda weights: self.engine)
        return log_scores(bundle, self.engine, texts_and_labels(rows)[0])

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of the bundle as it stands, (n_texts, n_labels)."""
        return probabilities(self.bundle, self.engine, texts)


@dataclass(frozen=True)
class BaselineJob:
    """What a baseline is trained from.

    Attributes
    ----------
    settings : mapping
        Parameters of the estimator other than its defaults.
    long_rows : str
        What is done to texts of more tokens than the candidate reads, see ``EngineSettings``.
    """

    name: str
    task: Task
    settings: Mapping[str, Any]
    seed: int
    long_rows: str

    def make(self) -> Any:
        """The estimator, not fitted."""
        estimator = baselines.make(self.name, self.task, self.seed, self.settings)
        estimator.long_rows = self.long_rows
        return estimator


def train_baseline(
    job: BaselineJob, splits: Splits, scratch: Path, soft: tuple[Any, Any, Any] | None = None
) -> Trained:
    """Train on train rows only, what the model's stages learn from; dev chooses, as it does for the model.

    Parameters
    ----------
    scratch : Path
        An empty folder for the predictor, which must last as long as it is asked.
    soft : (texts, labels, probabilities), optional
        More rows, with a teacher's probabilities.
    """
    # Who cannot learn them does not know the word.
    more = {} if soft is None else {"soft": soft}
    texts, labels = words_and_labels(splits.train)
    estimator = job.make()
    with Load() as load:
        begun = time.perf_counter()
        estimator.fit(texts, labels, groups=group_keys(splits.train), eval_set=words_and_labels(splits.dev), **more)
        seconds = time.perf_counter() - begun
    save_predictor(estimator.predictor_, estimator.classes_, scratch)
    bundle = predictor_bundle(job.task, job.name, scratch, Calibration())
    # Answered later as trained: what the recipe says of long rows, it says of all candidates.
    engine = open_engine(bundle.weights, EngineSettings(long_rows=job.long_rows))
    others, size, n_shortened = load.others_busy_cores, estimator.size_bytes(), estimator.n_shortened_
    return Trained(bundle, engine, seconds, others, size, n_shortened)


def out_of_fold(job: BaselineJob, splits: Splits, n_folds: int = 3) -> NDArray[np.float64]:
    """Probabilities of train rows, (n_train, n_labels), each from a training that did not see the row or its group."""
    names = job.task.names
    texts, labels = words_and_labels(splits.train)
    groups = group_keys(splits.train)
    folds = group_folds(np.array([names.index(label) for label in labels]), groups, n_folds, job.seed)
    probs = np.zeros((len(texts), len(names)))
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        shown = np.flatnonzero(folds != fold)
        estimator = job.make()
        estimator.fit([texts[i] for i in shown], [labels[i] for i in shown], groups=[groups[i] for i in shown])
        columns = np.array([names.index(str(label)) for label in estimator.classes_])
        probs[np.ix_(inside, columns)] = estimator.predict_proba([texts[i] for i in inside])
    return probs


def before_calibration(trained: Trained) -> Trained:
    """The candidate without what calib rows made of it."""
    return replace(trained, bundle=uncalibrated(trained.bundle))


def calibrated(
    trained: Trained, stage: CalibrateStage, rows: Sequence[Example], seed: int
) -> tuple[Trained, dict[str, Any], NDArray[np.float64]]:
    """The candidate with its one calibration, what that did (``optimizers.calibrate.calibration_record``), and what it
    says of those rows now, (n_rows, n_labels)."""
    if not is_language_model(trained.bundle.weights):
        # A small classifier looks at every choice by itself, in whatever order they stand.
        stage = replace(stage, rotations=False)
    # What rotations cost is measured, on rows that are asked here.
    asking = replace(trained, kept=None) if stage.rotations else trained
    made = stage.calibrated(trained.bundle, rows, lambda asked: asking.log_scores(rows, asked), seed)
    record = calibration_record(made.bundle)
    assert record is not None
    return replace(trained, bundle=made.bundle), record, made.probs


def one_training(
    probs: NDArray[np.float64], raw: NDArray[np.float64], gold: NDArray[np.int64], decision: Decision
) -> dict[str, float]:
    """The numbers of one training, on whatever rows ``gold`` is of: for spreads over seeds and for learning curves.

    With prices also what a row cost; a scope, which a candidate gets in its main job alone, has no part in that.
    """
    read, of_raw = (decision.read(one, gold) for one in (probs, raw))
    cost = (
        {} if decision.prices is None else {"cost": float(decision.realised(gold, decision.decide(probs).said).mean())}
    )
    return {
        "accuracy": float(accuracy(read, gold)),
        "macro_f1": float(macro_f1(read, gold)),
        "log_loss": float(log_loss(read, gold)),
        "accuracy_raw": float(accuracy(of_raw, gold)),
    } | cost


def with_scope(
    bundle: Bundle, splits: Splits, stage: CalibrateStage, seed: int, of_calib: Floats, outside: Outside
) -> Bundle:
    """The bundle that tells rows out of scope: what is far from train rows, by a threshold of calib rows.

    Its promise is counted again, of what it answers now. So the threshold is of the rows that ``stage`` fits on, and
    those kept apart for the promise choose nothing here either.

    Parameters
    ----------
    of_calib : ndarray of shape (n_calib, n_labels)
        What it says of calib rows.
    outside : Outside
        Rows out of scope that teach and choose; none of either where there are too few.
    """
    fitted_on = stage.sides(splits.calib, seed)[0]
    scope = fit_scope(splits.train, [splits.calib[i] for i in fitted_on.tolist()], of_calib[fitted_on], outside=outside)
    return _promised_again(replace(bundle, scope=scope), splits, stage, seed, of_calib)


def passing_on(
    bundle: Bundle, threshold: float, splits: Splits, stage: CalibrateStage, seed: int, of_calib: Floats
) -> Bundle:
    """The bundle that leaves rows which it is less sure of to others; its promise is of those that it answers.

    Parameters
    ----------
    threshold : float
        Chosen without the rows kept apart for the promise. The rest is as in ``with_scope``.
    """
    return _promised_again(replace(bundle, pass_on=threshold), splits, stage, seed, of_calib)


def _promised_again(bundle: Bundle, splits: Splits, stage: CalibrateStage, seed: int, of_calib: Floats) -> Bundle:
    """The bundle with its promise counted without the rows that it turns away or passes on."""
    promise, decision = bundle.promise, bundle.choosing
    if promise.all is None:
        return bundle
    sides, gold = stage.sides(splits.calib, seed), gold_of(bundle, splits.calib)
    away = decision.decide(of_calib).confidence < bundle.pass_on
    if (outside := bundle.outside(texts_and_labels(splits.calib)[0], of_calib)) is not None:
        away |= outside
    fitted, apart = ((of_calib[side], gold[side]) for side in sides)
    left = away[sides[0]], away[sides[1]]
    again = Promise.of(decision, fitted, apart, promise.n_fitted, promise.asked, left)
    return replace(bundle, promise=again)


def turned_away(bundle: Bundle, texts: Sequence[str], probs: Floats) -> dict[str, Floats]:
    """``outside``: which rows belong to no label, (n_rows,) of 1 and 0; nothing where the bundle does not ask."""
    outside = bundle.outside(texts, probs)
    return {} if outside is None else {"outside": outside.astype(np.float64)}


def on_rows_out_of_scope(
    trained: Trained, rows: Sequence[Example], test: Sequence[Example], probs: NDArray[np.float64]
) -> dict[str, float]:
    """Rows out of scope beside test rows; empty where there are none of them. As ``Candidate.outside`` says.

    Parameters
    ----------
    probs : ndarray of shape (n_test, n_labels)
        Of the test rows.
    """
    scope, texts = trained.bundle.scope, [row.text for row in rows]
    if not texts or scope is None:
        return {}
    # Seconds of a candidate that has no use for it.
    from sklearn.metrics import roc_auc_score

    of_texts = trained.probabilities(texts)
    begun = time.perf_counter()
    scores = scope.scores(texts, of_texts), scope.scores([row.text for row in test], probs)
    seconds = time.perf_counter() - begun
    is_inside = np.repeat([0, 1], [len(texts), len(test)])
    each = {
        "auroc": (of_texts.max(axis=1), probs.max(axis=1)),
        "auroc_certainty": (certainty(of_texts), certainty(probs)),
        "auroc_score": scores,
    }
    found = {name: float(roc_auc_score(is_inside, np.concatenate(both))) for name, both in each.items()}
    gold = np.array([trained.bundle.task.index(row.label) for row in test])
    kept, groups = scores[1] >= scope.threshold, group_keys(test)
    shares = {
        "kept": share_interval(kept, groups),
        "right": share_interval(kept & (answers(probs) == gold), groups),
        "recall": share_interval(scores[0] < scope.threshold, group_keys(rows)),
    }
    if preferred := scope.preference:
        found |= {f"none_{name}": float(value) for name, value in preferred._asdict().items()}
        found["none_used"] = float(scope.none.size > 0)
    ends = {f"{name}{end}": value for name, one in shares.items() for end, value in zip(_ENDS, one, strict=True)}
    return {"n_rows": len(texts), "ms": 1000 * seconds / len(is_inside), **found, **ends}


def price(final: Trained, texts: Sequence[str], latency_rows: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Probabilities of the texts and what they cost: in bulk, and ``latency_rows`` one by one, both after a warm-up.

    What they cost does not depend on what was asked before: nothing here is kept or read, and the warm-up is a call of
    several rows, as those that it warms up for.
    """
    engine, bundle = final.engine, final.bundle
    final.probabilities(texts[:_WARM_UP_ROWS])
    shortened = engine.n_shortened
    thinking = replace(engine.cost) if isinstance(engine, ThinkingEngine) else None
    with Load() as load:
        begun = time.perf_counter()
        probs = final.probabilities(texts)
        bulk_s = time.perf_counter() - begun
        shortened = engine.n_shortened - shortened
        milliseconds, _ = one_by_one(final, texts, latency_rows)
    cost: dict[str, Any] = {
        "seconds_to_train": final.seconds,
        **milliseconds,
        "rows_per_second": len(texts) / bulk_s,
        "size_bytes": final.size_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "prompt_tokens": None,
        "others_busy_cores": load.others_busy_cores,
        "others_busy_cores_training": final.others_busy_cores,
    }
    if final.n_shortened:
        cost["train_rows_shortened"] = final.n_shortened
    if is_language_model(bundle.weights):
        files = folder_bytes(bundle.weights.folder) if bundle.weights.folder else 0
        cost["size_bytes"] = files + base_size_bytes(bundle)
        cost["prompt_tokens"] = engine.count_tokens(render_rows(bundle.prompt, texts[:1])[0].text)
    cost |= _remarks(engine, shortened, thinking)
    if n_invalid := int((answers(probs) < 0).sum()):
        cost["n_invalid"] = n_invalid
    return probs, cost


def one_by_one(final: Trained, texts: Sequence[str], n_rows: int) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Milliseconds of so many rows, each asked alone after one to warm up, and the probabilities of those."""
    seconds, probs = [], []
    for i in range(n_rows + 1):
        begun = time.perf_counter()
        probs.append(final.probabilities([texts[i % len(texts)]]))
        seconds.append(time.perf_counter() - begun)
    milliseconds = 1000 * np.array(seconds[1:])
    times = {"ms_p50": statistics.median(milliseconds.tolist()), "ms_p95": float(np.quantile(milliseconds, 0.95))}
    return times, np.concatenate(probs)


def _remarks(engine: Engine, shortened: int, thinking: ThinkingCost | None) -> dict[str, float | None]:
    """What a reader must know of how the rows were answered, where there is something to say.

    Parameters
    ----------
    thinking : ThinkingCost, optional
        As it stood before these rows.
    """
    said: dict[str, float | None] = {}
    if shortened:
        said["scorings_shortened"] = shortened
    if not has_probabilities(engine):
        said["has_probabilities"] = 0
    if isinstance(engine, ThinkingEngine) and thinking is not None:
        of_rows = engine.cost.since(thinking)
        said["thinking_tokens_mean"], said["thoughts_cut_share"] = of_rows.mean_tokens, of_rows.share_cut
    return said


def free(
    engine: Engine, task: Task, weights: Weights, style: Style, test: Sequence[Example], latency_rows: int
) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """The untuned model writing what it likes: one 1 a row, in the last column where that is no label."""
    prompt = Prompt.for_task(task, engine.template, style)
    texts, labels = texts_and_labels(test)
    engine.generate(prompt.render_all(texts[:1]), max_new_tokens=2)
    with Load() as load:
        begun = time.perf_counter()
        answers = written_answers(engine, prompt, texts)
        bulk_s = time.perf_counter() - begun
        single_ms = []
        for text in texts[: max(2, latency_rows // 4)]:
            begun = time.perf_counter()
            written_answers(engine, prompt, [text])
            single_ms.append(1000 * (time.perf_counter() - begun))
    names = task.names
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
        "size_bytes": base_size_bytes(Bundle(task, prompt, weights, Calibration())),
        "peak_memory_bytes": peak_memory_bytes(),
        "prompt_tokens": engine.count_tokens(prompt.render(texts[0]).text),
        "others_busy_cores": load.others_busy_cores,
    }
    result = {
        "n_train": 0,
        "made_from": [],
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
