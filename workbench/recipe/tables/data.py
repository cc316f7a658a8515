"""``[data]`` and ``[splits]``: where rows come from, how files are read, and what share each split gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from labelwright.data.choices import LabelAs
from labelwright.data.columns import TEXT, TextColumns, image_shown, image_text
from labelwright.data.formats.dialect import Dialect, delimiter_fault, encoding_fault
from labelwright.data.spelling import Similar
from labelwright.errors import RecipeError
from labelwright.settings import Check, Items, Range
from workbench.recipe.tables.fields import Column, Name, Names, Needed, NeededColumn, Share

# Rows that can be left out, and counted, in place of being refused.
LeftOut = Literal["empty", "conflicting", "rare"]


@dataclass(frozen=True)
class DataTable:
    """``[data]``: a file or folder (``path``) or a Hugging Face dataset (``hub``, read through ``datasets``).

    Attributes
    ----------
    path : str
        A file of any kind that ``labelwright.data.records.scan_records`` reads, or a folder as
        ``labelwright.data.sources.parts_of`` does.
    config, revision : str
        The dataset's configuration, and the commit to pin.
    delimiter, encoding, header, quotes, sheet, title_rows, label_prefix
        How files are written, where they do not say it themselves: ``labelwright.data.formats.dialect.Dialect``.
    text : str or tuple of str
        The column of the text, or several, which become one text (``labelwright.data.columns``).
    image : str
        The column of images; empty for none. ``text`` then names the columns beside it; left at its default there is
        none, and ``["text"]`` is the column of that name.
    image_read_by : "ocr" or "model"
        Whether OCR reads images to text behind that of the other columns (``labelwright.pictures``), or ``[model]``,
        a vision-language model, looks at them itself.
    label, group, id : str
        Column names; an empty ``group`` or ``id`` means there is none.
    choices : str
        Column of each row's own choices, where they differ by row; empty where rows share labels.
    split : str
        Column that says which split a row was given for; empty where files, folders or the dataset say it.
    read_splits : tuple of str
        The splits to read; all of them by default. They are pooled, because the workbench makes its own splits.
    test_split : str
        Rows of this split are the test split, whole, as those of ``test_path`` are.
    test_path : str
        A file or folder whose rows are the test split, whole. Rows of ``path`` with the text or the group of one of
        them are left out, and ``[splits] test`` does not count.
    train_path : str
        A file whose rows are train rows, whole, and take no part in the dealing of the others: what was labelled later
        (`make next-rows`). Each kind of file says itself how it is read. Rows with the text or the group of a row of
        dev, calib or test are left out.
    unlabelled : str
        A file or folder of rows without labels, read as those of ``path`` are, for students to learn from
        (``[distil]``). It is no part of the splits, and a label in it is not read.
    out_of_scope : str
        A label that is none: rows of it have no right answer. They are no part of the splits; the comparison gives
        each candidate's bundle a scope (``labelwright.decisions.scope``) and asks how well it tells them from test
        rows. Those that are no test rows teach it (``workbench.recipe.beside.outside``). Empty where there is none.
    leave_out : tuple of "empty", "conflicting", "rare"
        Rows that are left out and counted, where they would be refused: without text or label; with a text that several
        labels are given to (a test split that is given keeps its own); of labels with too few rows to be learnt and
        measured.
    max_rows : int
        Take this many rows of ``path``, drawn with the recipe's seed, so many of every label that it can stand on every
        side; 0 takes all.
    similar_labels : "refuse", "merge" or "keep"
        What labels are that differ only in how they are written ("0" and "0.0", "Pool" and "pool ") among ``path``,
        ``test_path``, ``out_of_scope`` and ``[task] labels``: an error, one label, or different labels.
    separator : str
        Between the labels of a cell that has several, such as ";"; lists, in JSON too, need none.
    rename : mapping of str to str
        Labels as files have them, and as they are called here, such as paths of a tree. Labels that it does not name
        stay as they are; one that no row has is refused.
    choice_label : "auto", "text", "letter", "index0" or "index1"
        What ``label`` holds where rows bring their own choices: the right one's text, its letter, or its number, from
        0 or from 1. "auto" finds out, and refuses where several readings fit.
    """

    path: Name = ""
    hub: Name = ""
    config: Name = ""
    revision: Name = ""
    delimiter: Annotated[str, Check(delimiter_fault)] = Dialect.delimiter
    encoding: Annotated[str, Check(encoding_fault)] = Dialect.encoding
    header: bool = Dialect.header
    quotes: bool = Dialect.quotes
    sheet: Name = Dialect.sheet
    title_rows: Annotated[int, Range(0, expected="a number of rows")] = Dialect.title_rows
    label_prefix: Name = Dialect.label_prefix
    text: NeededColumn | Annotated[tuple[NeededColumn, ...], Items(least=1)] = TEXT
    image: Column = ""
    image_read_by: Literal["ocr", "model"] = "ocr"
    label: NeededColumn = "label"
    group: Column = ""
    id: Column = ""
    choices: Column = ""
    split: Column = ""
    read_splits: Names = ()
    test_split: Name = ""
    test_path: Name = ""
    train_path: Name = ""
    unlabelled: Name = ""
    out_of_scope: Name = ""
    leave_out: tuple[LeftOut, ...] = ()
    max_rows: Annotated[int, Range(0, expected="a number of rows, or 0 for all")] = 0
    similar_labels: Similar = "refuse"
    choice_label: LabelAs = "auto"
    separator: Name = ""
    rename: Mapping[Needed, Needed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one, other in [("label", "choices"), ("label", "group"), ("split", "label")]:
            if getattr(self, one) == getattr(self, other):
                raise RecipeError(f"{one} and {other} = {getattr(self, one)!r}: expected two columns")
        if self.image and self.image in (*self.text_columns.names, self.label, self.choices, self.split):
            raise RecipeError(f"image = {self.image!r} names a column of another kind as well: expected two columns")
        if self.image_read_by == "model" and not self.image:
            raise RecipeError(
                'image_read_by = "model" goes with image, which names the column: add it, or leave it out'
            )
        for other in ("label", "choices", "split"):
            if getattr(self, other) in self.text_columns.names:
                raise RecipeError(f"text and {other} = {getattr(self, other)!r}: expected two columns")
        if self.test_path and (self.hub or self.test_split):
            other = "test_split" if self.test_split else "hub"
            raise RecipeError(f"test_path and {other}: expected one of them; test_split names a split of path or hub")
        if self.train_path and self.train_path in (self.path, self.test_path):
            raise RecipeError(
                f"train_path = {self.train_path!r}: expected a file of its own, besides path and test_path"
            )
        if self.unlabelled and self.unlabelled in (self.path, self.test_path, self.train_path):
            raise RecipeError(f"unlabelled = {self.unlabelled!r}: expected a file of its own, of rows without labels")
        if self.split and self.hub:
            raise RecipeError("split goes with path; a dataset's splits are known by name")
        if self.test_split and self.read_splits and self.test_split not in self.read_splits:
            raise RecipeError(f"read_splits: {self.test_split!r}, which test_split names, is not among them; add it")
        if bool(self.path) == bool(self.hub):
            given = "both" if self.path else "neither"
            raise RecipeError(f"expected path (a file) or hub (a dataset id), found {given}: give one of them")

    @property
    def text_columns(self) -> TextColumns:
        """How a row becomes its text, once its image is read."""
        if not self.image:
            return TextColumns.of(self.text)
        beside = () if self.text == TEXT else TextColumns.of(self.text).names
        if self.shows_images:
            return TextColumns((image_shown(self.image), *beside))
        return TextColumns((*beside, image_text(self.image)))

    @property
    def shows_images(self) -> bool:
        """Whether the model looks at the images itself."""
        return bool(self.image) and self.image_read_by == "model"

    @property
    def source(self) -> str:
        """What rows come from, for messages."""
        return self.path or self.hub

    @property
    def test_source(self) -> str:
        """The same of the test split, where one is given; empty where rows are dealt."""
        return self.test_path or (f"{self.source} ({self.test_split})" if self.test_split else "")

    @property
    def dialect(self) -> Dialect:
        """How files are written."""
        return Dialect(**{one.name: getattr(self, one.name) for one in fields(Dialect)})


@dataclass(frozen=True)
class SplitTable:
    """``[splits]``: shares of the rows, each above 0; train gets what they leave."""

    dev: Share = 0.12
    calib: Share = 0.12
    test: Share = 0.2

    def __post_init__(self) -> None:
        if self.dev + self.calib + self.test >= 0.9:
            raise RecipeError(
                f"dev + calib + test = {self.dev + self.calib + self.test:g}: leave at least 0.1 of the rows for train"
            )
