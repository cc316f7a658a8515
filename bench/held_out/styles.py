"""`python -m bench.held_out.styles`: what a style of writing that was not taught costs, and what makes it cost less.

The shipped rows have no column of styles, so they are told by form, which anybody can look up in a row: written with a
capital letter at the beginning ("sentence"); else with a question mark or a question word at the beginning
("question"); else "note". A fold of families is held out, and one style is left out of the others' rows. Asked are all
rows of the fold: those of the style that was left out, and those of the styles that were taught. Beside that stands the
same training on as many rows of all styles, so that a style that is merely harder is not taken for one that is new.

Every arm changes one thing of "as shipped": label smoothing, fewer steps, the mean of the second half of the steps'
weights, dropout, copies with typos, case and fragments (``augment``). What is trained is a linear head on MiniLM that
starts at the labels' names, or the recipe's model (``--what model``), or n-grams (``--what chars``), which have fewer
of these arms. Each run is appended to a file as it ends; a run that is there is not trained again.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.setting import Setting, open_setting
from bench.training.arms.run import FOLDS, Run, Trainer, held_out_folds
from bench.training.arms.trainers import HEAD_LEARNING_RATE, HEAD_STEPS, TEMPERATURE, Steps, trainer_of
from bench.training.differences import with_interval
from bench.training.scales import train_missing
from labelwright.data.task import Splits
from labelwright.decide import log_scores, option_scores
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import LabelwrightError
from labelwright.predictors.encoders.sentence_encoder import open_encoder
from labelwright.statistics.calibration import UNCALIBRATED
from optimizers.training.copies.copied import with_copies
from optimizers.training.losses import cross_entropy_loss
from optimizers.training.rows import passes
from optimizers.training.settings import Objective, TrainingSettings
from workbench.compare.measure import BaselineJob, train_baseline
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version, content_of

SHIPPED = "as shipped"
ARMS = (SHIPPED, "smoothing", "fewer steps", "averaged", "dropout", "augmented")
SMOOTHING, FEWER, DROPOUT, AUGMENT = 0.1, 0.5, 0.2, 1 / 3
# Of n-grams: fewer passes over the rows in the place of steps.
ARMS_OF = {"head": ARMS, "model": ARMS, "chars": (SHIPPED, "fewer steps", "augmented")}
FEWER_PASSES = 5
STYLES = ("sentence", "question", "note")
_QUESTION = re.compile(
    r"(how|what|why|when|where|which|who|whose|can|could|do|does|did|is|are|am|was|were|should|would|will|any|has|have)"
    r"\b"
)


@dataclass(frozen=True)
class StyleRun(Run):
    """One training: ``setting`` is the style, and whether it is taught.

    Attributes
    ----------
    style : str
        Of ``STYLES``.
    """

    style: str = ""

    def objective(self, names: Sequence[str]) -> Objective:
        """SFT's, with the arm's smoothing."""
        return Objective("cross_entropy", label_smoothing=SMOOTHING if self.arm == "smoothing" else 0.0)

    def key(self, names: Sequence[str], about: Any) -> str:
        """Arms may differ in more than rows and loss."""
        return super().key(names, [self.arm, about])


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the tables; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.held_out.styles", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--what", choices=list(ARMS_OF), default="head", help="is trained (default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="beside as shipped (default: all)")
    parser.add_argument("--seeds", type=int, default=25, help="(default: %(default)s)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: styles.jsonl among the recipe's)")
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds {given.seeds}: expected at least 1")
    if strange := [arm for arm in given.arms or () if arm not in ARMS_OF[given.what]]:
        there_are = ", ".join(ARMS_OF[given.what])
        parser.error(f"--arms {', '.join(strange)}: --what {given.what} has none; expected some of {there_are}")
    silence_libraries()
    try:
        out = given.out or RUNS / read_recipe(given.recipe).name / "styles.jsonl"
        setting = open_setting(given.recipe)
        arms = [arm for arm in ARMS_OF[given.what] if arm == SHIPPED or arm in (given.arms or ARMS)]
        wanted = runs_of(setting, arms, given.seeds)
        trainer, about = TRAINERS[given.what](setting)
        about = [given.what, *about, code_version(("bench.held_out.styles",))]
        print("\n".join(table(wanted, train_missing(setting, wanted, trainer, about, out))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def style_of(text: str) -> str:
    """The style of a text, of ``STYLES``, by its form alone.

    Examples
    --------
    >>> style_of("Is it safe?"), style_of("any idea what it is"), style_of("no hot water")
    ('sentence', 'question', 'note')
    """
    if text[:1].isupper():
        return "sentence"
    return "question" if "?" in text or _QUESTION.match(text) else "note"


def runs_of(setting: Setting, arms: Sequence[str], n_seeds: int) -> list[StyleRun]:
    """All runs, seed by seed; of each style and arm one that was not taught the style, and one that was."""
    found = []
    for seed in range(n_seeds):
        others, asked = held_out_folds(setting, seed)
        styles = np.array([style_of(row.text) for row in others])
        for style in STYLES:
            without = np.flatnonzero(styles != style)
            # As many rows of all styles, drawn by the seed.
            drawn = np.random.default_rng(seed).permutation(len(others))[: len(without)]
            for kind, taught in (("new", without), ("taught", np.sort(drawn))):
                for arm in arms:
                    augment = AUGMENT if arm == "augmented" else 0.0
                    train = with_copies([others[i] for i in taught], setting.task.names, seed, augment=augment)
                    found.append(StyleRun(f"{style}, {kind}", arm, seed, train, asked, style))
    return found


def head_of(setting: Setting) -> tuple[Trainer, Any]:
    """The head of ``bench.training.arms``, and what it has in each arm."""
    encoder = open_encoder()
    first = torch.as_tensor(encoder.embed(list(setting.task.names), remember=True))

    def scores_of(run: Run) -> NDArray[np.float64]:
        inputs = torch.as_tensor(encoder.embed([row.text for row in run.train], remember=True))
        gold = torch.tensor([setting.task.index(row.label) for row in run.train])
        smoothing = run.objective(setting.task.names).label_smoothing
        n_steps = round(HEAD_STEPS * (FEWER if run.arm == "fewer steps" else 1))
        n_rows, head, kept = TrainingSettings.rows_per_step, first.clone().requires_grad_(), []
        optimizer, chance = torch.optim.Adam([head], lr=HEAD_LEARNING_RATE), torch.Generator().manual_seed(run.seed)
        order = passes(len(gold), n_steps * n_rows, run.seed)
        for step in range(n_steps):
            rows = order[step * n_rows : (step + 1) * n_rows]
            vectors = dropped(inputs[rows], chance) if run.arm == "dropout" else inputs[rows]
            loss, _ = cross_entropy_loss(vectors @ head.T / TEMPERATURE, gold[rows], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept += [head.detach().clone()] if 2 * step >= n_steps else []
        answering = torch.stack(kept).mean(0) if run.arm == "averaged" else head.detach()
        asked = torch.as_tensor(encoder.embed([row.text for row in run.held_out], remember=True))
        return (asked @ answering.T / TEMPERATURE).double().numpy()

    return scores_of, []


def dropped(vectors: Tensor, chance: torch.Generator) -> Tensor:
    """Numbers left out at ``DROPOUT``, the others made larger by as much."""
    return vectors * (torch.rand(vectors.shape, generator=chance) >= DROPOUT) / (1 - DROPOUT)


def model_of(setting: Setting) -> tuple[Trainer, Any]:
    """The recipe's model with an adapter, in float32, and what it has in each arm."""

    def scores_of(run: Run) -> NDArray[np.float64]:
        steps = Steps(lora_dropout=DROPOUT if run.arm == "dropout" else 0.0)
        steps = replace(steps, steps=round(FEWER * steps.steps)) if run.arm == "fewer steps" else steps
        with tempfile.TemporaryDirectory() as folder:
            trainer = trainer_of(setting, run, steps, Path(folder))
            end = averaging(trainer) if run.arm == "averaged" else None
            trainer.train()
        if end is not None:
            end()
        plain = trainer.model.eval().get_base_model()
        answering = EngineSettings(dtype="float32")
        engine = TransformersEngine(plain, setting.engine.tokenizer, name=run.arm, settings=answering, check=False)
        return option_scores(setting.prompt, engine, [row.text for row in run.held_out], UNCALIBRATED)

    model = [setting.weights, content_of(setting.weights.base), str(setting.engine.device)]
    return scores_of, [asdict(Steps()), setting.prompt, *model]


def averaging(trainer: Any) -> Callable[[], None]:
    """Keep the mean of what is trained over the second half of the steps; what is returned puts it in place."""
    from transformers import TrainerCallback

    weights = {name: one for name, one in trainer.model.named_parameters() if one.requires_grad}
    sums: dict[str, Tensor] = {name: torch.zeros_like(one) for name, one in weights.items()}
    n_kept = [0]

    class Keep(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if 2 * state.global_step > state.max_steps:
                n_kept[0] += 1
                for name, one in weights.items():
                    sums[name] += one.detach()

    def end() -> None:
        with torch.no_grad():
            for name, one in weights.items():
                one.copy_(sums[name] / n_kept[0])

    trainer.add_callback(Keep())
    return end


def chars_of(setting: Setting) -> tuple[Trainer, Any]:
    """The comparison's sgd-chars."""

    def scores_of(run: Run) -> NDArray[np.float64]:
        settings = {"max_iter": FEWER_PASSES} if run.arm == "fewer steps" else {}
        job = BaselineJob("sgd-chars", setting.task, settings, run.seed, "refuse")
        with tempfile.TemporaryDirectory() as folder:
            made = train_baseline(job, Splits(run.train, run.train, (), ()), Path(folder))
            return log_scores(made.bundle, made.engine, [row.text for row in run.held_out])

    return scores_of, []


TRAINERS: Mapping[str, Callable[[Setting], tuple[Trainer, Any]]] = {
    "head": head_of,
    "model": model_of,
    "chars": chars_of,
}


def table(wanted: Sequence[StyleRun], found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: of as shipped a line a style; of every arm one over all styles, against as shipped, paired."""
    right: dict[tuple[str, str, str], list[float]] = {}
    families: dict[tuple[str, str, str], list[str]] = {}
    for run, one in zip(wanted, found, strict=True):
        kind = run.setting.rpartition(", ")[2]
        for row, is_right, family in zip(run.held_out, one["right"], one["families"], strict=True):
            if style_of(row.text) == run.style:
                place = (run.arm, run.style, kind)
            elif kind == "new":
                place = (run.arm, run.style, "others")
            else:
                continue
            right.setdefault(place, []).append(100.0 * is_right)
            families.setdefault(place, []).append(family)

    def all_of(arm: str, kind: str, styles: Sequence[str] = STYLES) -> tuple[NDArray[np.float64], list[str]]:
        places = [(arm, style, kind) for style in styles if (arm, style, kind) in right]
        return np.array([one for place in places for one in right[place]]), [
            one for place in places for one in families[place]
        ]

    lines = ["| style | asked | taught, right % | left out, right % | against taught | other styles, right % |"]
    lines.append("|---|---|---|---|---|---|")
    for style in STYLES:
        (new, named), (known, _), (others, _) = (all_of(SHIPPED, kind, [style]) for kind in ("new", "taught", "others"))
        if not len(new):
            continue
        cells = [
            f"{known.mean():.1f}",
            f"{new.mean():.1f}",
            with_interval(new - known, named, 1),
            f"{others.mean():.1f}",
        ]
        lines.append(f"| {style} | {len(new):,} | {' | '.join(cells)} |")
    kinds = {"new": "left out %", "taught": "taught %", "others": "others %"}
    lines += [
        "",
        f"| arm | {' | '.join(f'{name} | against it' for name in kinds.values())} | left out against taught |",
    ]
    lines.append("|---|" + "---|" * (2 * len(kinds) + 1))
    for arm in dict.fromkeys(run.arm for run in wanted):
        cells = []
        for kind in kinds:
            (own, named), (shipped, _) = all_of(arm, kind), all_of(SHIPPED, kind)
            cells += [f"{own.mean():.1f}", "–" if arm == SHIPPED else with_interval(own - shipped, named, 1)]
        new, named = all_of(arm, "new")
        lines.append(f"| {arm} | {' | '.join(cells)} | {with_interval(new - all_of(arm, 'taught')[0], named, 1)} |")
    n_seeds = len({run.seed for run in wanted})
    return [*lines, "", f"{n_seeds} seeds of {FOLDS} folds; 95 % intervals of families of rows, differences paired."]


if __name__ == "__main__":
    sys.exit(main())
