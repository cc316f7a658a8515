"""What is to be classified: labels, tasks, examples and splits, and how rows are read from a file.

Everything that is wrong with the data is found here, before a model is loaded, and named by file and row.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.errors import DataError


@dataclass(frozen=True)
class Label:
    """One class: its name, and a sentence on what belongs to it (may be empty)."""

    name: str
    description: str = ""


@dataclass(frozen=True)
class Task:
    """A closed set of labels and what the model is asked to do with them.

    Raises
    ------
    DataError
        If there are fewer than two labels, a name is empty or repeated, or no instructions are given.
    """

    name: str
    instructions: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.instructions.strip():
            raise DataError(f"task {self.name!r} has no instructions: say in a sentence what is to be classified")
        if any(not name.strip() for name in self.names):
            raise DataError(f"task {self.name!r} has a label with an empty name: name it or drop it")
        if len(self.labels) < 2:
            raise DataError(f"task {self.name!r} has {len(self.labels)} label(s): a classifier needs at least two")
        repeated = [name for name, n in Counter(self.names).items() if n > 1]
        if repeated:
            raise DataError(f"task {self.name!r} names the label {repeated[0]!r} more than once: keep one")

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in the order of every probability vector."""
        return tuple(label.name for label in self.labels)

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
        File missing, not UTF-8, empty, of another kind; column missing; empty text or label. Names file and row.
    """
    path = Path(path)
    columns = {"text": text, "label": label, "group": group, "choices": choices, "id": id}
    return examples_from_records(read_records(path), columns, source=str(path))


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a JSONL, CSV or Parquet file as dictionaries. Raises DataError, as ``read_examples`` does."""
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: expected a file ending in .jsonl, .csv or .parquet")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path (relative paths start at the current folder)")
    try:
        records = list(readers[path.suffix.lower()](path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}: {error.reason}); save the file as UTF-8") from error
    if not records:
        raise DataError(f"{path}: the file has no rows")
    return records


def examples_from_records(
    records: Iterable[Mapping[str, Any]], columns: Mapping[str, str | None], source: str
) -> list[Example]:
    """Turn dictionaries into examples; ``columns`` maps text, label, group, choices and id to column names."""
    wanted = {role: column for role, column in columns.items() if column}
    examples = []
    for number, record in enumerate(records, start=1):
        for role, column in wanted.items():
            if column not in record:
                raise DataError(
                    f"{source}, row {number}: no column {column!r} for {role}; the row has {sorted(map(str, record))}: "
                    f"name the right column in the recipe's [data] table"
                )
        value = {role: record[column] for role, column in wanted.items()}
        for role in ("text", "label"):
            if value[role] is None or not str(value[role]).strip():
                raise DataError(f"{source}, row {number}: the {role} is empty; fill it in or remove the row")
        examples.append(
            Example(
                id=str(value.get("id") or number),
                text=str(value["text"]).strip(),
                label=str(value["label"]).strip(),
                choices=tuple(map(str, value["choices"])) if value.get("choices") is not None else None,
                group=str(value["group"]) if value.get("group") is not None else None,
            )
        )
    return examples


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
        row, seen = first.setdefault(normalise(example.text), (number, example))
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

    >>> normalise("Won't  START!!")
    'won t start'
    """
    return " ".join(re.findall(r"\w+", text.lower()))


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


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error.msg}); expected one object a line") from error
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: expected a JSON object, found {type(record).__name__}")
            yield record


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    # utf-8-sig: spreadsheets write a byte-order mark that would otherwise become part of the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        for number, record in enumerate(csv.DictReader(lines), start=1):
            if None in record:
                raise DataError(f"{path}, row {number}: more cells than the header has; quote texts that hold commas")
            yield record


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        from labelwright.errors import MissingExtraError

        raise MissingExtraError('reading Parquet needs pyarrow: pip install "labelwright[parquet]"') from error
    yield from parquet.read_table(path).to_pylist()
