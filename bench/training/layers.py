"""`python -m bench.training.layers`: what it costs to tune only the upper layers, and what it saves.

Rows of train and dev are dealt into three parts, whole families. Every seed holds one of them out and tunes the
recipe's model on the others by GRPO, as long as the weight stages do by default, once for each share of the layers;
within a seed the share alone differs. Nothing is chosen on the rows held out; the last step is what is measured.
Differences are paired by row, and their intervals are of families of rows. Each run is appended to a file as it ends; a
run that is there is not trained again.

With ``--time`` nothing is learnt: processor seconds of a step are taken in turns, with and without what
``labelwright.engines.packed.lower`` keeps, on rows that are met for the first time and again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.setting import Setting, open_setting
from bench.training.arms.run import Run, Trainer, held_out_folds
from bench.training.arms.trainers import Steps, model_of, trainer_of
from bench.training.differences import with_interval
from bench.training.grpo_step import with_prefix
from bench.training.scales import train_missing
from labelwright.errors import LabelwrightError
from optimizers.training.settings import Objective, TrainingSettings
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version

FOLDS = 3
SHARES = (1.0, 0.5, 0.33)
ROUNDS = 3


@dataclass(frozen=True)
class LayersRun(Run):
    """One training of a share of the layers, by the label match, scaled by row; ``arm`` is the share in percent."""

    def objective(self, names: Sequence[str]) -> Objective:
        """The same for every share."""
        return Objective("exact", rewards=np.eye(len(names)))

    def key(self, names: Sequence[str], about: Any) -> str:
        """As ``Run.key``."""
        return super().key(names, [self.arm, *about])

    @property
    def steps(self) -> Steps:
        """What is trained, and how long: the recipe's defaults, but for the share."""
        return steps_of(float(self.arm) / 100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and print the table, or the times; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.layers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=FOLDS, help="(default: %(default)s)")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the layers (default: %(default)s)")
    parser.add_argument("--time", action="store_true", help="processor seconds of a step, in turns; nothing is learnt")
    parser.add_argument("--prefix", type=int, default=0, help="of --time: instructions lengthened to so many tokens")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: layers.jsonl among the recipe's runs)")
    given = parser.parse_args(arguments)
    if given.seeds < 1 or not all(0 < share <= 1 for share in given.shares):
        parser.error("expected at least 1 seed, and shares above 0 up to 1")
    silence_libraries()
    try:
        setting = open_setting(given.recipe)
        if given.time:
            print("\n".join(times(setting, given.shares, given.prefix)))
            return 0
        out = given.out or RUNS / read_recipe(given.recipe).name / "layers.jsonl"
        wanted = runs_of(setting, given.shares, given.seeds)
        _, about = model_of(setting, steps_of(1.0))
        about = [*about, code_version(("bench.training.layers",))]
        print("\n".join(table(train_missing(setting, wanted, by_share(setting), about, out))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def steps_of(share: float) -> Steps:
    """The settings that the weight stages have by default, with a share of the layers tuned."""
    shipped = TrainingSettings
    return Steps(
        steps=shipped.steps,
        rows_per_step=shipped.rows_per_step,
        rows_per_forward=shipped.rows_per_forward,
        lora_layers=share,
    )


def by_share(setting: Setting) -> Trainer:
    """Trains a run with its own share."""

    def scores_of(run: Run) -> np.ndarray:
        assert isinstance(run, LayersRun)
        return model_of(setting, run.steps)[0](run)

    return scores_of


def runs_of(setting: Setting, shares: Sequence[float], n_seeds: int) -> list[Run]:
    """All runs, seed by seed, so that whole seeds are there first."""
    found: list[Run] = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed, FOLDS)
        found += [LayersRun("layers", f"{100 * share:g}", seed, train, held_out) for share in shares]
    return found


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line a share, means over all rows held out, and the paired difference to the first share."""
    shares = list(dict.fromkeys(one["arm"] for one in found))
    lines = [f"| layers tuned % | accuracy % | against {shares[0]} % | log loss | against {shares[0]} % |"]
    lines += ["|---|---|---|---|---|"]
    together: dict[str, dict[str, list[Any]]] = {share: {} for share in shares}
    for one in found:
        for name in ("families", "right", "log_loss"):
            together[one["arm"]].setdefault(name, []).extend(one[name])
    first = together[shares[0]]
    for share, one in together.items():
        cells = []
        for column, unit, digits in (("right", 100, 1), ("log_loss", 1, 2)):
            values = unit * np.array(one[column], dtype=float)
            moved = values - unit * np.array(first[column], dtype=float)
            cells += [
                f"{values.mean():.{digits}f}",
                "–" if one is first else with_interval(moved, first["families"], digits),
            ]
        lines.append(f"| {share} | {' | '.join(cells)} |")
    n_seeds = len({one["seed"] for one in found})
    return [*lines, "", f"{n_seeds} seeds, {len(first['right'])} rows held out; 95 % intervals of families of rows."]


def times(setting: Setting, shares: Sequence[float], n_prefix: int) -> list[str]:
    """Markdown: processor seconds of a step's loss and gradients by share, median of ``ROUNDS``, all in turns.

    "plain" keeps nothing; "new" meets rows for the first time, "again" those of the step before.
    """
    setting = with_prefix(setting, n_prefix)
    # Every round meets rows that none has met.
    n_rows = min(TrainingSettings.rows_per_step, len(setting.examples) // ROUNDS)
    run = LayersRun("layers", "100", 0, setting.examples[: n_rows * ROUNDS], ())
    taken: dict[tuple[float, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {share: trainer_of(setting, run, steps_of(share), Path(folder)) for share in shares}
    kept = {share: trainer.lower for share, trainer in trainers.items()}
    for number in range(ROUNDS):
        rows = list(range(number * n_rows, (number + 1) * n_rows))
        for share, trainer in trainers.items():
            for name in ("plain", "new", "again") if kept[share] else ("plain",):
                trainer.lower = None if name == "plain" else kept[share]
                taken.setdefault((share, name), []).append(_seconds(trainer, rows))
    whole = np.array(next(iter(taken.values())))
    lines = [
        "| layers tuned % | lower layers | processor seconds a step | share of the first line |",
        "|---|---|---|---|",
    ]
    for (share, name), seconds in taken.items():
        ratios = np.array(seconds) / whole
        cells = f"{np.median(seconds):.2f} | {np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}]"
        lines.append(f"| {100 * share:g} | {name} | {cells} |")
    return [*lines, "", f"{n_rows} rows a step, {ROUNDS} rounds: median, and the least and the most."]


def _seconds(trainer: Any, rows: list[int]) -> float:
    started = time.process_time()
    trainer.model.zero_grad()
    trainer.label_scores(rows).logsumexp(-1).sum().backward()
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
