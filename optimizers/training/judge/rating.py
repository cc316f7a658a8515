"""Every train row is put to the judge once; what it answered is on disk before the next question's answer is.

A killed run, another seed and another candidate with the same rows ask nothing again: answers lie under a hash of the
question and of the judge's name and address, as those of ``synthesize`` do: another server's model of that name is
another judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelwright.data.task import Example, Task
from labelwright.errors import DataError, ModelError
from labelwright.statistics.metrics import Floats
from programs.asking import Answer, Answers, LanguageModel, Question, Readings, ask_and_read
from rewards.judge import NOT_RATINGS, Judge, read_ratings


class Rated(NamedTuple):
    """What a judge said of train rows.

    Attributes
    ----------
    rows : tuple of Example
        Those that it rated; of the others nothing is known that could be learnt.
    rewards : float array (n_rows, n_labels)
        Of those rows, in [0, 1].
    said : dict
        What a history says of it: how many rows were left out, how often the highest rating was the gold label's, and
        what it took.
    """

    rows: tuple[Example, ...]
    rewards: Floats
    said: dict[str, Any]


def check_judged(judge: Judge, train: Sequence[Example]) -> None:
    """Refuse what would be paid for row by row. Raises DataError."""
    if len(train) > judge.max_rows:
        raise DataError(
            f'reward "judge" asks about each of {len(train)} train rows, and max_rows = {judge.max_rows}: raise '
            "max_rows in [grpo] reward_settings, or set [data] max_rows"
        )


def rate(judge: Judge, task: Task, train: Sequence[Example], kept: Path, say: Callable[[int, int], object]) -> Rated:
    """Ask the judge about every row.

    Parameters
    ----------
    kept : Path
        The file of answers.
    say : callable
        Takes how many rows of how many are rated.

    Raises
    ------
    DataError
        More rows than ``max_rows``.
    ModelError
        Nobody there, a key refused; more rows without a rating than ``most_failed``. All answers until then are kept.
    """
    check_judged(judge, train)
    model = LanguageModel(judge.model, judge.url, "[grpo] reward_settings model or url")
    answers, readings = Answers(kept, math.inf), Readings()
    whose = f"{judge.model} {judge.url}".strip()
    questions = []
    for row in train:
        system, words = judge.question(task, row.text)
        questions.append(Question(system, (words,), max_tokens=judge.max_tokens))

    def given(them: Sequence[Question]) -> list[Answer | None]:
        return answers.ask(model, whose, them, judge.at_once, lambda done: say(done, len(them)))

    found = ask_and_read(given, questions, lambda _, answer: read_ratings(answer, task.names), NOT_RATINGS, readings)
    rated = [place for place, ratings in enumerate(found) if ratings is not None]
    n_left_out = len(train) - len(rated)
    if not rated or n_left_out > judge.most_failed * len(train):
        raise ModelError(
            f"{judge.model} gave no ratings for {n_left_out} of {len(train)} train rows ({readings.n_unread} answers "
            f"could not be read, {answers.n_refused} questions were refused), and {judge.most_failed:.0%} may be left "
            "out: raise max_tokens or most_failed in [grpo] reward_settings, or name a larger model"
        )
    rewards = np.array([found[place] for place in rated], dtype=np.float64)
    rows = tuple(train[place] for place in rated)
    return Rated(rows, rewards, {"judge": _told(judge, task, rows, rewards, answers, readings, n_left_out)})


def _told(
    judge: Judge,
    task: Task,
    rows: Sequence[Example],
    rewards: Floats,
    answers: Answers,
    readings: Readings,
    n_left_out: int,
) -> dict[str, Any]:
    """Nothing of which a run that was killed, and found its answers, would say otherwise."""
    gold = np.array([task.index(row.label) for row in rows])
    highest = rewards == rewards.max(axis=1, keepdims=True)
    return {
        "model": judge.model,
        "rows": len(rows),
        "left_out": n_left_out,
        "mended": readings.n_repaired,
        # Of the rows with one highest rating: those of which it is the gold label's.
        "one_highest": float((highest.sum(axis=1) == 1).mean()),
        "gold_highest": float(((highest.sum(axis=1) == 1) & highest[np.arange(len(gold)), gold]).mean()),
        "tokens_in": answers.spent.n_in,
        "tokens_out": answers.spent.n_out,
        "price": answers.spent.price,
    }
