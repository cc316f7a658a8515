"""About how long a stage or a candidate will take: what it took last time here, else by a rule of thumb.

Good to a factor of two, which is enough to say "about three minutes" before it starts, and to leave out what no budget
of minutes can hold. Nothing that is measured or shipped depends on it. The rules count passes of a row through the
model, whose time on this machine is measured: the language model's, and an encoder's where a candidate over its
embeddings has run. Else they count training rows of a baseline, whose seconds on one machine are scaled by how fast
this one multiplies matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import baselines
from labelwright.data.task import Example, Splits
from labelwright.files import read_json
from optimizers.stage import Stage
from workbench.compare.distilled.teacher import to_ask
from workbench.compare.jobs import Comparison, Job
from workbench.compare.steering.endings import ENDINGS
from workbench.recipe.stages import HOSTED
from workbench.run.steps import settings_of

# To train on a row is forward, backward, which is two of them, and with checkpoints forward again.
_TRAINING_PASSES = 4.0
# Passes of a row that a stage makes, from its settings (without defaults of ours) and the splits. GEPA's prompts grow
# under its hands.
_PASSES: Mapping[str, Callable[[Any, Splits], float]] = {
    "untuned": lambda stage, splits: len(splits.dev),
    "prior": lambda stage, splits: len(splits.dev) + stage.rows,
    "demos": lambda stage, splits: 6 * len(stage.per_label) * (stage.draws + 1) * len(splits.dev),
    "neighbours": lambda stage, splits: 6 * len(stage.k) * len(splits.dev),
    "gepa": lambda stage, splits: 1.5 * stage.max_metric_calls + 2 * stage.holdout_share * len(splits.train),
    "sft": lambda stage, splits: _training(stage, splits),
    "grpo": lambda stage, splits: _training(stage, splits),
    "dpo": lambda stage, splits: _training(stage, splits) + len(splits.train),
    "calibrate": lambda stage, splits: len(splits.dev) + len(splits.calib),
}
_EMBEDDINGS, _FINETUNED = "baselines.embeddings", "baselines.finetuned"
# Seconds to begin and seconds a training row, by a baseline's module; measured on two cores that multiply matrices of
# 1024 x 1024 float32 at _REFERENCE_FLOPS.
_SECONDS = {
    "baselines.majority": (1.0, 0.0),
    "baselines.linear": (3.0, 0.002),
    _EMBEDDINGS: (8.0, 0.02),
    "baselines.asked.choices": (8.0, 0.06),
    _FINETUNED: (10.0, 0.07),
    "baselines.zero_shot": (15.0, 0.3),
}
_REFERENCE_FLOPS = 100e9
# A stage's engine, its libraries and its checkpoints.
_BEGINNING_S = 6.0


class Expected:
    """Expected seconds of what a comparison has not done yet."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._seconds_per_row: float | None = None

    @property
    def seconds_per_row(self) -> float | None:
        """Of the untuned model scoring many rows, as measured, or as the last comparison found; else None."""
        if self._seconds_per_row is None:
            kept = sorted((self._comparison.root / "untuned").glob("*.json"), key=_modified, reverse=True)
            rates = [cost["rows_per_second"] for path in kept if (cost := read_json(path).get("cost"))]
            self._seconds_per_row = 1 / rates[0] if rates else None
        return self._seconds_per_row

    def look_at(self, score: Callable[[list[str]], object], rows: Sequence[Example]) -> None:
        """Measure what a row costs the model, on some of these rows; the first look warms up."""
        texts = [row.text for row in rows[:48]]
        score(texts[:4])
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            score(texts)
            seconds.append(time.perf_counter() - begun)
        self._seconds_per_row = min(seconds) / len(texts)

    def take(self, seconds_per_row: float) -> None:
        """What a row cost the model when dev was scored."""
        self._seconds_per_row = seconds_per_row

    def stage(self, stage: Stage, splits: Splits) -> float | None:
        """Of one stage; None where nothing is known of it."""
        settings, found = settings_of(stage), list(self._comparison.pipelines.root.glob(f"{stage.name}-*/done.json"))
        for done in sorted(found, key=_modified, reverse=True):
            if (done.parent / "step.json").is_file() and read_json(done.parent / "step.json")["settings"] == settings:
                return float(read_json(done)["seconds"])
        if stage.name not in _PASSES or self.seconds_per_row is None:
            return None
        try:
            n_passes = _PASSES[stage.name](stage, splits)
        except AttributeError:  # another's stage of that name has other settings
            return None
        return _BEGINNING_S + self.seconds_per_row * n_passes

    def candidate(self, name: str) -> float | None:
        """Of a candidate's jobs that are not done; None where nothing is known of it."""
        comparison = self._comparison
        missing = comparison.missing(name)
        if not missing:
            return 0.0
        seconds = self._of_jobs(name, missing)
        if seconds is None or comparison.kind(name) != "distilled":
            return seconds
        asking = self._asking(missing[0])
        return None if asking is None else seconds + asking

    def _asking(self, job: Job) -> float | None:
        """Of what a job's teacher was not asked yet, by what a row cost it in bulk; None of a model elsewhere."""
        teacher, n_rows = to_ask(self._comparison, job)
        if teacher == HOSTED:
            return None if n_rows else 0.0
        found = self._comparison.result(self._comparison.jobs(teacher)[0]) if n_rows else None
        return _BEGINNING_S + n_rows / float(found["cost"]["rows_per_second"]) if found else 0.0

    def _of_jobs(self, name: str, missing: Sequence[Job]) -> float | None:
        """As ``candidate``, without what its teacher is asked."""
        comparison = self._comparison
        if comparison.kind(name) == "together":
            return self._together(name)
        is_baseline = comparison.is_baseline(name)
        kept = sorted((comparison.root / name).glob("*.json"), key=_modified, reverse=True)
        for path in kept:
            if cost := read_json(path).get("cost"):
                scoring = len(comparison.splits_of(missing[0]).calib) * 2 / cost["rows_per_second"]
                once = cost["seconds_to_train"] if is_baseline else 0.0
                again = once + scoring + comparison.recipe.compare.latency_rows * cost["ms_p50"] / 1000
                return again * len(missing) + self._stages(name)
        if is_baseline:
            if (tuned := self._tuned(name)) is not None:
                return tuned
            if comparison.family(name) not in _SECONDS:
                return None
            begin, per_row = _SECONDS[comparison.family(name)]
            scale = _REFERENCE_FLOPS / flops()
            n_soft = len(comparison.unlabelled.texts) if comparison.kind(name) == "distilled" else 0
            n_rows = [len(comparison.splits_of(job).train) + n_soft for job in missing]
            return scale * (begin + per_row * sum(n_rows))
        scoring = self.scoring()
        return None if scoring is None else scoring * len(missing) + self._stages(name)

    def _tuned(self, name: str) -> float | None:
        """Of a transformer that is trained as a baseline, by what a row costs it here untrained; None if not known.

        Whether a machine has native bfloat16, no product of float32 matrices tells; a pass of the model itself does.
        """
        comparison = self._comparison
        if comparison.family(name) != _FINETUNED or (estimator := self._estimator(name)) is None:
            return None
        a_pass = self._pass_of(estimator.model)
        if a_pass is None:
            return None
        n_rows = [len(comparison.splits_of(job).train) for job in comparison.missing(name)]
        return _BEGINNING_S * len(n_rows) + a_pass * _TRAINING_PASSES * sum(_readings(estimator, n) for n in n_rows)

    def _pass_of(self, model: str) -> float | None:
        """Seconds a row that a model takes in bulk: the recipe's, or an encoder as its embeddings' candidates found."""
        comparison = self._comparison
        if model == comparison.recipe.model.name:
            return self.seconds_per_row
        embedding = [one for one in comparison.recipe.baselines.names if comparison.family(one) == _EMBEDDINGS]
        same = [one for one in embedding if getattr(self._estimator(one), "encoder", None) == model]
        kept = [path for one in same for path in (comparison.root / one).glob("*.json")]
        for path in sorted(kept, key=_modified, reverse=True):
            if cost := read_json(path).get("cost"):
                return 1 / float(cost["rows_per_second"])
        return None

    def _estimator(self, name: str) -> Any:
        """A baseline with its settings, not fitted; None where it cannot be made, which it says itself when it runs."""
        comparison = self._comparison
        with suppress(Exception):
            return baselines.make(name, comparison.task, 0, comparison.baseline_settings(name))
        return None

    def _together(self, name: str) -> float:
        """Of one that is made of others: their models are opened, some rows asked; the rest is arithmetic."""
        found = [self._comparison.result(self._comparison.jobs(one)[0]) for one in self._comparison.together[name]]
        each = [one["cost"]["ms_p50"] for one in found if one is not None]
        return 2 * _BEGINNING_S + self._comparison.recipe.compare.latency_rows * sum(each) / 1000

    def scoring(self) -> float | None:
        """Of the model, as some stages left it: calibrated, its test rows scored, priced, asked to write freely."""
        if self.seconds_per_row is None:
            return None
        table, shares = self._comparison.recipe.compare, self._comparison.recipe.splits
        main = self._comparison.jobs(self._comparison.names[0])[0]
        calib = len(self._comparison.splits_of(main).calib)
        # One by one a row costs three times as much, written freely six times.
        n_passes = calib * (1 + shares.test / shares.calib) + 3 * table.latency_rows + 6 * table.generate_rows
        n_passes += table.steering_rows * (1 + len(ENDINGS))
        return _BEGINNING_S + self.seconds_per_row * n_passes

    def _stages(self, name: str) -> float:
        """Of the stages behind a candidate that are not done."""
        steps = [step for job in self._comparison.missing(name) for step in self._comparison.steps(job)]
        left = [step for step in steps if not step.is_done]
        splits = self._comparison.splits_of(self._comparison.jobs(name)[0])
        return sum(self.stage(step.stage, splits) or 0.0 for step in left)


@cache
def flops() -> float:
    """Multiplications and additions a second of two float32 matrices, 1024 x 1024, the best of three."""
    one = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - begun)
    return float(2 * 1024**3 / min(seconds))


def _readings(estimator: Any, n_rows: int) -> float:
    """How many texts a training reads, from the estimator's settings."""
    if hasattr(estimator, "epochs"):
        return float(estimator.epochs * n_rows)
    return 2.0 * min(estimator.max_pairs, 2 * estimator.n_pairs * n_rows)


def _training(stage: Any, splits: Splits) -> float:
    looks = 1 + stage.steps // stage.eval_every
    # Logits, and the first meeting of a row, cost the same however few layers are tuned (docs/results.md).
    share = 0.15 + 0.85 * stage.lora_layers
    return share * _TRAINING_PASSES * stage.steps * stage.rows_per_step + looks * len(splits.dev)


def _modified(path: Path) -> float:
    return path.stat().st_mtime
