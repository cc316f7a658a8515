"""`python -m bench.training.scales`: GRPO's scales against SFT, at the same steps, on rows that took no part.

Every seed holds out a fifth of the rows of train and dev, whole families, and trains every arm on the others from the
same first weights, in the same order: within a seed the loss alone differs. Nothing is chosen on the rows held out; the
last step is what is measured. Differences are paired by row, and their intervals are of families of rows: what an order
of rows or a first adapter does by chance is in them as far as it differs from fold to fold.

Four settings. ``clean``: the labels as they are. ``flipped``: a fifth of the train labels are another label, drawn
evenly ("sft, smoothed" spreads as much of its target). ``soft``: half a reward for a label of the same trade
(``TRADES``), of which SFT cannot be told. ``prices``: a row about what is dangerous (``DANGEROUS``) that is answered as
anything else costs as much as ``MISSED`` other mistakes; SFT is not told of it, but its answers can be chosen by it. In
the first two "mean" is not trained by itself: where rewards are right or wrong it is SFT, gradient for gradient
(tests/optimizers/training).

What is trained is the recipe's model, or with ``--head`` a linear head on MiniLM that starts at the labels' names: the
same losses in a thousandth of the time, so for many seeds. Each run is appended to a file as it ends; a run that is
there is not trained again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.setting import Setting, open_setting
from bench.training.arms.run import COSTS, FLIPPED, MISSED, TRADES, Run, Trainer, held_out_folds, rewards_of
from bench.training.arms.trainers import Steps, add_steps, asked_steps, head_of, model_of
from bench.training.differences import LOG_LOSS, REWARD, RIGHT, named, pairs, with_interval
from bench.training.kept import keep, read_kept
from labelwright.data.task import Example, group_keys
from labelwright.decisions.decision import Decision
from labelwright.errors import DataError, LabelwrightError
from labelwright.statistics.calibration import UNCALIBRATED
from labelwright.statistics.proportions import priced_difference_interval
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS
from workbench.run.identity import code_version

# What is trained in each setting; the first is what the others are held against.
ARMS: Mapping[str, tuple[str, ...]] = {
    "clean": ("sft", "group", "none", "batch"),
    "flipped": ("sft", "sft, smoothed", "group", "none", "batch", "mean, noisy_label"),
    "soft": ("sft", "group", "none", "batch", "mean"),
    "prices": ("sft", "group", "none", "batch", "mean"),
}


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
        found = train_missing(setting, wanted, trainer, about, out)
        print("\n".join([*table(found), *price_table(found), *pairs_within(found)]))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def runs_of(setting: Setting, settings: Sequence[str], n_seeds: int) -> list[Run]:
    """All runs, seed by seed, so that whole seeds are there first."""
    names = setting.task.names
    if (ours := [name for name in settings if name in COSTS]) and sorted(names) != sorted(sum(TRADES, ())):
        raise DataError(f"{' and '.join(ours)}: for the shipped labels only; leave out with --settings clean flipped")
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        for name in settings:
            taught = flipped(train, names, seed) if name == "flipped" else train
            found += [Run(name, arm, seed, taught, held_out) for arm in ARMS[name]]
    return found


def flipped(train: Sequence[Example], names: Sequence[str], seed: int) -> tuple[Example, ...]:
    """The rows with ``FLIPPED`` of them under another label, drawn evenly from the others."""
    chance = np.random.default_rng(seed)
    wrong = set(chance.permutation(len(train))[: round(FLIPPED * len(train))].tolist())
    others = [[name for name in names if name != row.label] for row in train]
    return tuple(
        replace(row, label=str(chance.choice(others[i]))) if i in wrong else row for i, row in enumerate(train)
    )


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
    ``price`` is what the most probable answer costs by the setting ``prices``, and those of ``cheapest`` are of the
    answer that the probabilities expect to cost least.
    """
    names = setting.task.names
    gold = np.array([setting.task.index(row.label) for row in run.held_out])
    probs = UNCALIBRATED.apply(scores)
    rewards = rewards_of("soft", names) if sorted(names) == sorted(sum(TRADES, ())) else np.eye(len(names))
    answers, decided = probs.argmax(axis=1), (probs @ rewards).argmax(axis=1)
    by_price = Decision.of(COSTS["prices"], names)
    cheapest = by_price.decide(probs).choice
    return {
        "families": group_keys(run.held_out),
        "right": (answers == gold).tolist(),
        "log_loss": np.round(-np.log(probs[np.arange(len(gold)), gold]), 5).tolist(),
        "reward": rewards[gold, answers].tolist(),
        "decided": rewards[gold, decided].tolist(),
        "price": by_price.realised(gold, answers).tolist(),
        "cheapest_right": (cheapest == gold).tolist(),
        "cheapest_price": by_price.realised(gold, cheapest).tolist(),
    }


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


def price_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: what a row of the setting ``prices`` costs, by loss and by how its answer is chosen; [] without it.

    Both answers of every arm against both of SFT, and every two arms that are answered by price, as ``[costs]`` has it,
    paired by row. What is dear is rare here, so that the intervals are
    those that the comparison has for prices, wider than drawn ones.
    """
    mine = [one for one in found if one["setting"] == "prices"]
    if not mine:
        return []
    together = {
        arm: {
            column: np.array([value for one in mine if one["arm"] == arm for value in one[column]])
            for column in ("families", "right", "price", "cheapest_right", "cheapest_price")
        }
        for arm in dict.fromkeys(one["arm"] for one in mine)
    }
    sft = together["sft"]
    lines = [
        "",
        "| loss | answer | accuracy % | price of a row | against SFT's likeliest | against SFT's cheapest |",
        "|---|---|---|---|---|---|",
    ]
    for arm, one in together.items():
        for answer, right, price in (("likeliest", "right", "price"), ("cheapest", "cheapest_right", "cheapest_price")):
            cells = [f"{100 * one[right].mean():.1f}", f"{one[price].mean():.3f}"]
            for other in ("price", "cheapest_price"):
                same = (arm, price) == ("sft", other)
                cells.append("–" if same else _dearer(one[price] - sft[other], sft["families"]))
            lines.append(f"| {arm} | {answer} | {' | '.join(cells)} |")
    lines += ["", "| both answered cheapest | against | price of a row | accuracy, points |", "|---|---|---|---|"]
    for first, second in itertools.combinations(together, 2):
        a, b = together[first], together[second]
        right = 100.0 * (b["cheapest_right"].astype(float) - a["cheapest_right"])
        cells = [_dearer(b["cheapest_price"] - a["cheapest_price"], sft["families"])]
        cells.append(with_interval(right, sft["families"].tolist(), 1))
        lines.append(f"| {second} | {first} | {' | '.join(cells)} |")
    return lines


def _dearer(more: np.ndarray, families: np.ndarray) -> str:
    """What a row costs more, with its interval, as a cell."""
    value, low, high = (f"{one:+.3f}" for one in priced_difference_interval(more, MISSED, families.tolist()))
    return f"{value} [{low}, {high}]"


def pairs_within(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown, a table a setting: every arm against every other one of it; by rewards too where these are soft."""
    lines = []
    for name, runs in named(found, "setting").items():
        columns = (RIGHT, LOG_LOSS, *((REWARD,) if name == "soft" else ()))
        lines += ["", *pairs(named(runs, "setting", "arm"), columns)]
    return lines


if __name__ == "__main__":
    sys.exit(main())
