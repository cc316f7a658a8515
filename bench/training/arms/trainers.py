"""Who is trained: the recipe's model with an adapter, or a linear head on MiniLM in a thousandth of the time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch

from bench.setting import Setting
from bench.training.arms.run import Run, Trainer
from labelwright.decide import option_scores
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.models.loading import load_model
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.settings import Range
from labelwright.statistics.calibration import UNCALIBRATED
from optimizers.stage import StageContext
from optimizers.training.libraries import grpo_config, keep_activations_small, lora_config
from optimizers.training.losses import cross_entropy_loss, exact_loss
from optimizers.training.rows import LabelRows, passes
from optimizers.training.settings import Objective, TrainingSettings
from workbench.run.identity import content_of

# Of the head: cosines are divided by what its encoder was trained with; a stride at which SFT learns in 50 steps.
TEMPERATURE = 0.05
HEAD_STEPS = 50
HEAD_LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Steps(TrainingSettings):
    """The settings that all arms share: shorter than the recipe's, and without a look at dev."""

    name = "scales"

    steps: Annotated[int, Range(1)] = 20
    rows_per_step: Annotated[int, Range(1)] = 12
    rows_per_forward: Annotated[int, Range(1)] = 12
    lora_layers: Annotated[float, Range(0, 1, "(]")] = 0.5
    eval_every: int = 1_000_000


OfSteps = TypeVar("OfSteps", bound=Steps)


def add_steps(parser: argparse.ArgumentParser, usual: Steps) -> None:
    """How long the recipe's model is trained, and what of it: what the stages do takes a GPU, or hours."""
    whole = TrainingSettings
    for name, kind, value, stages in (
        ("--steps", int, usual.steps, whole.steps),
        ("--rows-per-step", int, usual.rows_per_step, whole.rows_per_step),
        ("--layers", float, usual.lora_layers, whole.lora_layers),
        ("--learning-rate", float, usual.learning_rate, whole.learning_rate),
    ):
        parser.add_argument(name, type=kind, default=value, help=f"(default: {value:g}; of the stages: {stages:g})")


def asked_steps(given: argparse.Namespace, usual: OfSteps) -> OfSteps:
    """What ``add_steps`` was answered. RecipeError where no stage could train so."""
    rows = given.rows_per_step
    return replace(
        usual,
        steps=given.steps,
        rows_per_step=rows,
        rows_per_forward=rows,
        lora_layers=given.layers,
        learning_rate=given.learning_rate,
    )


def model_of(setting: Setting, steps: Steps) -> tuple[Trainer, Any]:
    """The recipe's model with an adapter, in float32; and what its runs depend on besides rows and loss."""

    def scores_of(run: Run) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            trainer = trainer_of(setting, run, steps, Path(folder))
            if run.trains:
                trainer.train()
        plain = trainer.model.eval().get_base_model()
        answering = EngineSettings(dtype="float32")
        engine = TransformersEngine(plain, setting.engine.tokenizer, name=run.arm, settings=answering, check=False)
        return option_scores(setting.prompt, engine, [row.text for row in run.held_out], UNCALIBRATED)

    model = [setting.weights, content_of(setting.weights.base), str(setting.engine.device)]
    return scores_of, [asdict(steps), setting.prompt, *model]


def trainer_of(setting: Setting, run: Run, steps: TrainingSettings, folder: Path) -> Any:
    """What trains a run from the recipe's model, with an adapter whose first weights are the seed's."""
    rows = LabelRows.from_examples(run.train, setting.prompt, setting.engine)
    if (targets := run.targets()) is not None:
        rows = rows.with_teacher(targets)
    model = load_model(setting.weights, str(setting.engine.device), "float32")
    return adapter_trainer(setting, model, rows, run.objective(setting.task.names), steps, run.seed, folder)


def adapter_trainer(
    setting: Setting,
    model: Any,
    rows: LabelRows,
    objective: Objective,
    steps: TrainingSettings,
    seed: int,
    folder: Path,
) -> Any:
    """What trains an adapter of a model, in float32, and says nothing while it does."""
    from transformers import PrinterCallback

    from optimizers.training.trainer import LabelTreeTrainer

    torch.manual_seed(seed)  # of the adapter's first weights
    trainer: Any = LabelTreeTrainer(
        model=model,
        rows=rows,
        objective=objective,
        args=grpo_config(
            steps,
            objective,
            StageContext(folder, Silent(), lambda weights: setting.engine, seed),
            autocast=False,
            on_cpu=setting.engine.device.type == "cpu",
            n_answer_tokens=max(map(len, rows.tree.options)),
        ),
        processing_class=setting.engine.tokenizer,
        peft_config=lora_config(steps, model),
    )
    keep_activations_small(trainer.model)
    trainer.remove_callback(PrinterCallback)
    return trainer


def head_of(setting: Setting) -> tuple[Trainer, Any]:
    """A linear head on MiniLM's vectors that starts at those of the labels' names: scores are cosines / T."""
    encoder = open_encoder()
    texts = sorted({row.text for row in setting.examples})
    vectors = dict(zip(texts, torch.as_tensor(encoder.embed(texts)), strict=True))
    first = torch.as_tensor(encoder.embed(list(setting.task.names)))

    def scores_of(run: Run) -> np.ndarray:
        objective = run.objective(setting.task.names)
        inputs = torch.stack([vectors[row.text] for row in run.train])
        gold = torch.tensor([setting.task.index(row.label) for row in run.train])
        rewards, targets = row_rewards(objective, gold), _as_floats(run.targets())
        head = first.clone().requires_grad_()
        optimizer = torch.optim.Adam([head], lr=HEAD_LEARNING_RATE)
        n_rows = TrainingSettings.rows_per_step
        order = passes(len(gold), HEAD_STEPS * n_rows, run.seed)
        for start in range(0, len(order) if run.trains else 0, n_rows):
            rows = order[start : start + n_rows]
            scores = inputs[rows] @ head.T / TEMPERATURE
            if objective.mode == "cross_entropy":
                taught = None if targets is None else targets[rows]
                smoothing = objective.label_smoothing
                loss, _ = cross_entropy_loss(scores, gold[rows], targets=taught, label_smoothing=smoothing)
            else:
                assert rewards is not None
                loss, _ = exact_loss(scores, rewards[rows], scale_rewards=objective.scale_rewards)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        held_out = torch.stack([vectors[row.text] for row in run.held_out])
        return (held_out @ head.detach().T / TEMPERATURE).double().numpy()

    return scores_of, ["head"]


def row_rewards(objective: Objective, gold: torch.Tensor) -> torch.Tensor | None:
    """What each label is worth to each train row, (n_train, n_labels); None of an objective without rewards."""
    if objective.rewards is not None:
        return torch.as_tensor(objective.rewards).float()[gold]
    return _as_floats(objective.row_rewards)


def _as_floats(values: np.ndarray | None) -> torch.Tensor | None:
    return None if values is None else torch.as_tensor(values).float()


class Silent:
    """A tracker that nobody reads."""

    def params(self, values: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None: ...
    def prompt(self, role: str, text: str) -> None: ...
    def progress(self, done: int, total: int, message: str = "") -> None: ...
