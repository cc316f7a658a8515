"""What is to be classified: labels, tasks, examples and splits, and how rows become examples.

Everything that is wrong with the data is found here and in ``labelwright.records``, before a model is loaded, and named
by file and row.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.errors import DataError
from labelwright.records import Fault, Row, checked_text, optional_text, read_rows, refusal, text_of

# What stands before a row's own choices.
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@dataclass(frozen=True)
class Label:
    """One class: its name, and a sentence on what belongs to it (may be empty)."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Task:
    """A closed set of labels and what the model is asked to do with them.

    Parameters
    ----------
    labels : tuple of Label
        Empty where every row brings its own choices; the classes are then the letters before them
        (``labelwright.choices``).
    max_choices : int
        The most choices a row may have, 2 to 26; 0 for a task with labels.

    Raises
    ------
    DataError
        If there are fewer than two labels, a name is empty, repeated or holds a line break, or there are no
        instructions.
    """

    name: str
    instructions: str
    labels: tuple[Label, ...] = ()
    max_choices: int = 0

    def __post_init__(self) -> None:
        if self.by_row and self.labels:
            raise DataError(
                f"task {self.name!r} has labels and max_choices: rows bring their own choices, or share labels"
            )
        if self.by_row and not 2 <= self.max_choices <= len(LETTERS):
            raise DataError(f"task {self.name!r} has max_choices = {self.max_choices}: expected 2 to {len(LETTERS)}")
        if not self.instructions.strip():
            raise DataError(f"task {self.name!r} has no instructions: say in a sentence what is to be classified")
        if any(not name.strip() for name in self.names):
            raise DataError(f"task {self.name!r} has a label with an empty name: name it or drop it")
        broken = [name for name in self.names if len(name.splitlines()) > 1]
        if broken:
            raise DataError(f"task {self.name!r} has a label with a line break, {broken[0]!r}: put it on one line")
        if len(self.names) < 2:
            raise DataError(
                f"task {self.name!r} has {len(self.labels)} label(s): a classifier needs at least two, or max_choices "
                f"where every row brings its own"
            )
        repeated = [name for name, n in Counter(self.names).items() if n > 1]
        if repeated:
            raise DataError(f"task {self.name!r} names the label {repeated[0]!r} more than once: keep one")

    @property
    def by_row(self) -> bool:
        """Whether rows bring their own choices."""
        return self.max_choices > 0

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of every probability vector: the labels', or letters."""
        return LETTERS[: self.max_choices] if self.by_row else tuple(label.name for label in self.labels)

    def index(self, name: str) -> int:
        """Position of a label name."""
        return self.names.index(name)


@dataclass(frozen=True)
class Example:
    """One labelled row.

    Attributes
    ----------
    choices : tuple of str, optional
        The row's own answers, where they differ by row (multiple choice).
    group : str, optional
        Rows of one group (paraphrases, one customer, one document) stay on one side of every split.
    """

    id: str
    text: str
    label: str
    choices: tuple[str, ...] | None = None
    group: str | None = None


@dataclass(frozen=True)
class Splits:
    """The four parts of a dataset.

    ``train`` teaches, ``dev`` chooses, ``calib`` fits probabilities, ``test`` is read once, by the comparison: stages
    get ``for_tuning()``, which does not hold it.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    calib: tuple[Example, ...]
    test: tuple[Example, ...]

    def for_tuning(self) -> Splits:
        """The same splits with an empty test part."""
        return Splits(self.train, self.dev, self.calib, ())


def read_examples(
    path: Path | str,
    *,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    choices: str | None = None,
    id: str | None = None,
) -> list[Example]:
    """Read labelled rows from a JSONL, CSV or Parquet file.

    Parameters
    ----------
    path : Path
        Ends in ``.jsonl``, ``.csv`` or ``.parquet``; text is UTF-8.
    text, label, group, choices, id : str
        Column names. Without ``id``, rows are numbered from 1 as they stand in the file.

    Raises
    ------
    DataError
        File missing, unreadable, not UTF-8, empty, of another kind; column missing; empty text or label; text that is
        not text. Names the file and every row that is at fault.
    """
    path = Path(path)
    columns = {"text": text, "label": label, "group": group, "choices": choices, "id": id}
    rows, faults = read_rows(path)
    return _examples([*rows, *faults], columns, source=str(path))


def examples_from_records(
    records: Iterable[Mapping[str, Any]], columns: Mapping[str, str | None], source: str
) -> list[Example]:
    """Turn dictionaries into examples; ``columns`` maps text, label, group, choices and id to column names."""
    return _examples((Row(number, dict(record)) for number, record in enumerate(records, start=1)), columns, source)


def _examples(rows: Iterable[Row | Fault], columns: Mapping[str, str | None], source: str) -> list[Example]:
    wanted = {role: column for role, column in columns.items() if column}
    examples, faults = [], []
    for row in rows:
        if isinstance(row, Fault):
            faults.append(row)
            continue
        try:
            examples.append(_example(row, wanted))
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            if row.number == 1 and not set(wanted.values()) <= set(row.record):
                break  # a column that the first row lacks is a wrong name: once is enough
    if faults:
        raise refusal(source, faults)
    return examples


def _example(row: Row, wanted: Mapping[str, str]) -> Example:
    """The row as an example. Raises DataError with the first thing that is wrong with it."""
    text, label = (text_of(row.record, wanted[role], role) for role in ("text", "label"))
    group, id = (_name(row.record, wanted[role], role) if role in wanted else "" for role in ("group", "id"))
    choices = None
    if "choices" in wanted:
        if wanted["choices"] not in row.record:
            optional_text(row.record, wanted["choices"], "choices")  # raises, with the message for a missing column
        choices = choices_cell(row.record[wanted["choices"]], "")
    return Example(id or str(row.number), text, label, choices, group or None)


def _name(record: Mapping[str, Any], column: str, role: str) -> str:
    """An id or a group: 5 and 5.0 are one, as a column of numbers with gaps in it comes as floats."""
    value = record.get(column)
    if isinstance(value, float) and value.is_integer():
        record = {column: int(value)}
    return optional_text(record, column, role)


def check_examples(examples: Sequence[Example], names: Sequence[str] | None = None, source: str = "data") -> None:
    """Refuse rows from which no honest classifier can be made.

    Parameters
    ----------
    names : sequence of str, optional
        The labels of the task; without them every label that occurs is taken.

    Raises
    ------
    DataError
        A label outside ``names``; a single class; a label with one row; one text with two labels; a repeated id.
    """
    if not examples:
        raise DataError(f"{source}: no rows; a classifier needs at least two of each of two labels")
    counts = Counter(example.label for example in examples)
    for number, example in enumerate(examples, start=1):
        if names is not None and example.label not in names:
            raise DataError(
                f"{source}, row {number}: label {example.label!r} is not one of the task's {len(names)} labels; "
                f"add it to the recipe's labels or correct the row"
            )
    if len(counts) < 2:
        raise DataError(f"{source}: all {len(examples)} rows have the label {next(iter(counts))!r}; two are needed")
    single = [name for name, n in counts.items() if n == 1]
    if single:
        raise DataError(f"{source}: label {single[0]!r} has one row; add rows or remove the label, it cannot be split")
    first: dict[str, tuple[int, Example]] = {}
    for number, example in enumerate(examples, start=1):
        # Not ``normalise``: "great :)" and "great :(" are two texts, and may well have two labels.
        row, seen = first.setdefault(" ".join(example.text.casefold().split()), (number, example))
        if seen.label != example.label:
            raise DataError(
                f"{source}, rows {row} and {number}: the same text is labelled {seen.label!r} and "
                f"{example.label!r}; keep one of them"
            )
    repeated = [id for id, n in Counter(example.id for example in examples).items() if n > 1]
    if repeated:
        raise DataError(f"{source}: id {repeated[0]!r} occurs more than once; ids must be unique")


def normalise(text: str) -> str:
    """A text with case, punctuation and spacing taken out, for finding duplicates.

    Where nothing would be left (emoji, "???"), only case and spacing are.

    >>> normalise("Won't  START!!")
    'won t start'
    """
    return " ".join(re.findall(r"\w+", text.lower()) or text.lower().split())


def find_leaks(splits: Splits) -> list[tuple[str, str]]:
    """Pairs of ids on two sides of the splits that share a normalised text or a group."""
    owner: dict[str, tuple[str, str]] = {}
    leaks = []
    for side in ("train", "dev", "calib", "test"):
        for example in getattr(splits, side):
            keys = ["text:" + normalise(example.text)]
            if example.group is not None:
                keys.append("group:" + example.group)
            for key in keys:
                other_side, other_id = owner.setdefault(key, (side, example.id))
                if other_side != side:
                    leaks.append((other_id, example.id))
    return leaks


def texts_and_labels(examples: Sequence[Example]) -> tuple[list[str], list[str]]:
    """X and y as scikit-learn wants them."""
    return [example.text for example in examples], [example.label for example in examples]


def by_label(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples grouped by label, in the order in which labels first occur."""
    rows: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        rows[example.label].append(example)
    return dict(rows)


def choices_cell(value: Any, where: str) -> tuple[str, ...] | None:
    """A row's own answers: a list, or in a CSV cell a JSON list."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        where = f"{where}: " if where else ""
        raise DataError(f'{where}the choices are not a list; expected one such as ["yes", "no"]')
    return tuple(checked_text(str(one), "choices") for one in value)
