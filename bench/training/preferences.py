"""`python -m bench.training.preferences`: what DPO on hard rows brings behind SFT, on rows that took no part.

Every seed holds out a fifth of the rows of train and dev, whole families, and trains on the others. All arms begin with
the same SFT; then comes nothing ("sft"), as many more steps of it in one schedule ("sft, longer"), as many on hard rows
only ("sft+sft, hard rows"), or DPO on the hard rows' pairs with the stage's beta and with TRL's. So the second arm is
what a few more steps bring, the third what hard rows bring, and DPO what pairs bring. Which rows are hard, the model
after SFT and a classifier on characters say, of train rows only (``optimizers.training.preferences.hard``).

Accuracy is of all rows held out, and of those whose gold label is in one of the ``N_CONFUSED`` pairs of labels that
characters mix up most on the train side: the same rows for all arms. Differences are paired by row and against "sft,
longer"; their intervals are of families of rows. Nothing is chosen on the rows held out; the last step is measured.

What is trained is the recipe's model, or with ``--head`` a linear head on MiniLM that starts at the labels' names. Each
run is appended to a file as it ends; a run that is there is not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from accelerate import Accelerator

from bench.setting import Setting, open_setting
from bench.training.arms.run import held_out_folds
from bench.training.arms.trainers import (
    HEAD_LEARNING_RATE,
    HEAD_STEPS,
    TEMPERATURE,
    adapter_trainer,
    add_steps,
    asked_steps,
)
from bench.training.arms.trainers import Steps as ScalesSteps
from bench.training.differences import with_interval
from bench.training.kept import keep, read_kept
from labelwright.data.task import Example, group_keys
from labelwright.decide import option_scores
from labelwright.engines.options.tree import OptionTree
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import LabelwrightError
from labelwright.models.loading import load_model
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.settings import Range
from labelwright.statistics.calibration import UNCALIBRATED
from labelwright.statistics.metrics import Floats, Ints
from optimizers.training.dpo import DpoStage
from optimizers.training.losses import cross_entropy_loss
from optimizers.training.preferences.hard import Pair, confusions_opinion, hard_pairs, log_softmax, words_opinion
from optimizers.training.preferences.pair_loss import PairLoss
from optimizers.training.rows import LabelRows, passes
from optimizers.training.settings import Objective, Preferences, TrainingSettings
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version, content_of

N_CONFUSED = 6
# What all are held against.
LONGER = "sft, longer"
HARD_SFT = "sft+sft, hard rows"
# Arms of pairs, with their beta.
DPO: Mapping[str, float] = {"sft+dpo": DpoStage.beta, "sft+dpo, beta 0.1": 0.1}
ARMS = ("sft", LONGER, HARD_SFT, *DPO)
# Of SFT, and of what comes behind it.
SHARES = (2 / 3, 1 / 3)
_KNOWN_WORDS: dict[tuple[tuple[Example, ...], int], Floats] = {}


@dataclass(frozen=True)
class Steps(ScalesSteps):
    """The settings that all arms share: those of the other bench, for longer."""

    name = "preferences"

    steps: Annotated[int, Range(1)] = 30


@dataclass(frozen=True)
class Run:
    """One training: an arm with one seed.

    Attributes
    ----------
    is_hard : tuple of bool
        Of every row held out, whether its label is one of those that are mixed up.
    """

    arm: str
    seed: int
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    is_hard: tuple[bool, ...]

    def key(self, about: Any) -> str:
        """16 hex digits of all that the run depends on."""
        rows = [(row.id, row.text, row.label) for row in (*self.train, *self.held_out)]
        return hashlib.sha256(repr([self.arm, self.seed, rows, self.is_hard, about]).encode()).hexdigest()[:16]


Trainer = Callable[[Run], Floats]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the table; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.preferences", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--head", action="store_true", help="a linear head on MiniLM, not the recipe's model")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="(default: all)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: preferences.jsonl among the recipe's)")
    add_steps(parser, Steps())
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: expected at least 1")
    silence_libraries()
    try:
        out = given.out or RUNS / read_recipe(given.recipe).name / "preferences.jsonl"
        setting = open_setting(given.recipe)
        wanted = [run for run in runs_of(setting, given.seeds) if run.arm in (LONGER, *given.arms)]
        trainer, about = head_of(setting) if given.head else model_of(setting, asked_steps(given, Steps()))
        # By its name, not by __name__, which is "__main__" here. Constants and the encoder's package are code as well.
        about = [*about, code_version(("bench.training.preferences",))]
        print("\n".join(table(train_missing(setting, wanted, trainer, about, out))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def runs_of(setting: Setting, n_seeds: int) -> list[Run]:
    """All runs, seed by seed, so that whole seeds are there first."""
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        mixed_up = {label for pair in confused(_gold(setting, train), _words(setting, train, seed)) for label in pair}
        is_hard = tuple(setting.task.index(row.label) in mixed_up for row in held_out)
        found += [Run(arm, seed, train, held_out, is_hard) for arm in ARMS]
    return found


def confused(gold: Ints, opinion: Floats) -> list[tuple[int, int]]:
    """The ``N_CONFUSED`` pairs of labels that an opinion (n_rows, n_labels) mixes up most, the lower label first."""
    n_labels = opinion.shape[1]
    said = np.exp(confusions_opinion(gold, [opinion]))
    of_label = np.stack([said[gold == label][0] for label in range(n_labels)])
    both = np.triu(of_label + of_label.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[: min(N_CONFUSED, n_labels * (n_labels - 1) // 2)]
    return [(int(one) // n_labels, int(one) % n_labels) for one in order]


def train_missing(
    setting: Setting, wanted: Sequence[Run], trainer: Trainer, about: Any, out: Path
) -> list[dict[str, Any]]:
    """What every run measured, from the file where it is there already."""
    kept = read_kept(out)
    found = []
    for number, run in enumerate(wanted, 1):
        key = run.key(about)
        if key not in kept:
            kept[key] = {"key": key, **measured(setting, run, trainer(run))}
            keep(out, kept[key])
            print(f"{number} of {len(wanted)}: {run.arm}, seed {run.seed}", file=sys.stderr, flush=True)
        found.append({**kept[key], "arm": run.arm, "seed": run.seed})
    return found


def measured(setting: Setting, run: Run, scores: Floats) -> dict[str, Any]:
    """Of every row held out: its family, whether its label is a hard one, whether the answer is right, its log loss."""
    gold = _gold(setting, run.held_out)
    probs = UNCALIBRATED.apply(scores)
    return {
        "families": group_keys(run.held_out),
        "is_hard": list(run.is_hard),
        "right": (probs.argmax(axis=1) == gold).tolist(),
        "log_loss": np.round(-np.log(probs[np.arange(len(gold)), gold]), 5).tolist(),
    }


def pairs_of(setting: Setting, run: Run, scores: Floats) -> tuple[list[int], list[Pair]]:
    """The rows of train that are hard after SFT by the dpo stage's defaults, and their pairs, by place among those."""
    stage, gold = DpoStage(), _gold(setting, run.train)
    model, words = log_softmax(scores), _words(setting, run.train, run.seed)
    opinions = {"model": model, "words": words, "confusions": confusions_opinion(gold, [model, words])}
    pairs = hard_pairs(gold, opinions, stage.margin, stage.pairs_per_row).pairs
    rows = sorted({row for row, _, _ in pairs})
    return rows, [(rows.index(row), chosen, rejected) for row, chosen, rejected in pairs]


def _words(setting: Setting, train: tuple[Example, ...], seed: int) -> Floats:
    """``words_opinion``, of which all arms of a seed have the same."""
    if (train, seed) not in _KNOWN_WORDS:
        _KNOWN_WORDS[train, seed] = words_opinion(train, _gold(setting, train), len(setting.task.names), seed)
    return _KNOWN_WORDS[train, seed]


def _preferences(arm: str, pairs: Sequence[Pair]) -> Preferences | None:
    return Preferences(tuple(pairs), beta=DPO[arm]) if arm in DPO else None


def _gold(setting: Setting, rows: Sequence[Example]) -> Ints:
    return np.array([setting.task.index(row.label) for row in rows], dtype=np.int64)


def _n_steps(arm: str, steps: int) -> tuple[int, int]:
    """Of SFT, and of what comes behind it."""
    first, then = (round(share * steps) for share in SHARES)
    return (steps, 0) if arm == LONGER else (first, 0 if arm == "sft" else then)


def model_of(setting: Setting, steps: Steps) -> tuple[Trainer, Any]:
    """The recipe's model with an adapter, in float32; and what its runs depend on besides rows and loss.

    As in a pipeline, what comes behind SFT is another adapter on the merged weights. Arms of one seed that begin with
    the same SFT share it.
    """

    shared: dict[int, dict[str, torch.Tensor]] = {}

    def trained(model: Any, rows: Sequence[Example], objective: Objective, asked: Steps, seed: int) -> Any:
        read = LabelRows.from_examples(rows, setting.prompt, setting.engine)
        with tempfile.TemporaryDirectory() as folder:
            trainer = adapter_trainer(setting, model, read, objective, asked, seed, Path(folder))
            trainer.train()
        return trainer.model.eval().merge_and_unload()

    def after_sft(run: Run, n_steps: int) -> Any:
        model = load_model(setting.weights, str(setting.engine.device), "float32")
        if run.arm != LONGER and run.seed in shared:
            model.load_state_dict(shared[run.seed])
            return model
        model = trained(model, run.train, Objective("cross_entropy"), replace(steps, steps=n_steps), run.seed)
        if run.arm != LONGER:
            shared.clear()
            shared[run.seed] = {name: one.clone() for name, one in model.state_dict().items()}
        return model

    def scores_by(model: Any, rows: Sequence[Example]) -> Floats:
        answering = EngineSettings(dtype="float32")
        engine = TransformersEngine(model, setting.engine.tokenizer, name="bench", settings=answering, check=False)
        return option_scores(setting.prompt, engine, [row.text for row in rows], UNCALIBRATED)

    def scores_of(run: Run) -> Floats:
        n_sft, n_more = _n_steps(run.arm, steps.steps)
        model = after_sft(run, n_sft)
        if n_more:
            rows, pairs = pairs_of(setting, run, scores_by(model, run.train))
            preferences = _preferences(run.arm, pairs)
            objective = Objective("preference" if preferences else "cross_entropy", preferences=preferences)
            model.requires_grad_(True)
            asked = replace(steps, steps=n_more, learning_rate=DpoStage.learning_rate)
            model = trained(model, [run.train[row] for row in rows], objective, asked, run.seed + 1000)
        return scores_by(model, run.held_out)

    files = [setting.weights, content_of(setting.weights.base), str(setting.engine.device)]
    return scores_of, [asdict(steps), setting.prompt, *files]


def head_of(setting: Setting) -> tuple[Trainer, Any]:
    """A linear head on MiniLM's vectors that starts at those of the labels' names: scores are cosines / T."""
    encoder = open_encoder()
    texts = sorted({row.text for row in setting.examples})
    vectors = dict(zip(texts, torch.as_tensor(encoder.embed(texts)), strict=True))
    names = torch.as_tensor(encoder.embed(list(setting.task.names)))
    # A label is one token of a vocabulary of labels.
    tree, accelerator = OptionTree.build([[label] for label in range(len(names))]), Accelerator(cpu=True)

    def trained(head: torch.Tensor, inputs: torch.Tensor, loss_of: Any, n_steps: int, seed: int) -> torch.Tensor:
        head = head.clone().requires_grad_()
        optimizer = torch.optim.Adam([head], lr=HEAD_LEARNING_RATE)
        n_rows = TrainingSettings.rows_per_step
        order = passes(len(inputs), n_steps * n_rows, seed)
        for start in range(0, len(order), n_rows):
            rows = order[start : start + n_rows]
            optimizer.zero_grad()
            loss_of(inputs[rows] @ head.T / TEMPERATURE, rows)[0].backward()
            optimizer.step()
        return head.detach()

    def scores_of(run: Run) -> Floats:
        n_sft, n_more = _n_steps(run.arm, round(HEAD_STEPS / SHARES[0]))
        inputs = torch.stack([vectors[row.text] for row in run.train])
        gold = torch.as_tensor(_gold(setting, run.train))
        head = trained(names, inputs, lambda scores, rows: cross_entropy_loss(scores, gold[rows]), n_sft, run.seed)
        if n_more:
            scores = (inputs @ head.T / TEMPERATURE).double()
            hard, pairs = pairs_of(setting, run, scores.numpy())
            first, labels = torch.log_softmax(scores[hard].float(), -1), gold[hard]
            preferences = _preferences(run.arm, pairs)
            ask = None if preferences is None else PairLoss(preferences, tree, accelerator)

            def loss_of(scores: torch.Tensor, rows: list[int]) -> Any:
                if ask is None:
                    return cross_entropy_loss(scores, labels[rows])
                return ask(torch.log_softmax(scores, -1), first[rows], rows)

            head = trained(head, inputs[hard], loss_of, n_more, run.seed + 1000)
        held_out = torch.stack([vectors[row.text] for row in run.held_out])
        return np.asarray((held_out @ head.T / TEMPERATURE).double())

    return scores_of, ["head"]


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line an arm, means over all rows held out, and the paired difference to longer SFT."""
    lines = [
        "| arm | accuracy % | against longer SFT | hard ones % | against longer SFT | log loss | against longer SFT |",
        "|---|---|---|---|---|---|---|",
    ]
    together = {
        arm: {
            column: np.array([value for one in found if one["arm"] == arm for value in one[column]])
            for column in ("families", "is_hard", "right", "log_loss")
        }
        for arm in dict.fromkeys(one["arm"] for one in found)
    }
    base = together[LONGER]
    everywhere = np.ones(len(base["right"]), dtype=bool)
    for arm, one in together.items():
        cells = []
        for column, where, unit, digits in (
            ("right", everywhere, 100, 1),
            ("right", base["is_hard"], 100, 1),
            ("log_loss", everywhere, 1, 3),
        ):
            values, others = unit * one[column][where].astype(float), unit * base[column][where].astype(float)
            against = "–" if arm == LONGER else with_interval(values - others, base["families"][where].tolist(), digits)
            cells += [f"{values.mean():.{digits}f}", against]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    n_seeds = len({one["seed"] for one in found})
    n_hard, n_rows = int(base["is_hard"].sum()), len(everywhere)
    said = f"{n_seeds} seeds, {n_rows} rows held out in all, {n_hard} of them of hard labels"
    return [*lines, "", f"{said}; 95 % intervals of families of rows."]


if __name__ == "__main__":
    sys.exit(main())
