"""`python -m bench.comparisons.repeats RECIPE CANDIDATE OTHER`: what a candidate gains, over all of its trainings.

A comparison trains a candidate with other seeds on its own split, and on splits dealt by other seeds. The report shows
how far their accuracies lie apart; here all are held against the other candidate's on the same test rows, row by row,
so that a gain which a single training leaves to chance can be told from none. Made before: `make compare` of the
recipe, whose `[compare] seeds` (or `heavy_seeds`) say how often.

A row is asked by several trainings, and by several splits' tests; intervals draw families of rows, with all that was
said of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelwright.data.task import group_keys
from labelwright.errors import LabelwrightError
from labelwright.statistics.intervals import mean_interval
from workbench.compare.jobs import Comparison, Job, open_comparison
from workbench.recipe.read import read_recipe
from workbench.run.folder import RUNS, runs_of


@dataclass(frozen=True)
class Gain:
    """Of one training, by test row: what it has more than the other candidate.

    Attributes
    ----------
    right : float array (n_test,)
        1 where it alone is right, -1 where the other one alone is, else 0.
    log_loss : float array (n_test,)
        In nats; below 0 where it is better.
    families : list of str (n_test,)
    """

    job: Job
    right: np.ndarray
    log_loss: np.ndarray
    families: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0, or 2 where there is nothing to read."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.comparisons.repeats", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("candidate")
    parser.add_argument("other")
    given = parser.parse_args(arguments)
    try:
        runs = runs_of(RUNS / read_recipe(given.recipe).name)
        if not runs:
            raise LabelwrightError(f"{given.recipe} has no run; say `make compare` with this recipe first")
        comparison = open_comparison(given.recipe, runs[-1])
        print("\n".join(table(list(gains(comparison, given.candidate, given.other)), comparison.recipe.seed)))
    except LabelwrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def gains(comparison: Comparison, name: str, other: str) -> Iterator[Gain]:
    """Every whole training of a candidate beside the other's on the same test rows.

    Where the other candidate is not trained, or not with that seed, what is held against is its own seed's.

    Raises
    ------
    LabelwrightError
        A candidate that the recipe does not name, or one without results.
    """
    if unknown := [one for one in (name, other) if one not in comparison.names]:
        raise LabelwrightError(f"{unknown[0]}: no candidate of this recipe; expected one of {comparison.names}")
    for job in (one for one in comparison.jobs(name) if not one.per_label):
        test = comparison.splits_of(job).test
        gold = np.array([comparison.task.index(row.label) for row in test])
        beside = Job(other, job.seed, job.split_seed)
        if comparison.result(beside) is None:
            beside = Job(other, comparison.recipe.seed, job.split_seed)
        mine, theirs = _probs(comparison, job), _probs(comparison, beside)
        right = (mine.argmax(axis=1) == gold).astype(float) - (theirs.argmax(axis=1) == gold)
        yield Gain(job, right, _surprise(mine, gold) - _surprise(theirs, gold), group_keys(test))


def _probs(comparison: Comparison, job: Job) -> np.ndarray:
    if comparison.result(job) is None:
        told = f"{job.candidate} with seed {job.seed} on split {job.split_seed}"
        raise LabelwrightError(f"{told} has no results; say `make compare` with this recipe first")
    with np.load(comparison.place(job).with_suffix(".npz"), allow_pickle=False) as kept:
        return np.asarray(kept["probs"])


def _surprise(probs: np.ndarray, gold: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(probs[np.arange(len(gold)), gold], np.finfo(float).tiny))


def table(found: Sequence[Gain], seed: int) -> list[str]:
    """Markdown: the trainings on the recipe's own split, those on all splits, and all together."""
    of_seeds = [one for one in found if one.job.split_seed == seed]
    of_splits = [one for one in found if one.job.seed == seed]
    lines = ["| trainings | accuracy, points more | log loss more | of each, points |", "|---|---|---|---|"]
    for called, some in (("seeds, one split", of_seeds), ("splits, one seed", of_splits), ("all", found)):
        families = [key for one in some for key in one.families]
        right = 100 * np.concatenate([one.right for one in some])
        each = ", ".join(f"{100 * one.right.mean():+.1f}" for one in some)
        losses = np.concatenate([one.log_loss for one in some])
        cells = [f"{len(some)} {called}", _told(right, families, 1), _told(losses, families, 3), each]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _told(values: np.ndarray, families: Sequence[str], digits: int) -> str:
    value, low, high = mean_interval(values, families)
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    sys.exit(main())
