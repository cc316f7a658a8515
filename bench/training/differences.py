"""Differences between arms of a measurement, paired by row, as tables show them: to one arm, or of every two.

Called by who measures trainings or searches, here and in ``bench.held_out``. It trains and asks nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from labelwright.statistics.intervals import mean_interval

Runs = Sequence[Mapping[str, Any]]


class Column(NamedTuple):
    """What a difference is told of.

    Attributes
    ----------
    key : str
        Of a run, under which it has a value a row held out.
    title : str
    unit : float
        What a value is multiplied by: 100 for shares that are told in points.
    digits : int
    """

    key: str
    title: str
    unit: float = 1.0
    digits: int = 2


RIGHT = Column("right", "accuracy, points", 100, 1)
LOG_LOSS = Column("log_loss", "log loss")
REWARD = Column("reward", "reward, points", 100, 1)


def pairs(arms: Mapping[str, Runs], columns: Sequence[Column] = (RIGHT, LOG_LOSS)) -> list[str]:
    """Markdown: every arm against every one before it, means of all rows with their intervals.

    Parameters
    ----------
    arms : mapping of str to sequence of mapping
        By an arm's name its runs, one a seed, in the same order of seeds: each has ``families``, a key a row held out,
        and under every column's key a value a row.
    columns : sequence of Column
    """
    values = {
        name: [column.unit * joined(runs, column.key).astype(float) for column in columns]
        for name, runs in arms.items()
    }
    lines = [f"| arm | against | {' | '.join(column.title for column in columns)} |", "|---" * (2 + len(columns)) + "|"]
    for first, second in itertools.combinations(arms, 2):
        families = joined(arms[first], "families").tolist()
        cells = [
            with_interval(b - a, families, column.digits)
            for column, a, b in zip(columns, values[first], values[second], strict=True)
        ]
        lines.append(f"| {second} | {first} | {' | '.join(cells)} |")
    return lines


def named(found: Runs, *keys: str) -> dict[str, list[Mapping[str, Any]]]:
    """Runs by what they have under keys, which together are an arm's name; an arm's in the order in which they came."""
    arms: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        arms.setdefault(" ".join(one[key] for key in keys), []).append(one)
    return arms


def joined(runs: Runs, key: str) -> np.ndarray:
    """What runs have under a key, one behind the other: (n_rows of all runs,)."""
    return np.concatenate([np.asarray(one[key]) for one in runs])


def with_interval(values: np.ndarray, families: Sequence[str], digits: int, sign: Literal["+", ""] = "+") -> str:
    """Mean of values by row with its 95 % interval, as a cell of a table; without ``sign`` what is no difference."""
    value, low, high = (f"{one:{sign}.{digits}f}" for one in mean_interval(values, families))
    return f"{value} [{low}, {high}]"
