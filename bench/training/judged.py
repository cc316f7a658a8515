"""`python -m bench.training.judged`: what a model learns from a judge's ratings where no row has a label.

A larger model behind a server rates every label of rows of train and dev once, as `reward = "judge"` has it, and its
answers are kept. Every seed then holds out a fifth of the rows, whole families, and teaches every arm those of the
others that the judge told labels apart in, from the same first weights and in the same order: within a seed the loss
alone differs, as in ``bench.training.scales``. GRPO has the ratings for rewards ("group", "none", "batch", "mean").
Beside it stands what needs no reinforcement: SFT on the label that the judge rates highest ("sft"; of several the seed
draws one), and on its ratings as shares of a whole ("sft, spread"). "untuned" are the first weights, and what the right
labels of the same rows would have taught is the setting "gold". Right and wrong are by the rows' own labels, which no
other arm sees. Where a judge gives every label all or nothing, and one label all, "mean" is "sft", gradient for
gradient.

All rows of the fold that is held out are asked, whether they were rated or not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.setting import Setting, open_setting
from bench.training.arms.run import SCALES, UNTUNED, Run, held_out_folds
from bench.training.arms.trainers import Steps, add_steps, asked_steps, head_of, model_of
from bench.training.differences import named, pairs, with_interval
from bench.training.scales import table, train_missing
from labelwright.data.task import group_keys
from labelwright.errors import DataError, LabelwrightError
from optimizers.training.judge.rating import Rated, rate
from optimizers.training.settings import Objective
from rewards.judge import Judge
from workbench.progress import silence_libraries
from workbench.recipe.read import read_recipe
from workbench.run.folder import ANSWERS, RUNS
from workbench.run.identity import code_version

JUDGED, GOLD = "judged", "gold"
HIGHEST, SPREAD = "sft", "sft, spread"
ARMS = (HIGHEST, UNTUNED, SPREAD, "group", "none", "batch", "mean")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class JudgedRun(Run):
    """One training on what a judge said.

    Attributes
    ----------
    ratings : tuple of tuple of float, (n_train, n_labels)
        In [0, 1]; empty where the rows' own labels are taught.
    """

    ratings: tuple[tuple[float, ...], ...] = ()

    def objective(self, names: Sequence[str]) -> Objective:
        """GRPO by the ratings of each row, or SFT."""
        if self.arm in SCALES:
            return Objective("exact", row_rewards=np.array(self.ratings), scale_rewards=SCALES[self.arm])
        return Objective("cross_entropy")

    def targets(self) -> Floats | None:
        """The ratings as shares of a whole."""
        ratings = np.array(self.ratings)
        return np.asarray(ratings / ratings.sum(axis=1, keepdims=True)) if self.arm == SPREAD else None

    def key(self, names: Sequence[str], about: Any) -> str:
        """What is learnt from each row is no matrix of labels."""
        return super().key(names, [self.arm, self.ratings, about])


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask and train what is missing, and print the tables; 0, or 2 where recipe, data or judge are at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.training.judged", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--url", required=True, help="an OpenAI-compatible server")
    parser.add_argument("--model", required=True, help="the name under which it has the judge")
    parser.add_argument("--rows", type=int, help="how many the judge is asked about (default: all of train and dev)")
    parser.add_argument("--at-once", type=int, default=Judge.at_once, help="questions in flight (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=Judge.max_tokens, help="of an answer (default: %(default)s)")
    parser.add_argument(
        "--most-failed",
        type=float,
        default=Judge.most_failed,
        help="share of the rows whose answers may be no ratings (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help=f"beside {HIGHEST} (default: all)")
    parser.add_argument("--head", action="store_true", help="a linear head on MiniLM, not the recipe's model")
    parser.add_argument("--recipe", type=Path, default=Path("runs/homeowner.toml"), help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="where runs are kept (default: judged.jsonl among the recipe's runs)")
    add_steps(parser, Steps())
    given = parser.parse_args(arguments)
    for option, value in (("--seeds", given.seeds), ("--rows", given.rows)):
        if value is not None and value < 1:
            parser.error(f"{option} {value}: expected at least 1")
    silence_libraries()
    try:
        root = RUNS / read_recipe(given.recipe).name
        of_answers = {"at_once": given.at_once, "max_tokens": given.max_tokens, "most_failed": given.most_failed}
        judge = Judge(given.model, given.url, **of_answers)
        setting = open_setting(given.recipe)
        asked, kept = setting.examples[: given.rows], root / ANSWERS / "judge.jsonl"
        rated = rate(judge, setting.task, asked, kept, said_of(judge))
        wanted = runs_of(setting, rated, given.arms, given.seeds)
        trainer, about = head_of(setting) if given.head else model_of(setting, asked_steps(given, Steps()))
        about = [*about, code_version(("bench.training.judged",))]
        found = train_missing(setting, wanted, trainer, about, given.out or root / "judged.jsonl")
        print("\n".join([*of_judge(setting, rated), "", *table(found), "", *pairs(named(found, "setting", "arm"))]))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def said_of(judge: Judge) -> Callable[[int, int], None]:
    """Progress: a line every 20 rows."""

    def say(done: int, n: int) -> None:
        if done % 20 == 0 or done == n:
            print(f"{done} of {n} rows put to {judge.model}", file=sys.stderr, flush=True)

    return say


def runs_of(setting: Setting, rated: Rated, arms: Sequence[str], n_seeds: int) -> list[JudgedRun]:
    """All runs, seed by seed. Every one is taught the same rows: those not held out whose ratings differ.

    Raises
    ------
    DataError
        There are none.
    """
    names = setting.task.names
    ratings = {row.id: tuple(ones) for row, ones in zip(rated.rows, rated.rewards.tolist(), strict=True)}
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        train = tuple(row for row in train if len({*ratings.get(row.id, ())}) > 1)
        if not train:
            raise DataError(
                f"seed {seed}: the judge tells no labels apart in any row that is taught; ask about more rows"
            )
        mine = tuple(ratings[row.id] for row in train)
        chance = np.random.default_rng(seed)
        highest = tuple(
            replace(row, label=names[chance.choice(np.flatnonzero(np.array(ones) == max(ones)))])
            for row, ones in zip(train, mine, strict=True)
        )
        found += [JudgedRun(JUDGED, arm, seed, highest, held_out, mine) for arm in ARMS if arm in (HIGHEST, *arms)]
        found.append(JudgedRun(GOLD, HIGHEST, seed, train, held_out))
    return found


def of_judge(setting: Setting, rated: Rated) -> list[str]:
    """How good the judge is itself; where it rates several labels highest, it is right by that share of them."""
    gold = np.array([setting.task.index(row.label) for row in rated.rows])
    highest = rated.rewards == rated.rewards.max(axis=1, keepdims=True)
    differ = np.ptp(rated.rewards, axis=1) > 0
    alone = highest.sum(axis=1) == 1
    right = 100 * highest[np.arange(len(gold)), gold] / highest.sum(axis=1)
    values, counts = np.unique(rated.rewards, return_counts=True)
    told = ", ".join(f"{value:g} {count:,} times" for value, count in zip(values, counts, strict=True))
    lines = [
        f"{len(gold)} of {len(setting.examples)} rows have ratings; in {differ.sum()} of these labels are told apart, "
        f"in {alone.sum()} one label alone is rated highest.",
        f"Ratings: {told}.",
    ]
    for said, rows in (("labels are told apart", differ), ("one label is highest alone", alone)):
        if rows.any():
            families = group_keys([row for row, out in zip(rated.rows, rows, strict=True) if out])
            lines.append(f"Where {said}, the highest is right: {with_interval(right[rows], families, 1, sign='')} %.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
