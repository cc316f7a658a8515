"""Rows that bring their own answers: multiple choice as classification over letters.

A row's question and its choices become one text, the choices a line each behind letters. The classes of such a task are
the letters, so that everything that works on labels works on choices: what is learnt about a class is what is true of
its place. Only the two ends know more: rows come in with choices, and answers go out as the choice's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.errors import DataError
from labelwright.task import LETTERS, Example, choices_cell


def lettered(question: str, choices: Sequence[str], where: str = "row") -> str:
    """Question and choices as one text; ``split_lettered`` takes it apart again.

    Parameters
    ----------
    choices : sequence of str
        Two to 26; space is evened out, so that each is one line.
    where : str
        What to call the row in messages.

    Raises
    ------
    DataError
        Fewer than two choices, more than there are letters, or an empty one.

    Examples
    --------
    >>> lettered("What floats?", ["stone", "wood"])
    'What floats?\\nA. stone\\nB. wood'
    """
    lines = [" ".join(choice.split()) for choice in choices]
    if not 2 <= len(lines) <= len(LETTERS):
        raise DataError(f"{where} has {len(lines)} choice(s): expected 2 to {len(LETTERS)}")
    if "" in lines:
        raise DataError(f"{where}: choice {LETTERS[lines.index('')]} is empty; fill it in or leave it out")
    return "\n".join([question.strip(), *(f"{letter}. {line}" for letter, line in zip(LETTERS, lines, strict=False))])


def split_lettered(text: str) -> tuple[str, tuple[str, ...]]:
    """Question and choices of a text that ``lettered`` made.

    Raises
    ------
    DataError
        If it is no such text.
    """
    lines = text.split("\n")
    last = LETTERS.index(lines[-1][0]) + 1 if lines[-1][1:3] == ". " and lines[-1][0] in LETTERS else 0
    if not 2 <= last < len(lines) + 1:
        raise DataError(f"{text[:40]!r}… has no lettered choices: give the row's choices with it")
    tail = lines[len(lines) - last :]
    if [line[:3] for line in tail] != [f"{letter}. " for letter in LETTERS[:last]]:
        raise DataError(f"{text[:40]!r}… has no choices from A to {LETTERS[last - 1]}: give the row's choices with it")
    return "\n".join(lines[: len(lines) - last]), tuple(line[3:] for line in tail)


def as_letters(example: Example, where: str = "row") -> Example:
    """The same row over letters: its text with the choices, its label the letter of the right one.

    Rows with the same question become one group, so that they stay on one side of every split.

    Raises
    ------
    DataError
        No choices, choices that ``lettered`` refuses, or a label that is none of them, or several.
    """
    if not example.choices:
        raise DataError(f"{where} has no choices; a task without labels needs them in every row")
    text = lettered(example.text, example.choices, where)
    lines = split_lettered(text)[1]
    label = " ".join(example.label.split())
    if lines.count(label) != 1:
        found = "none" if label not in lines else "several"
        raise DataError(f"{where}: the label {example.label!r} is {found} of its choices; correct label or choices")
    group = example.group if example.group is not None else f"question: {example.text.strip()}"
    return replace(example, text=text, label=LETTERS[lines.index(label)], choices=lines, group=group)


def read_choices(value: Any, where: str) -> tuple[str, ...]:
    """A row's choices as a file has them: a list, or a JSON list in a cell. Raises DataError where there are none."""
    choices = choices_cell(value, where)
    if not choices:
        raise DataError(f"{where} has no choices; this classifier chooses among each row's own (column: choices)")
    return choices


def present(texts: Sequence[str], n_letters: int) -> NDArray[np.bool_]:
    """(n_texts, n_letters): which letters stand before a choice of each row."""
    counts = np.array([len(split_lettered(text)[1]) for text in texts], dtype=np.int64)
    over = np.flatnonzero(counts > n_letters)
    if len(over):
        raise DataError(f"row {over[0] + 1} has {counts[over[0]]} choices, but the task at most {n_letters}")
    return np.arange(n_letters) < counts[:, None]


def rotations(text: str) -> list[str]:
    """The same question with its choices in every cyclic order; number r begins with choice r."""
    question, choices = split_lettered(text)
    return [lettered(question, choices[r:] + choices[:r]) for r in range(len(choices))]
