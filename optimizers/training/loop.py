"""One training run of the weights: the trainer over live weights, its dev evaluations, its checkpoints, its best step.

Called by the stages in ``grpo`` and ``sft``, which keep the settings; the losses are in ``label_tree_trainer``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.types import Bundle
from labelwright.data.task import Example, Splits
from labelwright.decide import option_scores
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, ModelError, RecipeError
from labelwright.models.weights import Adapter, Full, Weights
from labelwright.statistics.calibration import UNCALIBRATED, Calibration
from labelwright.statistics.metrics import accuracy, log_loss
from optimizers.stage import StageContext, Tracker

if TYPE_CHECKING:
    from optimizers.training.grpo import GrpoStage
    from optimizers.training.sft import SftStage

Mode = Literal["sampled", "exact", "cross_entropy"]
Scale = Literal["group", "batch", "none"]

# The last two checkpoints: one to resume from, and the one before in case the newest is half written.
CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class Objective:
    """What the weights are trained for.

    Attributes
    ----------
    mode : {"sampled", "exact", "cross_entropy"}
        GRPO over drawn labels, GRPO over all labels, or the log-probability of the gold label among all.
    validity : float
        Weight c of the term -c * logsumexp_k(s_k); 0 is off.
    rewards : ndarray of shape (n_labels, n_labels), optional
        Reward of answering column k where row g is gold; GRPO's.
    n_rollouts, beta, loss_type, scale_rewards
        GRPO's; see ``optimizers.training.grpo.GrpoStage``.
    label_smoothing : float in [0, 1)
        Share of the cross-entropy's target that is spread over all labels.
    """

    mode: Mode = "cross_entropy"
    validity: float = 0.0
    rewards: NDArray[np.float64] | None = None
    n_rollouts: int = 1
    beta: float = 0.0
    loss_type: str = "dapo"
    scale_rewards: Scale = "group"
    label_smoothing: float = 0.0


@dataclass
class Training:
    """One training run over live weights: the trainer, its dev evaluations, and where its files lie.

    ``settings`` are those of the engine that answers for the bundle; ``key`` stands for all that the run depends on.
    """

    stage: GrpoStage | SftStage
    bundle: Bundle
    dev: tuple[Example, ...]
    folder: Path
    tracker: Tracker
    before: dict[str, float]
    # TRL types its model as "anything or None"; here it is a transformers or PEFT model for as long as it lives.
    trainer: Any
    settings: EngineSettings
    key: str

    @classmethod
    def prepare(
        cls, stage: GrpoStage | SftStage, objective: Objective, bundle: Bundle, splits: Splits, context: StageContext
    ) -> Training:
        """Load the weights once more for training; the context's engine keeps answering with the old ones."""
        from transformers import PrinterCallback

        from labelwright.engines.thinking import ThinkingEngine
        from labelwright.engines.transformers import TransformersEngine
        from labelwright.models.loading import load_model
        from optimizers.training.trainer import LabelRows, LabelTreeTrainer

        engine = context.open_engine(bundle.weights)
        if isinstance(engine, ThinkingEngine):
            raise ModelError(
                f"{stage.name} trains answers, not thoughts: set [model] thinking_tokens = 0, or leave the stage out"
            )
        if not isinstance(engine, TransformersEngine):
            raise ModelError(
                f"{stage.name} trains in this process, which engine {engine.name!r} cannot: "
                f"use the transformers backend"
            )
        if not splits.dev:
            raise DataError(f"{stage.name} chooses its best step on dev, which has no rows: set [splits] dev above 0")
        # Before anything is scored, so that all rows that do not fit are named at once.
        rows = LabelRows.from_examples(splits.train, bundle.prompt, engine, also=splits.dev)
        before = _dev_metrics(engine, bundle, splits.dev)
        dtype = str(engine.model.dtype).removeprefix("torch.")
        full = stage.lora_rank == 0
        # What is trained stays float32, or small updates would round to nothing; autocast multiplies in bfloat16.
        # float16 has too little range for gradients: such a model is trained in float32 altogether.
        autocast = dtype == "bfloat16"
        model = load_model(bundle.weights, str(engine.device), "bfloat16" if autocast and not full else "float32")
        # A merged adapter leaves its base frozen; PEFT freezes what is below a new one itself.
        model.requires_grad_(True)
        trainer = LabelTreeTrainer(
            model=model,
            rows=rows,
            objective=objective,
            args=grpo_config(
                stage,
                objective,
                context,
                autocast=autocast,
                on_cpu=engine.device.type == "cpu",
                n_answer_tokens=max(map(len, rows.tree.options)),
            ),
            processing_class=engine.tokenizer,
            peft_config=None if full else lora_config(stage),
        )
        keep_activations_small(trainer.model)
        trainer.remove_callback(PrinterCallback)
        settings = EngineSettings(
            dtype=dtype, long_rows=engine.tokens.long_rows, unexpanded_mass=engine.unexpanded_mass
        )
        rewards = None if objective.rewards is None else objective.rewards.tolist()
        about = [asdict(stage), context.seed, bundle.weights, rewards, splits.dev, rows.contents()]
        key = hashlib.sha256(repr(about).encode()).hexdigest()
        training = cls(stage, bundle, splits.dev, context.folder, context.tracker, before, trainer, settings, key)
        trainer.add_callback(_callback(training))
        return training

    def tune(self, settings: Mapping[str, Any], started: float) -> Bundle:
        """Train, keep the step that is best on dev, and return its bundle if it beats the given one there.

        Parameters
        ----------
        settings : mapping
            What the history says of the stage.
        started : float
            ``time.perf_counter()`` at the beginning of the stage.
        """
        self.run()
        best = self.best()
        improved = best is not None and better(best, self.before)
        entry = {
            "stage": self.stage.name,
            "improved": improved,
            "settings": dict(settings),
            "dev_before": self.before,
            "dev_after": best,
            "curve": self.curve(),
            "seconds": round(time.perf_counter() - started, 1),
        }
        if not improved:
            return self.bundle.with_stage(entry)
        # The scores have changed, so whatever was fitted on them no longer holds.
        return self.bundle.with_stage(entry, weights=self.result(), calibration=Calibration())

    @property
    def best_folder(self) -> Path:
        """The weights of the best step so far, with their dev metrics."""
        return self.folder / "best"

    def run(self) -> None:
        """Train from the newest whole checkpoint of the same settings and rows, or from the start."""
        about = self.folder / "training.json"
        # Folders of older versions do not say what they were trained on; they are taken at their word.
        known = _read_json(about) or {"key": self.key}
        if known != {"key": self.key}:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        about.write_text(json.dumps({"key": self.key}), encoding="utf-8")
        checkpoint = newest_checkpoint(self.folder / "checkpoints")
        if checkpoint is None:
            (self.folder / "dev.jsonl").unlink(missing_ok=True)
            shutil.rmtree(self.best_folder, ignore_errors=True)
            self._record(0, self.before)
        self.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def best(self) -> dict[str, Any] | None:
        """Dev metrics of the best step so far, and its number."""
        return _read_json(self.best_folder / "dev.json")

    def curve(self) -> list[dict[str, float]]:
        """Dev metrics by step; a step evaluated again after a resume counts once."""
        lines = (self.folder / "dev.jsonl").read_text(encoding="utf-8").splitlines()
        by_step = {int(one["step"]): one for one in map(json.loads, lines)}
        return [by_step[step] for step in sorted(by_step)]

    def evaluate(self, step: int) -> dict[str, float]:
        """Dev metrics of the live weights; the best ones so far are written down. ModelError where they are broken."""
        from labelwright.engines.transformers import TransformersEngine
        from optimizers.training.trainer import diverged

        model = self.trainer.model
        if not all(weights.isfinite().all() for weights in model.parameters() if weights.requires_grad):
            raise diverged("weights are no numbers", step, self.trainer.args)
        plain = model.get_base_model() if self.stage.lora_rank else model
        model.eval()
        engine = TransformersEngine(
            plain, self.trainer.processing_class, name="training", settings=self.settings, check=False
        )
        with self.trainer.accelerator.autocast():
            metrics = _dev_metrics(engine, self.bundle, self.dev)
        model.train()
        self._record(step, metrics)
        best = self.best()
        if best is None or better(metrics, best):
            self._save_best({**metrics, "step": step})
        return metrics

    def result(self) -> Weights:
        """The best step as weights on top of what the stage was given."""
        given = self.bundle.weights
        if self.stage.lora_rank == 0:
            return Full(given.base, self.best_folder)
        if given.folder is None:
            return Adapter(given.base, self.best_folder)
        return Full(given.base, self._merge_onto(given))

    def _merge_onto(self, given: Weights) -> Path:
        """An adapter on top of already tuned weights: one model folder, since a bundle holds one set of weights."""
        import torch
        from peft import PeftModel

        from labelwright.models.loading import load_model, load_tokenizer

        folder = self.folder / "merged"
        model = PeftModel.from_pretrained(load_model(given, "cpu", "float32"), str(self.best_folder))
        # In the numbers that it was measured in.
        model.merge_and_unload().to(getattr(torch, self.settings.dtype)).save_pretrained(folder)
        load_tokenizer(given).save_pretrained(folder)
        return folder

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
        if self.stage.lora_rank == 0:
            self.trainer.processing_class.save_pretrained(scratch)
        (scratch / "dev.json").write_text(json.dumps(dict(metrics)), encoding="utf-8")
        old = self.folder / ".best-old"
        shutil.rmtree(old, ignore_errors=True)
        if self.best_folder.exists():
            self.best_folder.rename(old)
        scratch.rename(self.best_folder)
        shutil.rmtree(old, ignore_errors=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end; half-written ones are removed.

    transformers writes ``trainer_state.json`` last, so a checkpoint with a readable one is whole.
    """
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        if _read_json(checkpoint / "trainer_state.json") is None:
            shutil.rmtree(checkpoint)
        else:
            whole.append((int(checkpoint.name.rsplit("-", 1)[1]), checkpoint))
    return max(whole)[1] if whole else None


def check_settings(stage: GrpoStage | SftStage) -> None:
    """Refuse settings out of range, of those that both stages have. Raises RecipeError."""
    table = f"[{stage.name}]"
    least = {"steps": 1, "rows_per_step": 1, "rows_per_forward": 1, "eval_every": 1, "lora_rank": 0, "validity": 0}
    for key, lowest in least.items():
        if not lowest <= getattr(stage, key) < math.inf:
            raise RecipeError(f"{table} {key} = {getattr(stage, key)}: expected at least {lowest}")
    if stage.rows_per_step % min(stage.rows_per_forward, stage.rows_per_step):
        raise RecipeError(
            f"{table} rows_per_forward = {stage.rows_per_forward}: expected a divisor of "
            f"rows_per_step = {stage.rows_per_step}"
        )
    for key in ("learning_rate", "lora_alpha", "max_grad_norm"):
        if not 0 < getattr(stage, key) < math.inf:
            raise RecipeError(f"{table} {key} = {getattr(stage, key)}: expected more than 0")
    for key in ("warmup_share", "lora_dropout"):
        if not 0 <= getattr(stage, key) < 1:
            raise RecipeError(f"{table} {key} = {getattr(stage, key)}: expected 0 or more, and less than 1")


def grpo_config(
    stage: GrpoStage | SftStage,
    objective: Objective,
    context: StageContext,
    *,
    autocast: bool,
    on_cpu: bool,
    n_answer_tokens: int,
) -> Any:
    """TRL's settings for a stage, on one device."""
    from trl import GRPOConfig

    # TRL prints a notice about rollout functions being experimental on every start.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for chatty in ("trl", "transformers.trainer", "accelerate"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # TRL counts rollouts. Elsewhere a row is one item, and the group size only has to pass TRL's checks: a generation
    # of two steps' rows is a multiple of two.
    sampled = objective.mode == "sampled"
    n_rows = min(stage.rows_per_forward, stage.rows_per_step)
    n_forwards = stage.rows_per_step // n_rows
    config = GRPOConfig(
        output_dir=str(context.folder / "checkpoints"),
        max_steps=stage.steps,
        per_device_train_batch_size=n_rows * (objective.n_rollouts if sampled else 1),
        gradient_accumulation_steps=n_forwards,
        num_generations=objective.n_rollouts if sampled else 2,
        steps_per_generation=n_forwards * (1 if sampled else 2),
        max_completion_length=n_answer_tokens,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=int(stage.warmup_share * stage.steps),
        max_grad_norm=stage.max_grad_norm,
        beta=0.0,  # the trainer's, not TRL's
        loss_type=objective.loss_type,
        scale_rewards=objective.scale_rewards,
        use_cpu=on_cpu,
        bf16=autocast,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="steps",
        save_steps=stage.eval_every,
        save_total_limit=CHECKPOINTS_KEPT,
        seed=context.seed,
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    if config.n_gpu > 1:
        # transformers spreads a model over all GPUs that it sees (DataParallel), which TRL refuses; this is how it
        # leaves a model alone that it may not spread.
        config._n_gpu = 1
    return config


def lora_config(stage: GrpoStage | SftStage) -> Any:
    """PEFT's settings for a stage's adapter: every linear layer, and nothing else."""
    from peft import LoraConfig

    return LoraConfig(
        r=stage.lora_rank,
        lora_alpha=stage.lora_alpha,
        target_modules="all-linear",
        lora_dropout=stage.lora_dropout,
        task_type="CAUSAL_LM",
    )


def keep_activations_small(model: Any) -> None:
    """Stop PEFT from copying every layer's input to float32; autocast takes the adapter to bfloat16 instead."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled") or hasattr(module, "lora_A"):
            module.cast_input_dtype_enabled = False


def _callback(training: Training) -> Any:
    """Evaluate on dev at the set steps, and pass TRL's metrics on."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        dev = training.before

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step, last = state.global_step, state.global_step == state.max_steps
            if step % training.stage.eval_every == 0 or last:
                self.dev = training.evaluate(step)
            training.tracker.progress(step, state.max_steps, f"dev {self.dev['accuracy']:.3f}")

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
            numbers = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, (int, float)) and v == v}
            training.tracker.metrics(numbers, state.global_step)

    return Report()


def _dev_metrics(engine: Any, bundle: Bundle, dev: tuple[Example, ...]) -> dict[str, float]:
    scores = option_scores(bundle.prompt, engine, [example.text for example in dev], UNCALIBRATED)
    if np.isnan(scores).any():
        raise ModelError(f"{engine.name} gives dev rows scores that are no numbers: the weights are broken")
    probabilities = UNCALIBRATED.apply(scores)
    gold = np.array([bundle.task.index(example.label) for example in dev])
    return {"accuracy": float(accuracy(probabilities, gold)), "log_loss": float(log_loss(probabilities, gold))}


def better(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """More accurate on dev; where equal, the lower log loss."""
    return (one["accuracy"], -one["log_loss"]) > (other["accuracy"], -other["log_loss"])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
