"""Rows that bring their own answers: multiple choice as classification over letters.

A row's question and its choices become one text, the choices a line each behind letters. The classes of such a task are
the letters, so that everything that works on labels works on choices: what is learnt about a class is what is true of
its place. Only the two ends know more: rows come in with choices, and answers go out as the choice's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from labelwright.data.choice_cells import choices_cell
from labelwright.data.records import Fault, refusal
from labelwright.data.task import LETTERS, Example
from labelwright.errors import DataError

# What the label of a row with choices may be, and how that is called.
LabelAs = Literal["auto", "text", "letter", "index0", "index1"]
_WAYS: dict[LabelAs, str] = {
    "text": "texts of choices",
    "letter": "letters",
    "index0": "numbers from 0",
    "index1": "numbers from 1",
}


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


def over_letters(examples: Sequence[Example], source: str = "data", label_as: LabelAs = "auto") -> list[Example]:
    """The same rows over letters: texts with their choices, labels the letters of the right ones.

    Rows with the same question become one group, so that they stay on one side of every split.

    Parameters
    ----------
    label_as : {"auto", "text", "letter", "index0", "index1"}
        What the labels are: texts of choices, letters, or numbers from 0 or from 1. "auto" is ``read_label_as``.

    Raises
    ------
    DataError
        No choices, choices that ``lettered`` refuses, or a label that is none of them, or several: all rows at once.
        Labels that can be read in several ways.
    """
    lines, faults = [], []
    for number, example in enumerate(examples, start=1):
        try:
            lines.append(_choice_lines(example, "the row"))
        except DataError as error:
            faults.append(Fault(number, str(error)))
    if faults:
        raise refusal(source, faults)
    label_as = read_label_as(examples, source) if label_as == "auto" else label_as
    rows = []
    for number, (example, choices) in enumerate(zip(examples, lines, strict=True), start=1):
        found = _find(example.label, choices, label_as)
        if found is None:
            faults.append(Fault(number, _not_found(example.label, choices)))
        else:
            rows.append(_over_letters(example, choices, found))
    if faults:
        raise refusal(source, faults)
    return rows


def read_label_as(examples: Sequence[Example], source: str) -> LabelAs:
    """What the labels of rows with choices are, seen from all of them: what fits every row, or else most.

    Raises
    ------
    DataError
        If several readings fit every row and mean different choices.
    """
    rows = [(example.label, tuple(" ".join(one.split()) for one in example.choices or ())) for example in examples]
    read = {way: [_find(label, lines, way) for label, lines in rows] for way in _WAYS}
    fitting = [way for way in _WAYS if None not in read[way]]
    if not fitting:
        return max(_WAYS, key=lambda way: sum(found is not None for found in read[way]))
    if any(read[way] != read[fitting[0]] for way in fitting):
        raise DataError(
            f"{source}: the labels can be read as {' or as '.join(_WAYS[way] for way in fitting)}, and mean different "
            f"choices; write the text of the right choice, or say which in a recipe: "
            f"[data] choice_label = {' or '.join(map(repr, fitting))}"
        )
    return fitting[0]


def _find(label: str, lines: Sequence[str], way: LabelAs) -> int | None:
    """Place of the choice that a label means; None where it means none, or several."""
    if way == "text":
        text = " ".join(label.split())
        return lines.index(text) if lines.count(text) == 1 else None
    if way == "letter":
        letter = label.strip("(). ").upper()
        found = LETTERS.index(letter) if letter in LETTERS else -1
    else:
        # A column of numbers with gaps in it comes as 1.0.
        number = label.removesuffix(".0")
        found = int(number) - int(way[-1]) if number.isdecimal() and len(number) < 4 else -1
    return found if 0 <= found < len(lines) else None


def _choice_lines(example: Example, where: str) -> tuple[str, ...]:
    if not example.choices:
        raise DataError(f"{where} has no choices; a task without labels needs them in every row")
    return split_lettered(lettered(example.text, example.choices, where))[1]


def _not_found(label: str, lines: Sequence[str]) -> str:
    found = "several" if " ".join(label.split()) in lines else "none"
    return f"the label {label!r} is {found} of its choices; correct label or choices"


def _over_letters(example: Example, lines: tuple[str, ...], found: int) -> Example:
    group = example.group if example.group is not None else f"question: {example.text.strip()}"
    text = lettered(example.text, lines)
    return replace(example, text=text, label=LETTERS[found], choices=lines, group=group)


def read_choices(value: Any, where: str) -> tuple[str, ...]:
    """A row's choices as a file has them: a list, or a JSON list in a cell. Raises DataError where there are none."""
    choices = choices_cell(value, where)
    if not choices:
        raise DataError(f"{where} has no choices; this classifier chooses among each row's own (column: choices)")
    return choices


def rotations(text: str) -> list[str]:
    """The same question with its choices in every cyclic order; number r begins with choice r."""
    question, choices = split_lettered(text)
    return [lettered(question, choices[r:] + choices[:r]) for r in range(len(choices))]
