"""`python -m bench.training.steering`: rows that ask for a label, before and after training on such rows.

Every seed holds out a fifth of the rows of train and dev, whole families, and trains on the others with no, some and
many copies that end in asking for another label (``steering_share``), at the same steps from the same first weights.
Counted is, of the rows held out, how many are answered rightly as they are, and how many of them, with each of the
endings that a comparison measures, are answered with the label that the ending asks for. Those endings are worded
otherwise than the ones that teach. Beside the recipe's model stand linear ones, taught the same rows. Nothing is chosen
on the rows held out. Each run is appended to a file as it ends; a run that is there is not trained again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.setting import Setting, open_setting
from bench.training.arms.run import Run, held_out_folds
from bench.training.arms.trainers import Steps, add_steps, asked_steps, trainer_of
from bench.training.differences import with_interval
from bench.training.kept import keep, read_kept
from labelwright.bundle.types import Bundle
from labelwright.data.task import Splits, group_keys
from labelwright.decide import probabilities
from labelwright.engines.protocol import Engine
from labelwright.engines.settings import EngineSettings
from labelwright.engines.transformers import TransformersEngine
from labelwright.errors import LabelwrightError
from labelwright.statistics.calibration import UNCALIBRATED
from optimizers.training.copies.copied import with_copies
from workbench.compare.measure import BaselineJob, train_baseline
from workbench.compare.steering.endings import ENDINGS, rows_moved
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version, content_of

# A fifth of what teaches, and two fifths.
SHARES = (0.0, 0.2, 0.4)
MODEL, LINEAR = "sft", ("sgd-chars", "minilm-logreg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the table; 0, or 2 where the recipe or the data are at fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.training.steering", description=(__doc__ or "")[:90])
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="the first is held against")
    parser.add_argument("--arms", nargs="+", choices=[MODEL, *LINEAR], default=[*LINEAR, MODEL], help="(default: all)")
    parser.add_argument("--rows", type=int, default=72, help="rows held out that get endings (default: %(default)s)")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: steering.jsonl among the recipe's)")
    add_steps(parser, Steps())
    given = parser.parse_args(arguments)
    silence_libraries()
    try:
        out = given.out or RUNS / read_recipe(given.recipe).name / "steering.jsonl"
        steps = asked_steps(given, Steps())
        setting = open_setting(given.recipe)
        wanted = runs_of(setting, given.arms, given.shares, given.seeds)
        print("\n".join(table(train_missing(setting, wanted, given.rows, out, steps))))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def runs_of(
    setting: Setting, arms: Sequence[str], shares: Sequence[float], n_seeds: int
) -> list[tuple[str, float, Run]]:
    """All runs with who is trained and the share of copies, seed by seed, so that whole seeds are there first."""
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        for arm in arms:
            for share in shares:
                taught = with_copies(train, setting.task.names, seed, steering_share=share)
                found.append((arm, share, Run("clean", MODEL, seed, taught, held_out)))
    return found


def train_missing(
    setting: Setting, wanted: Sequence[tuple[str, float, Run]], n_rows: int, out: Path, steps: Steps
) -> list[dict[str, Any]]:
    """What every run measured, from the file where it is there already; linear models know nothing of steps."""
    kept, found = read_kept(out), []
    code = code_version(("bench.training.steering",))
    model = [asdict(steps), setting.prompt, content_of(setting.weights.base), str(setting.engine.device)]
    for arm, share, run in wanted:
        key = run.key(setting.task.names, [arm, model if arm == MODEL else [], n_rows, code])
        if key not in kept:
            kept[key] = {"key": key, **measured(setting, arm, run, n_rows, steps)}
            keep(out, kept[key])
            print(f"{arm}, share {share:g}, seed {run.seed}", file=sys.stderr, flush=True)
        found.append({**kept[key], "arm": arm, "share": share, "seed": run.seed})
    return found


def measured(setting: Setting, arm: str, run: Run, n_rows: int, steps: Steps) -> dict[str, Any]:
    """Of the rows held out: which are right, and of the first ``n_rows`` the share of endings that got their label."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle, engine = trained(setting, arm, run, Path(scratch), steps)
        texts = [row.text for row in run.held_out]
        answers = probabilities(bundle, engine, texts).argmax(axis=1)
        moved, is_read = rows_moved(bundle, engine, texts[:n_rows])
    right = [setting.task.names[k] == row.label for k, row in zip(answers, run.held_out, strict=True)]
    keys = group_keys(run.held_out)
    return {
        "families": keys,
        "right": right,
        "moved_families": [key for key, read in zip(keys, is_read, strict=False) if read],
        "moved": {kind: one.tolist() for kind, one in moved.items()},
    }


def trained(setting: Setting, arm: str, run: Run, scratch: Path, steps: Steps) -> tuple[Bundle, Engine]:
    """What answers after a run's training; the linear ones stop by no rows but their own."""
    if arm != MODEL:
        job = BaselineJob(arm, setting.task, {}, run.seed, "refuse")
        found = train_baseline(job, Splits(run.train, run.train, (), ()), scratch)
        return found.bundle, found.engine
    trainer = trainer_of(setting, run, steps, scratch)
    trainer.train()
    plain = trainer.model.eval().get_base_model()
    answering = EngineSettings(dtype="float32")
    engine = TransformersEngine(plain, setting.engine.tokenizer, name=arm, settings=answering, check=False)
    return Bundle(setting.task, setting.prompt, setting.weights, UNCALIBRATED), engine


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: a line an arm and share, and the paired differences to the arm's first share with their intervals."""
    lines = ["| arm | share | accuracy % | against none | steered % | against none | " + " | ".join(ENDINGS) + " |"]
    lines.append("|---|---|---|---|---|---|" + "---|" * len(ENDINGS))
    for arm in dict.fromkeys(one["arm"] for one in found):
        first: tuple[Any, Any] | None = None
        for share in dict.fromkeys(one["share"] for one in found):
            own = [one for one in found if (one["arm"], one["share"]) == (arm, share)]
            right = 100 * np.concatenate([np.array(one["right"], dtype=float) for one in own])
            by_kind = {kind: 100 * np.concatenate([one["moved"][kind] for one in own]) for kind in ENDINGS}
            moved = np.mean(list(by_kind.values()), axis=0)
            families = [key for one in own for key in one["families"]]
            moved_families = [key for one in own for key in one["moved_families"]]
            cells = [f"{right.mean():.1f}", "–", f"{moved.mean():.1f}", "–"]
            if first is not None:
                cells[1] = with_interval(right - first[0], families, 1)
                cells[3] = with_interval(moved - first[1], moved_families, 1)
            first = first or (right, moved)
            cells += [f"{one.mean():.0f}" for one in by_kind.values()]
            lines.append(f"| {arm} | {share:g} | {' | '.join(cells)} |")
    n_seeds, n_rows = len({one["seed"] for one in found}), len(found[0]["right"])
    told = (
        f"{n_seeds} seeds, {n_rows} rows held out in the first, {len(found[0]['moved_families'])} of them with endings"
    )
    return [*lines, "", f"{told}; 95 % intervals of families of rows."]


if __name__ == "__main__":
    sys.exit(main())
