"""One training run of the weights: look at dev, keep the best step, resume.

Owns the files of a run, under the stage's folder: ``checkpoints`` to resume from, ``dev.jsonl`` with every look at dev,
``best`` with the weights that dev liked best, ``training.json`` with a hash of all that the run depends on. Steps are
the trainer's, losses ``losses``'; the stages in ``sft``, ``grpo`` and ``dpo`` call this with settings and objective.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits
from labelwright.decide import option_scores
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError
from labelwright.files import read_json, write_json
from labelwright.statistics.calibration import UNCALIBRATED, Calibration
from labelwright.statistics.metrics import Floats
from optimizers.scores import dev_numbers, gold_of, kept_scores, rank
from optimizers.stage import StageContext, Tracker
from optimizers.training.libraries import open_trainer
from optimizers.training.processes.group import current
from optimizers.training.processes.sharding import led
from optimizers.training.settings import Objective, TrainingSettings
from optimizers.training.weights import trainable, trained

if TYPE_CHECKING:
    from optimizers.training.processes.job import Job

# One step's rows may happen to have nothing to teach.
_FEWEST_STEPS = 2


@dataclass
class Training:
    """One training run over live weights: the trainer, its dev evaluations, and where its files lie.

    ``settings`` are those of the engine that answers for the bundle; ``key`` stands for all that the run depends on;
    ``stop_at`` is the objective's; ``job`` is what other processes are told that help, a ``processes.job.Job``.
    """

    stage: TrainingSettings
    bundle: Bundle
    dev: tuple[Example, ...]
    folder: Path
    tracker: Tracker
    before: dict[str, float]
    # TRL types its model as "anything or None"; here it is a transformers or PEFT model for as long as it lives.
    trainer: Any
    settings: EngineSettings
    key: str
    stop_at: float = 0.0
    job: Job | Any = None

    @classmethod
    def prepare(
        cls, stage: TrainingSettings, objective: Objective, bundle: Bundle, splits: Splits, context: StageContext
    ) -> Training:
        """Load the weights for training; the context's engine, which answered with them, is let go before."""
        from optimizers.training.copies.copied import copied_rows, with_copies
        from optimizers.training.processes.job import Job
        from optimizers.training.rows import LabelRows

        engine = trainable(context.open_engine(bundle.weights), stage.name)
        if not splits.dev:
            raise DataError(f"{stage.name} chooses its best step on dev, which has no rows: set [splits] dev above 0")
        # Before anything is scored, so that all rows that do not fit are named at once.
        names = [label.name for label in bundle.prompt.labels]
        train = splits.train
        if stage.steering_share or stage.augment:
            shares = {"steering_share": stage.steering_share, "augment": stage.augment}
            train = with_copies(train, names, context.seed, **shares)
            if objective.row_rewards is not None:
                # However a text is changed, no label gets better.
                copied = copied_rows(len(splits.train), context.seed, **shares)
                rewards = np.concatenate([objective.row_rewards, objective.row_rewards[copied]])
                objective = replace(objective, row_rewards=rewards)
        soft = objective.soft
        if soft is not None:
            likeliest = [names[k] for k in soft.probs.argmax(axis=1)]
            pool = zip(soft.texts, likeliest, strict=True)
            train = (*train, *(Example(f"pool {n}", text, label) for n, (text, label) in enumerate(pool, start=1)))
        rows = LabelRows.from_examples(train, bundle.prompt, engine, also=splits.dev)
        rows = rows if soft is None else rows.with_teacher(soft.probs)
        asked = replace(bundle, calibration=UNCALIBRATED)
        before = _dev_metrics(kept_scores(asked, splits.dev, context, "dev"), engine, bundle, splits.dev)
        dtype = str(engine.model.dtype).removeprefix("torch.")
        device, tokenizer, images = engine.device, engine.tokenizer, engine.images
        settings = EngineSettings(
            dtype=dtype, long_rows=engine.tokens.long_rows, unexpanded_mass=engine.unexpanded_mass
        )
        # Two copies of the weights are half a gigabyte of nothing.
        del engine
        context.close_engines()
        device = current().trains_on(str(device))
        job = Job(stage, objective, rows, bundle.weights, context.folder, device, dtype, context.seed)
        # Others are not told of it yet: whatever is refused here, they are let go in peace.
        with current().as_member():
            trainer, job = _opened(job, tokenizer, images)
        context.tracker.params({"n_layers_kept": trainer.lower.n_layers if trainer.lower else 0})
        if current().sharded and stage.lora_layers < 1:
            context.tracker.progress(0, stage.steps, "sharded: the layers below run at every step, and keep nothing")
        about = [asdict(stage), context.seed, bundle.weights]
        about += [None if objective.rewards is None else objective.rewards.tolist(), splits.dev, rows.contents()]
        about += [] if objective.preferences is None else [objective.preferences]
        about += [] if objective.row_rewards is None else [objective.row_rewards.tolist()]
        key = hashlib.sha256(repr(about).encode()).hexdigest()
        training = cls(
            stage, bundle, splits.dev, context.folder, context.tracker, before, trainer, settings, key, job=job
        )
        training.stop_at = objective.stop_at
        training._tell_rows()
        trainer.add_callback(_callback(training))
        return training

    def settled(self, settings: Mapping[str, Any], started: float, said: Mapping[str, Any] | None = None) -> Bundle:
        """Once ``run`` is done: the bundle of the step that is best on dev if it beats the given one there, else that.

        Parameters
        ----------
        settings, said : mapping
            What the history says of the stage: its settings, and besides.
        started : float
            ``time.perf_counter()`` at the beginning of the stage.
        """
        best = self.best()
        improved = best is not None and better(best, self.before)
        entry = {
            "stage": self.stage.name,
            "improved": improved,
            "settings": dict(settings),
            "dev_before": self.before,
            "dev_after": best,
            **(said or {}),
            "curve": self.curve(),
            "seconds": round(time.perf_counter() - started, 1),
        }
        if not improved:
            return self.bundle.with_stage(entry)
        weights = trained(
            self.bundle.weights, self.best_folder, self.stage.trains_all, self.folder / "merged", self.settings.dtype
        )
        # The scores have changed, so whatever was fitted on them no longer holds.
        return self.bundle.with_stage(entry, weights=weights, calibration=Calibration())

    @property
    def best_folder(self) -> Path:
        """The weights of the best step so far, with their dev metrics."""
        return self.folder / "best"

    def run(self) -> None:
        """Train from the newest whole checkpoint of the same settings and rows, or from the start."""
        about = self.folder / "training.json"
        # Folders of older versions do not say what they were trained on; they are taken at their word.
        known = _read_if_whole(about) or {"key": self.key}
        if known != {"key": self.key}:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        write_json(about, {"key": self.key})
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        if checkpoint is not None and self._is_over(checkpoint):
            return
        if checkpoint is None:
            (self.folder / "dev.jsonl").unlink(missing_ok=True)
            shutil.rmtree(self.best_folder, ignore_errors=True)
            self._record(0, self.before)
        while not self._is_trained(checkpoint):
            self._reopen()
            checkpoint = newest_checkpoint(self.folder / "checkpoints")

    def _is_trained(self, checkpoint: Path | None) -> bool:
        """Train to the end; False where the device has no memory for so many rows at once."""
        from labelwright.engines.packed.memory import is_out_of_memory

        group = current()
        try:
            with group.as_member():
                if group.size > 1:
                    self.job.write(checkpoint)
                    group.said_by_first(str(self.folder.absolute()))
                self.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _reopen(self) -> None:
        """Begin the training again, with fewer rows at once and the same rows a step."""
        tokenizer, images = self.trainer.processing_class, self.trainer.images
        self.job = self.job.with_fewer_rows(current().size)
        # The old model goes before the new one comes.
        self.trainer = None
        gc.collect()
        self.trainer, self.job = _opened(self.job, tokenizer, images)
        self._tell_rows()
        self.trainer.add_callback(_callback(self))

    def _tell_rows(self) -> None:
        """Say once how many rows are met at once, where they are fewer than the recipe has it."""
        fewer, asked = self.job.stage.rows_at_once, self.stage.rows_at_once
        if fewer < asked:
            self.tracker.params({"rows_at_once": fewer})
            self.tracker.progress(0, self.stage.steps, f"no memory for {asked} rows at once: {fewer}, the same steps")

    def _is_over(self, checkpoint: Path) -> bool:
        """Whether the run that left this checkpoint had stopped there; what it had logged is known again then."""
        from transformers import TrainerState

        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if not self.is_learnt(state):
            return False
        self.trainer.state = state
        return True

    def is_learnt(self, state: Any) -> bool:
        """Whether nothing is left to learn: of the steps since the last look at dev, and of two at least, so few rows
        have rewards that differ between answers (``stop_at``). The step itself is not logged yet when this is asked
        first.
        """
        n_steps = max(self.stage.eval_every - 1, _FEWEST_STEPS)
        flat = [
            one["frac_reward_zero_std"]
            for one in state.log_history
            if "frac_reward_zero_std" in one and one["step"] < state.global_step
        ][-n_steps:]
        return bool(self.stop_at and len(flat) >= _FEWEST_STEPS and np.mean(flat) >= self.stop_at)

    def best(self) -> dict[str, Any] | None:
        """Dev metrics of the best step so far, and its number."""
        return _read_if_whole(self.best_folder / "dev.json")

    def curve(self) -> list[dict[str, float]]:
        """Dev metrics by step; a step evaluated again after a resume counts once."""
        lines = (self.folder / "dev.jsonl").read_text(encoding="utf-8").splitlines()
        by_step = {int(one["step"]): one for one in map(json.loads, lines)}
        return [by_step[step] for step in sorted(by_step)]

    @property
    def steps_taken(self) -> int:
        """Fewer than was asked for where nothing was left to learn."""
        return int(self.trainer.state.global_step)

    def lately(self, names: Sequence[str]) -> dict[str, float]:
        """Means over the last ``eval_every`` steps of what was logged, by name; of a resumed run as of a whole one."""
        logged = self.trainer.state.log_history
        found = {name: [one[name] for one in logged if name in one][-self.stage.eval_every :] for name in names}
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def evaluate(self, step: int) -> dict[str, float]:
        """Dev metrics of the live weights; the best ones so far are written down. ModelError where they are broken."""
        from labelwright.engines.transformers import TransformersEngine
        from optimizers.training.trainer import diverged

        model = self.trainer.model
        if not all(weights.isfinite().all() for weights in model.parameters() if weights.requires_grad):
            raise diverged("weights are no numbers", step, self.trainer.args)
        plain = model if self.stage.trains_all else model.get_base_model()
        model.eval()
        given = {"settings": self.settings, "check": False, "images": self.trainer.images}
        engine = TransformersEngine(plain, self.trainer.processing_class, name="training", **given)
        with self.trainer.accelerator.autocast(), led(plain, current()):
            scores = option_scores(self.bundle.prompt, engine, [row.text for row in self.dev])
            metrics = _dev_metrics(scores, engine, self.bundle, self.dev)
        model.train()
        self._record(step, metrics)
        best = self.best()
        if best is None or better(metrics, best):
            self._save_best({**metrics, "step": step})
        return metrics

    def _record(self, step: int, metrics: Mapping[str, float]) -> None:
        self.tracker.metrics({f"dev_{name}": value for name, value in metrics.items()}, step)
        with (self.folder / "dev.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **metrics}) + "\n")

    def _save_best(self, metrics: Mapping[str, float]) -> None:
        """Write the live weights beside their metrics; the folder appears whole or not at all."""
        scratch = self.folder / ".best"
        shutil.rmtree(scratch, ignore_errors=True)
        self.trainer.model.save_pretrained(scratch)
        (scratch / "README.md").unlink(missing_ok=True)  # PEFT's empty card
        if self.stage.trains_all:
            self.trainer.processing_class.save_pretrained(scratch)
        write_json(scratch / "dev.json", dict(metrics))
        old = self.folder / ".best-old"
        shutil.rmtree(old, ignore_errors=True)
        if self.best_folder.exists():
            self.best_folder.rename(old)
        scratch.rename(self.best_folder)
        shutil.rmtree(old, ignore_errors=True)


def _opened(job: Job, tokenizer: Any, images: Any) -> tuple[Any, Job]:
    """A job's trainer, and the job as it is with as many rows at once as there is memory for."""
    from labelwright.engines.packed.memory import give_back, is_out_of_memory

    while True:
        try:
            return open_trainer(job, tokenizer, current(), images), job
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block: its traceback would keep the failed one's tensors alive.
        gc.collect()
        give_back(job.device)
        job = job.with_fewer_rows(current().size)


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end; half-written ones are removed.

    transformers writes ``trainer_state.json`` last, so a checkpoint with a readable one is whole.
    """
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        if _read_if_whole(checkpoint / "trainer_state.json") is None:
            shutil.rmtree(checkpoint)
        else:
            whole.append((int(checkpoint.name.rsplit("-", 1)[1]), checkpoint))
    return max(whole)[1] if whole else None


def _callback(training: Training) -> Any:
    """Evaluate on dev at the set steps, and pass TRL's metrics on."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        dev = training.before

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step = state.global_step
            if training.stage.looks_at_dev(step):
                self.dev = training.evaluate(step)
                if step < state.max_steps and training.is_learnt(state):
                    control.should_training_stop = True
            training.tracker.progress(step, state.max_steps, f"dev {self.dev['accuracy']:.3f}")

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
            numbers = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, (int, float)) and v == v}
            training.tracker.metrics(numbers, state.global_step)

    return Report()


def _dev_metrics(scores: Floats, engine: Any, bundle: Bundle, dev: tuple[Example, ...]) -> dict[str, float]:
    """Of whole scores (n_dev, n_labels), before the first step as after each."""
    if np.isnan(scores).any():
        raise ModelError(f"{engine.name} gives dev rows scores that are no numbers: the weights are broken")
    return dev_numbers(UNCALIBRATED.apply(scores), gold_of(bundle, dev))


def better(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """More accurate on dev; where equal, the lower log loss."""
    return rank(one) > rank(other)


def _read_if_whole(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
