"""What is to be classified: labels, tasks, examples and splits, and how rows become examples.

Everything that is wrong with the data is found here and in ``labelwright.data.records``, before a model is loaded, and
named by file and row.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from labelwright.data.asked.questions import Point, Question, points_of
from labelwright.data.asked.tree import Tree, tree_faults
from labelwright.data.choice_cells import choices_and_marks, marked_texts
from labelwright.data.columns import TEXT, TextColumns, columns_fault, image_shown, image_text
from labelwright.data.costs import Costs
from labelwright.data.label import Label as Label  # tasks are made of them
from labelwright.data.records import Fault, Row, as_written, listed, optional_text, read_rows, refusal, text_of
from labelwright.data.spelling import Similar, Source, reconcile, text_key
from labelwright.errors import DataError
from labelwright.pictures.imaged import image_of, words_of

# Roles to names of columns: of one each, of several where it is the text.
Columns = Mapping[str, str | Sequence[str] | TextColumns | None]
# What stands before a row's own choices.
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_SHOWN_CONFLICTS = 6
# Punctuation that carries no meaning of its own. Brackets are none of it: ":)" and ":(" say different things.
_PROSE = re.compile("(?<!\\d)[.,:-]|[.,:-](?!\\d)|[;!?'\"\u2013\u2014¿¡。、]")  # en and em dash


@dataclass(frozen=True)
class Task:
    """A closed set of labels and what the model is asked to do with them.

    Parameters
    ----------
    labels : tuple of Label
        Empty where every row brings its own choices; the classes are then the letters before them
        (``labelwright.data.choices``).
    max_choices : int
        The most choices a row may have, 2 to 26; 0 for a task with labels.
    costs : Costs, optional
        What mistakes cost; None where all cost the same, and the likeliest label is the answer.
    text_columns : tuple of str
        Columns that the text of a file's row is in (``labelwright.data.columns``); empty for ``text`` alone.
    questions : tuple of Question
        Where more is asked than one label of a list (``labelwright.data.asked``): ``asking`` makes such a task, whose
        labels are then the classes of its points, or the answers of its only point.
    image_column : str
        The column of images whose text, read by OCR, is one of the text's columns, or which the model looks at: then
        the first of the columns stands for the image (``labelwright.pictures.imaged``). Empty for none.
    answers_in : tuple of tuple of str
        Columns that the answers of a file's row are in, a tuple a question (``labelwright.data.asked.cells``); empty:
        in those that are called as the questions are.
    separator : str
        What stands between labels of one cell there; empty where cells hold lists.
    tree_separator : str
        Where labels are paths of a tree ("billing > refund"), what stands between the parts; else empty.

    Raises
    ------
    DataError
        If there are fewer than two labels, a name is empty, repeated or holds a line break, there are no instructions,
        the prices are none for these labels, a column is named twice or has no name, labels or columns are not those of
        the questions, or labels are no tree.
    """

    name: str
    instructions: str
    labels: tuple[Label, ...] = ()
    max_choices: int = 0
    costs: Costs | None = None
    text_columns: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    image_column: str = ""
    answers_in: tuple[tuple[str, ...], ...] = ()
    separator: str = ""
    tree_separator: str = ""

    @classmethod
    def asking(
        cls,
        name: str,
        instructions: str,
        questions: Sequence[Question],
        text_columns: tuple[str, ...] = (),
        image_column: str = "",
        **more: Any,
    ) -> Task:
        """The task of these questions. Raises DataError as the class does, or for questions that are not told apart."""
        labels = _labels_of(questions)
        return cls(name, instructions, labels, 0, None, text_columns, tuple(questions), image_column, **more)

    def __post_init__(self) -> None:
        if self.questions and (self.by_row or self.labels != _labels_of(self.questions)):
            raise DataError(f"task {self.name!r} has questions and other labels than theirs: leave these out")
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
        if self.costs is not None and self.by_row:
            raise DataError(f"task {self.name!r} has costs, and its rows bring their own choices: leave the costs out")
        if self.costs is not None and (faults := self.costs.faults(self.names)):
            raise DataError(f"task {self.name!r}: costs: {'; '.join(faults)}")
        if self.tree_separator and (self.by_row or self.questions):
            raise DataError(f"task {self.name!r} has a tree, and not one list of labels alone: leave the tree out")
        if self.tree_separator and (broken := tree_faults(self.names, self.tree_separator)):
            raise DataError(f"task {self.name!r}: {'; '.join(broken)}")
        if self.answers_in and (len(self.answers_in) != len(self.questions) or not all(map(all, self.answers_in))):
            raise DataError(
                f"task {self.name!r} has the answers' columns {list(self.answers_in)}: name each question's"
            )
        if "" in self.text_columns or (self.text_columns and columns_fault(self.text_columns)):
            raise DataError(f"task {self.name!r} has the text columns {list(self.text_columns)}: name each once")
        if self.image_column and not self.shows_images and image_text(self.image_column) not in self.text_columns:
            own = image_text(self.image_column)
            raise DataError(f"task {self.name!r} has images in {self.image_column!r}: expected {own!r} among its texts")

    @property
    def text(self) -> TextColumns:
        """How a row of a file becomes its text. One that has none of the columns may have it whole, as ``text``."""
        return TextColumns(self.text_columns or (TEXT,), or_whole=True)

    @property
    def shows_images(self) -> bool:
        """Whether rows have an image that the model looks at."""
        return bool(self.image_column) and self.text_columns[:1] == (image_shown(self.image_column),)

    @property
    def by_row(self) -> bool:
        """Whether rows bring their own choices."""
        return self.max_choices > 0

    @property
    def restricts_rows(self) -> bool:
        """Whether a row can have but some of the labels: letters of its choices, answers to its point."""
        return self.by_row or bool(self.points)

    @cached_property
    def tree(self) -> Tree | None:
        """The tree that labels are the leaves of; None where they are a list."""
        return Tree.of(self.names, self.tree_separator) if self.tree_separator else None

    @property
    def structure(self) -> Literal["", "levels", "tree"]:
        """What all labels are: levels in order, but for what is answered yes or no; leaves of a tree; or a list."""
        kinds = {asked.kind for asked in self.questions}
        levels: Literal["", "levels"] = "levels" if "score" in kinds and "choice" not in kinds else ""
        return "tree" if self.tree_separator else levels

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """What is decided of every row, each behind a text of its own; empty where that is one label, or a choice."""
        points = points_of(self.questions)
        return points if len(points) > 1 else ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of every probability vector: the labels', or letters."""
        return LETTERS[: self.max_choices] if self.by_row else tuple(label.name for label in self.labels)

    def index(self, name: str) -> int:
        """Position of a label name."""
        return self.names.index(name)


def _labels_of(questions: Sequence[Question]) -> tuple[Label, ...]:
    """The classes of several points, or the answers of one."""
    points = points_of(questions)
    if len(points) == 1:
        return points[0].answers
    return tuple(Label(name) for point in points for name in point.classes)


@dataclass(frozen=True)
class Example:
    """One labelled row.

    Attributes
    ----------
    choices : tuple of str, optional
        The row's own answers, where they differ by row (multiple choice).
    group : str, optional
        Rows of one group (paraphrases, one customer, one document) stay on one side of every split.
    side : str, optional
        The split that the row was given for, as a file of its own; no column of a file can say it.
    row_text : str, optional
        Of one answer among several to a row, the text of the row: ``text`` has the point behind it.
    """

    id: str
    text: str
    label: str
    choices: tuple[str, ...] | None = None
    group: str | None = None
    side: str | None = None
    row_text: str | None = None


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
    text: str | Sequence[str] | TextColumns = TEXT,
    label: str = "label",
    group: str | None = None,
    choices: str | None = None,
    id: str | None = None,
) -> list[Example]:
    """Read labelled rows from a file.

    Parameters
    ----------
    path : Path
        Of a kind that ``labelwright.data.records.scan_records`` reads.
    text, label, group, choices, id : str
        Column names; ``text`` may be several. Without ``id``, rows are numbered from 1 as they stand in the file.

    Raises
    ------
    DataError
        File missing, unreadable, not UTF-8, empty, of another kind; column missing; empty text or label; text that is
        not text. Names the file and every row that is at fault.
    """
    path = Path(path)
    columns: Columns = {"text": text, "label": label, "group": group, "choices": choices, "id": id}
    rows, faults = read_rows(path)
    return examples_from_rows([*rows, *faults], columns, source=str(path))


def examples_from_records(records: Iterable[Mapping[str, Any]], columns: Columns, source: str) -> list[Example]:
    """Turn dictionaries into examples; ``columns`` maps text, label, group, choices and id to column names."""
    rows = (Row(number, dict(record)) for number, record in enumerate(records, start=1))
    return examples_from_rows(rows, columns, source)


def examples_from_rows(rows: Iterable[Row | Fault], columns: Columns, source: str) -> list[Example]:
    """``examples_from_records`` of rows as they were read; what could not be read is refused with the rest."""
    text = TextColumns.of(columns["text"] or TEXT)
    wanted = {role: str(column) for role, column in columns.items() if column and role != "text"}
    examples: list[Example] = []
    marks: list[tuple[str, ...]] = []
    faults = []
    for row in rows:
        if isinstance(row, Fault):
            faults.append(row)
            continue
        try:
            example, names = _example(row, text, wanted)
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
            lacks = text.missing_in(row.record) or not set(wanted.values()) <= set(row.record)
            if not examples and len(faults) == 1 and lacks:
                break  # a column that the first row lacks is a wrong name: once is enough
        else:
            examples.append(example)
            marks.append(names)
    if faults:
        raise refusal(source, faults)
    labels = marked_texts([row.label for row in examples], [row.choices or () for row in examples], marks, source)
    return [replace(row, label=label) for row, label in zip(examples, labels, strict=True)] if any(marks) else examples


def _example(row: Row, columns: TextColumns, wanted: Mapping[str, str]) -> tuple[Example, tuple[str, ...]]:
    """The row, and what it calls its choices. Raises DataError with the first thing that is wrong with it."""
    text = columns.need(row.record)
    # What is no column of its own is read by who asks several questions (``labelwright.data.asked``).
    label = text_of(row.record, wanted["label"], "label") if "label" in wanted else ""
    group, id = (name_of(row.record, wanted[role], role) if role in wanted else "" for role in ("group", "id"))
    choices: tuple[str, ...] | None = None
    marks: tuple[str, ...] = ()
    if "choices" in wanted:
        if wanted["choices"] not in row.record:
            optional_text(row.record, wanted["choices"], "choices")  # raises, with the message for a missing column
        choices, marks = choices_and_marks(row.record[wanted["choices"]]) or (None, ())
    return Example(id or str(row.number), text, label, choices, group or None), marks


def name_of(record: Mapping[str, Any], column: str, role: str) -> str:
    """An id or a group: 5 and 5.0 are one, as a column of numbers with gaps in it comes as floats."""
    if column in record:
        record = {column: as_written(record[column])}
    return optional_text(record, column, role)


def check_examples(
    examples: Sequence[Example], names: Sequence[str] | None = None, source: str = "data", least_rows: int = 2
) -> None:
    """Refuse rows from which no honest classifier can be made.

    Parameters
    ----------
    names : sequence of str, optional
        The labels of the task; without them every label that occurs is taken.
    least_rows : int
        Rows that a label needs: 2 where it must be learnt and measured, 1 where it is measured on other rows. With 0
        the rows are themselves what is measured on: of them, only labels and ids are checked.

    Raises
    ------
    DataError
        Labels outside ``names``; a single class; labels with too few rows; texts with two labels; repeated ids: all
        that is found, in one message.
    """
    if not examples:
        raise DataError(f"{source}: no rows; a classifier needs at least two of each of two labels")
    counts = Counter(example.label for example in examples)
    if least_rows and len(counts) < 2:
        raise DataError(f"{source}: all {len(examples)} rows have the label {next(iter(counts))!r}; two are needed")
    known = counts if names is None else names
    remedy = "add it to the recipe's labels or correct the row"
    faults = _unknown(examples, known, f"the task's {len(known)} labels; {remedy}")
    said = [str(refusal(source, faults)).removeprefix(f"{source}, ")] if faults else []
    if least_rows:
        said += [f"{one}; keep one of them" for one in conflicts(examples)]
    single = [name for name, n in counts.items() if n < least_rows]
    if single:
        which = f"label {single[0]!r} has" if len(single) == 1 else f"labels {listed(map(repr, single))} have"
        said.append(f"{which} one row; add rows or remove the label, it cannot be split")
    repeated = [id for id, n in Counter(example.id for example in examples).items() if n > 1]
    if repeated:
        which = f"id {repeated[0]!r} occurs" if len(repeated) == 1 else f"ids {listed(map(repr, repeated))} occur"
        said.append(f"{which} more than once; ids must be unique")
    if said:
        raise DataError(f"{source}{', ' if said[0].startswith('row') else ': '}{'; '.join(said)}")


def with_labels_of(
    names: Sequence[str], examples: Sequence[Example], source: str, similar: Similar = "refuse"
) -> list[Example]:
    """The rows, to be measured by a classifier of these labels.

    Raises
    ------
    DataError
        Labels that are written otherwise than the classifier's, where ``similar`` refuses them; others that it does not
        have. All of them, with how many rows they have.
    """
    counts = Counter(example.label for example in examples)
    owner = Source("the bundle's labels", dict.fromkeys(names, 0), listed=True)
    written = reconcile([owner, Source(source, counts)], similar, "say --similar-labels merge to take them for one")
    relabelled = [replace(example, label=written[example.label]) for example in examples]
    whose = f"the bundle's {len(names)} labels"
    if faults := _unknown(relabelled, names, f"{whose}, {listed(map(repr, names), 20)}; correct or remove the row"):
        raise refusal(source, faults)
    return relabelled


def _unknown(examples: Sequence[Example], names: Iterable[str], whose: str) -> list[Fault]:
    known = set(names)
    return [
        Fault(number, f"label {example.label!r} is not one of {whose}")
        for number, example in enumerate(examples, start=1)
        if example.label not in known
    ]


def conflicting_rows(examples: Sequence[Example]) -> list[list[int]]:
    """Places of the rows of every text that has several labels, text by text."""
    same: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        same[text_key(example.text)].append(i)
    return [rows for rows in same.values() if len({examples[i].label for i in rows}) > 1]


def conflicts(examples: Sequence[Example]) -> list[str]:
    """What texts have two labels: a sentence each, and behind six of them one on the others."""
    found = [
        (listed(i + 1 for i in rows), listed(repr(label) for label in dict.fromkeys(examples[i].label for i in rows)))
        for rows in conflicting_rows(examples)
    ]
    said = [f"rows {rows}: the same text is labelled {labels}" for rows, labels in found[:_SHOWN_CONFLICTS]]
    rest = found[_SHOWN_CONFLICTS:]
    if rest:
        said.append(f"so are {len(rest)} more texts, rows {listed(rows for rows, _ in rest)}")
    return said


def normalise(text: str) -> str:
    """A text with case, prose punctuation and spacing taken out, for finding texts that are nearly one.

    Other signs stay (emoji, the ++ of C++), and so do points between digits. Where nothing would be left ("?!"), only
    case and spacing are taken out.

    Examples
    --------
    >>> normalise("Won't  START!!"), normalise("C++, 1.5") == normalise("C#, 1.5")
    ('won t start', False)
    """
    key = text_key(text)
    return " ".join(_PROSE.sub(" ", key).split()) or key


def family_keys(example: Example) -> list[tuple[str, ...]]:
    """What connects a row to others that must stand on its side of the splits: rows that share a key.

    The same text (``text_key``); nearly the same text (``normalise``) with the same label, since with another one its
    signs are what decides; the same image; the same group.
    """
    keys: list[tuple[str, ...]] = [("text", text_key(example.text)), ("near", normalise(example.text), example.label)]
    keys += [("image", image)] if (image := image_of(example.text)) else []
    # All answers to a text belong together, whoever gave them.
    keys += [("row", text_key(example.row_text))] if example.row_text is not None else []
    return keys if example.group is None else [*keys, ("group", example.group)]


def group_keys(rows: Sequence[Example]) -> list[str]:
    """The group of each row, where it has one, and else a key that is the row's own, which no group can equal.

    Examples
    --------
    >>> group_keys([Example("5", "a", "x", group="6"), Example("6", "b", "x")])
    ['group 6', 'alone 6']
    """
    return [f"alone {row.id}" if row.group is None else f"group {row.group}" for row in rows]


def texts_and_labels(examples: Sequence[Example]) -> tuple[list[str], list[str]]:
    """X and y as scikit-learn wants them."""
    return [example.text for example in examples], [example.label for example in examples]


def words_and_labels(examples: Sequence[Example]) -> tuple[list[str], list[str]]:
    """``texts_and_labels`` for who looks at no images: of a row that has one, its words."""
    return [words_of(example.text) for example in examples], [example.label for example in examples]


def by_label(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples grouped by label, in the order in which labels first occur."""
    rows: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        rows[example.label].append(example)
    return dict(rows)
