"""`python -m bench.training.judged`: what a model learns from a judge's ratings where no row has a label.

A larger model behind a server rates every label of rows of train and dev once, as `reward = "judge"` has it, and its
answers are kept. Every seed then holds out a fifth of the rows, whole families, and teaches the others to every arm
from the same first weights as ``bench.training.scales`` does. GRPO has the ratings for rewards ("group", "none",
"batch", "mean"). Beside it stands what needs no reinforcement: SFT on the label that the judge rates highest ("sft", of
rows where it is one label alone), and on its ratings as shares of a whole ("sft, spread", of rows where they differ).
"untuned" are the first weights, and what the right labels would have taught is the setting "gold". Right and wrong are
by the rows' own labels, which no other arm sees.

Rows that have no ratings are taught to nobody, and asked all the same.
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
from bench.training.scales import (
    SCALES,
    UNTUNED,
    Run,
    Steps,
    add_steps,
    asked_steps,
    head_of,
    held_out_folds,
    model_of,
    table,
    train_missing,
    with_interval,
)
from labelwright.data.task import group_keys
from labelwright.errors import LabelwrightError
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
    parser.add_argument("--rows", type=int, help="that the judge is asked about (default: all of train and dev)")
    parser.add_argument("--at-once", type=int, default=Judge.at_once, help="questions in flight (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=Judge.max_tokens, help="of an answer (default: %(default)s)")
    parser.add_argument(
        "--most-failed", type=float, default=Judge.most_failed, help="share of rows (default: %(default)s)"
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
        print("\n".join([*of_judge(setting, rated), "", *table(found)]))
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
    """All runs, seed by seed. Every one is taught the rows that have ratings, of the folds that are not held out."""
    names = setting.task.names
    ratings = {row.id: tuple(ones) for row, ones in zip(rated.rows, rated.rewards.tolist(), strict=True)}
    found = []
    for seed in range(n_seeds):
        train, held_out = held_out_folds(setting, seed)
        train = tuple(row for row in train if row.id in ratings)
        for arm in (arm for arm in ARMS if arm in (HIGHEST, *arms)):
            taught = tuple(row for row in train if teaches(ratings[row.id], arm))
            mine = tuple(ratings[row.id] for row in taught)
            taught = tuple(
                replace(row, label=names[int(np.argmax(ones))]) for row, ones in zip(taught, mine, strict=True)
            )
            found.append(JudgedRun(JUDGED, arm, seed, taught, held_out, mine))
        found.append(JudgedRun(GOLD, HIGHEST, seed, train, held_out))
    return found


def teaches(ratings: Sequence[float], arm: str) -> bool:
    """Whether an arm can learn from a row."""
    if arm == HIGHEST:
        return ratings.count(max(ratings)) == 1
    return arm != SPREAD or len({*ratings}) > 1


def of_judge(setting: Setting, rated: Rated) -> list[str]:
    """How good the judge is itself; where it rates several labels highest, it is right by that share of them."""
    gold = np.array([setting.task.index(row.label) for row in rated.rows])
    highest = rated.rewards == rated.rewards.max(axis=1, keepdims=True)
    right = 100 * highest[np.arange(len(gold)), gold] / highest.sum(axis=1)
    alone = 100 * (highest.sum(axis=1) == 1).mean()
    n_different = np.mean([len(set(ones)) for ones in rated.rewards.tolist()])
    return [
        f"{len(rated.rows)} of {len(setting.examples)} rows have ratings. The highest rating is the right label's: "
        f"{with_interval(right, group_keys(rated.rows), 1, sign='')} %; no other label has it: {alone:.0f} % of rows; "
        f"different ratings a row: {n_different:.1f}; ratings with right and wrong: r = "
        f"{correlation(gold, rated.rewards):.2f}"
    ]


def correlation(gold: NDArray[np.int64], ratings: Floats) -> float:
    """Pearson's, of each rating with whether its label is the row's; 0 where all ratings are one."""
    is_gold = np.eye(ratings.shape[1])[gold].ravel()
    return float(np.corrcoef(is_gold, ratings.ravel())[0, 1]) if ratings.std() else 0.0


if __name__ == "__main__":
    sys.exit(main())
