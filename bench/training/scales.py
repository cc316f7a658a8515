"""`python -m bench.training.scales`: GRPO's scales against SFT, at the same steps, on rows that took no part.

Every seed holds out a fifth of the rows of train and dev, whole families, and trains every arm on the others from the
same first weights, in the same order: within a seed the loss alone differs. Nothing is chosen on the rows held out; the
last step is what is measured. Differences are paired by row, and their intervals are of families of rows: what an order
of rows or a first adapter does by chance is in them as far as it differs from fold to fold.

Three settings. ``clean``: the labels as they are. ``flipped``: a fifth of the train labels are another label, drawn
evenly ("sft, smoothed" spreads as much of its target). ``soft``: half a reward for a label of the same trade
(``TRADES``), of which SFT cannot be told. "mean" is not trained where rewards are right or wrong: it is SFT then,
gradient for gradient (tests/optimizers/training).

What is trained is the recipe's model, or with ``--head`` a linear head on MiniLM that starts at the labels' names: the
same losses in a thousandth of the time, so for many seeds. Each run is appended to a file as it ends; a run that is
there is not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch

from bench.setting import Setting, open_setting
from bench.training.kept import keep, read_kept
from labelwright.data.costs import Costs, pairs_of
from labelwright.data.task import Example, group_keys
from labelwright.decide import option_scores
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import DataError, LabelwrightError
from labelwright.models.loading import load_model
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.settings import Range
from labelwright.statistics.calibration import UNCALIBRATED, group_folds
from labelwright.statistics.intervals import mean_interval
from optimizers.stage import StageContext
from optimizers.training.libraries import grpo_config, keep_activations_small, lora_config
from optimizers.training.losses import cross_entropy_loss, exact_loss
from optimizers.training.rows import LabelRows, passes
from optimizers.training.settings import Objective, Scale, TrainingSettings
from rewards import reward_matrix
from rewards.noisy_label import NoisyLabel
from rewards.prices import Prices
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version, content_of

FOLDS = 5
FLIPPED = 0.2
# Labels that the same trade sees to; a wrong one of them is worth half.
TRADES = (
    ("brick work", "fence", "gutters", "painting", "window service"),
    ("fountain", "garden lights", "irrigation", "mosquito", "pool", "tree service"),
    ("appliances", "doorbell", "electric", "hvac", "water heater"),
    ("car", "cooking"),
)
# An arm that is not trained at all.
UNTUNED = "untuned"
# What is trained in each setting; the first is what the others are held against.
ARMS: Mapping[str, tuple[str, ...]] = {
    "clean": ("sft", "group", "none", "batch"),
    "flipped": ("sft", "sft, smoothed", "group", "none", "batch", "mean, noisy_label"),
    "soft": ("sft", "group", "none", "batch", "mean"),
}
SCALES: Mapping[str, Scale] = {"group": "group", "none": "none", "batch": "batch", "mean": "mean"}
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


Sides = tuple[tuple[Example, ...], tuple[Example, ...]]
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


@dataclass(frozen=True)
class Run:
    """One training: an arm of a setting, with one seed.

    Attributes
    ----------
    train, held_out : tuple of Example
        The train labels as they are taught, flipped ones included.
    """

    setting: str
    arm: str
    seed: int
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]

    @property
    def trains(self) -> bool:
        """Whether the arm learns anything."""
        return self.arm != UNTUNED

    def objective(self, names: Sequence[str]) -> Objective:
        """What the arm is trained for."""
        if self.arm.startswith("sft"):
            return Objective("cross_entropy", label_smoothing=FLIPPED if self.arm == "sft, smoothed" else 0.0)
        scale, _, likelihood = self.arm.partition(", ")
        rewards = soft_rewards(names) if self.setting == "soft" else np.eye(len(names))
        if likelihood:
            rewards = reward_matrix(NoisyLabel(len(names), FLIPPED), list(names))
        return Objective("exact", rewards=rewards, scale_rewards=SCALES[scale])

    def targets(self) -> np.ndarray | None:
        """Probabilities to learn in the place of labels, (n_train, n_labels); None where labels are learnt."""
        return None

    def key(self, names: Sequence[str], about: Any) -> str:
        """16 hex digits of all that the run depends on; SFT's is the same where only the rewards are soft."""
        objective = self.objective(names)
        rewards = None if objective.rewards is None else objective.rewards.tolist()
        rows = [(row.id, row.text, row.label) for row in (*self.train, *self.held_out)]
        whole = [replace(objective, rewards=None, row_rewards=None), rewards, self.seed, rows, about]
        return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]


Trainer = Callable[[Run], np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the table; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.scales", description=(__doc__ or "").splitlines()[0]
    )
    every = list(dict.fromkeys(arm for arms in ARMS.values() for arm in arms))
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--head", action="store_true", help="a linear head on MiniLM, not the recipe's model")
    parser.add_argument("--settings", nargs="+", choices=list(ARMS), default=list(ARMS), help="(default: all)")
    parser.add_argument("--arms", nargs="+", choices=every, default=every, help="(default: all)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: scales.jsonl among the recipe's runs)")
    add_steps(parser, Steps())
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: expected at least 1")
    silence_libraries()
    try:
        out = given.out or RUNS / read_recipe(given.recipe).name / "scales.jsonl"
        setting = open_setting(given.recipe)
        wanted = [run for run in runs_of(setting, given.settings, given.seeds) if run.arm in ("sft", *given.arms)]
        trainer, about = head_of(setting) if given.head else model_of(setting, asked_steps(given, Steps()))
        # By its name, not by __name__, which is "__main__" here. Constants and the encoder's package are code as well.
        about = [*about, code_version(("bench.training.scales",))]
        print("\n".join(table(train_missing(setting, wanted, trainer, about, out))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def runs_of(setting: Setting, settings: Sequence[str], n_seeds: int) -> list[Run]:
    """All runs, seed by seed, so that whole seeds are there first."""
    names = setting.task.names
    if "soft" in settings and sorted(names) != sorted(sum(TRADES, ())):
        raise DataError("the setting soft is of the shipped labels: leave it out with --settings clean flipped")
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        for name in settings:
            taught = flipped(train, names, seed) if name == "flipped" else train
            found += [Run(name, arm, seed, taught, held_out) for arm in ARMS[name]]
    return found


def held_out_folds(setting: Setting, seed: int, n_folds: int = FOLDS) -> Sides:
    """The rows of a seed that are taught, and those that are not: the folds in turn, dealt anew once all were out."""
    rows = setting.examples
    gold = np.array([setting.task.index(row.label) for row in rows])
    held = group_folds(gold, group_keys(rows), n_folds, seed // n_folds) == seed % n_folds
    train = tuple(row for row, out in zip(rows, held, strict=True) if not out)
    return train, tuple(row for row, out in zip(rows, held, strict=True) if out)


def flipped(train: Sequence[Example], names: Sequence[str], seed: int) -> tuple[Example, ...]:
    """The rows with ``FLIPPED`` of them under another label, drawn evenly from the others."""
    chance = np.random.default_rng(seed)
    wrong = set(chance.permutation(len(train))[: round(FLIPPED * len(train))].tolist())
    others = [[name for name in names if name != row.label] for row in train]
    return tuple(
        replace(row, label=str(chance.choice(others[i]))) if i in wrong else row for i, row in enumerate(train)
    )


def soft_rewards(names: Sequence[str]) -> np.ndarray:
    """What an answer is worth, (gold, answered): 1 if right, half for the same trade."""
    costs = {gold: dict.fromkeys(set(trade) - {gold}, 0.5) for trade in TRADES for gold in trade}
    return reward_matrix(Prices(tuple(names), Costs(pairs_of(costs))), list(names))


def train_missing(
    setting: Setting, wanted: Sequence[Run], trainer: Trainer, about: Any, out: Path
) -> list[dict[str, Any]]:
    """What every run measured, from the file where it is there already."""
    kept = read_kept(out)
    found = []
    for number, run in enumerate(wanted, 1):
        key = run.key(setting.task.names, about)
        if key not in kept:
            kept[key] = {"key": key, **measured(setting, run, trainer(run))}
            keep(out, kept[key])
            print(f"{number} of {len(wanted)}: {run.setting}, {run.arm}, seed {run.seed}", file=sys.stderr, flush=True)
        found.append({**kept[key], "setting": run.setting, "arm": run.arm, "seed": run.seed})
    return found


def measured(setting: Setting, run: Run, scores: np.ndarray) -> dict[str, Any]:
    """Of every row held out: its family, whether the answer is right, its log loss, and what the answer is worth.

    ``decided`` is the worth of the answer that the probabilities expect most of, in place of the most probable one.
    """
    names = setting.task.names
    gold = np.array([setting.task.index(row.label) for row in run.held_out])
    probs = UNCALIBRATED.apply(scores)
    rewards = soft_rewards(names) if sorted(names) == sorted(sum(TRADES, ())) else np.eye(len(names))
    answers, decided = probs.argmax(axis=1), (probs @ rewards).argmax(axis=1)
    return {
        "families": group_keys(run.held_out),
        "right": (answers == gold).tolist(),
        "log_loss": np.round(-np.log(probs[np.arange(len(gold)), gold]), 5).tolist(),
        "reward": rewards[gold, answers].tolist(),
        "decided": rewards[gold, decided].tolist(),
    }


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
    from transformers import PrinterCallback

    from optimizers.training.trainer import LabelTreeTrainer

    objective = run.objective(setting.task.names)
    rows = LabelRows.from_examples(run.train, setting.prompt, setting.engine)
    if (targets := run.targets()) is not None:
        rows = rows.with_teacher(targets)
    model = load_model(setting.weights, str(setting.engine.device), "float32")
    torch.manual_seed(run.seed)
    trainer: Any = LabelTreeTrainer(
        model=model,
        rows=rows,
        objective=objective,
        args=grpo_config(
            steps,
            objective,
            StageContext(folder, Silent(), lambda weights: setting.engine, run.seed),
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


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line an arm, means over all rows held out, and the paired difference to SFT with its interval."""
    lines = [
        "| labels | loss | accuracy % | against SFT | log loss | against SFT | reward % | against SFT |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["setting"] for one in found):
        arms = dict.fromkeys(one["arm"] for one in found if one["setting"] == name)
        together = {
            arm: {
                column: [value for one in found if (one["setting"], one["arm"]) == (name, arm) for value in one[column]]
                for column in ("families", "right", "log_loss", "reward", "decided")
            }
            for arm in arms
        }
        sft = together["sft"]
        columns = (("right", 100, 1), ("log_loss", 1, 2), *((("reward", 100, 1),) if name == "soft" else ()))
        for arm, one in together.items():
            cells = []
            for column, unit, digits in columns:
                values = unit * np.array(one[column], dtype=float)
                told = (
                    with_interval(values - unit * np.array(sft[column]), sft["families"], digits)
                    if arm != "sft"
                    else "–"
                )
                cells += [f"{values.mean():.{digits}f}", told]
            lines.append(f"| {name} | {arm} | {' | '.join([*cells, '', ''][:6])} |")
        if name == "soft":
            gained = 100 * (np.array(sft["decided"]) - np.array(sft["reward"]))
            told, mean = with_interval(gained, sft["families"], 1), 100 * np.mean(sft["decided"])
            lines.append(f"| soft | sft, answered by expected reward | | | | | {mean:.1f} | {told} |")
    n_seeds, n_rows = len({one["seed"] for one in found}), len(found[0]["right"])
    return [*lines, "", f"{n_seeds} seeds, {n_rows} rows held out in the first; 95 % intervals of families of rows."]


def with_interval(values: np.ndarray, families: Sequence[str], digits: int, sign: Literal["+", ""] = "+") -> str:
    """Mean of values by row with its interval, as a cell of a table; without ``sign`` what is no difference."""
    value, low, high = (f"{one:{sign}.{digits}f}" for one in mean_interval(values, families))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
