"""What a path or a dataset id holds: one file, or many that belong together, by the splits that they are given for.

A folder may be what ``datasets`` saved (``save_to_disk``), a dataset's files as a hub has them (``train.csv`` and
``test.csv``, ``data/train-00000-of-00002.parquet``), or texts, a file each, in a folder for each label. All of these
are parts: some rows, and the name of their split. Nothing is read before a part's rows are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelwright.data.formats.dialect import PLAIN, Dialect
from labelwright.data.formats.packed import ENDINGS, kind_of
from labelwright.data.formats.text_lines import decoded_lines, holds_undecoded
from labelwright.data.records import Fault, Row, is_empty, scan_records
from labelwright.errors import DataError
from labelwright.files import read_json

# What files of a split are called, as `datasets` reads names; what stands behind is the split.
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(_SPLIT_NAMES, key=len, reverse=True))})(?![a-z])")
# Beside rows in datasets' folders, and no rows.
_NO_ROWS = re.compile(r"(readme|license|licence|notice|dataset_infos?|dataset_dict|state|metadata|requirements)\..*")
# Endings of files that are one text each: none at all, a number, and these.
_TEXT = re.compile(r"|\.(txt|text|md|eml|\d+)")
# The columns of a folder of texts.
TEXT, LABEL, ID = "text", "label", "id"


@dataclass(frozen=True)
class Part:
    """Rows that belong to one split.

    Attributes
    ----------
    name : str
        For messages: a file, or a dataset's id.
    split : str
        Empty where the source knows no splits.
    scan : callable
        Gives the rows, or what is wrong with them, in order.
    """

    name: str
    split: str
    scan: Callable[[], Iterable[Row | Fault]]


def parts_of(path: Path | str, dialect: Dialect = PLAIN) -> list[Part]:
    """What a file or a folder holds, files of one split in the order of their names.

    Raises
    ------
    DataError
        No such file or folder; a folder in which nothing has rows.
    """
    path = Path(path)
    if not path.is_dir():
        return [Part(str(path), "", lambda: scan_records(path, dialect))]
    if saved := _saved_splits(path):
        return [_file(file, split, dialect) for split, files in saved.items() for file in files]
    files = sorted(one for one in path.rglob("*") if one.is_file() and not _is_hidden(one.relative_to(path)))
    if texts := _texts_by_folder(path, files):
        return [
            Part(str(folder), split, lambda folder=folder, files=own: _scan_texts(folder, files, dialect))  # type: ignore[misc]
            for folder, split, own in texts
        ]
    rows = [one for one in files if not _NO_ROWS.fullmatch(one.name.lower()) and kind_of(one)]
    if not rows:
        raise DataError(
            f"{path}: a folder without rows; expected files with rows, or a folder of texts for each label ({ENDINGS})"
        )
    named = {one: split_of(one.relative_to(path)) for one in rows}
    if not any(named.values()):
        return [_file(one, "", dialect) for one in rows]
    # A file that names no split among others that do is one of its own: nobody said that it belongs to train.
    return [_file(one, split or one.name.partition(".")[0], dialect) for one, split in named.items()]


def split_of(path: Path) -> str:
    """The split that a file's name, or else its folder's, says: "train", "validation", "test", or nothing.

    >>> split_of(Path("data/train-00000-of-00002.parquet")), split_of(Path("dev/a.csv")), split_of(Path("latest.csv"))
    ('train', 'validation', '')
    """
    found = (split_word(part, within=True) for part in reversed(path.parts))
    return next((split for split in found if split), "")


def split_word(text: str, within: bool = False) -> str:
    """The split that a word says, or with ``within`` a word in a text.

    >>> split_word("Dev"), split_word("my dev set"), split_word("my dev set", within=True)
    ('validation', '', 'validation')
    """
    plain = text.strip().lower()
    if not within:
        return _SPLIT_NAMES.get(plain, "")
    words = _SPLIT_WORD.findall(plain)
    return _SPLIT_NAMES[words[-1]] if words else ""


def chosen(parts: Sequence[Part], splits: Sequence[str], source: str) -> list[Part]:
    """The parts of these splits; all of them where none is named. Raises DataError for a split that there is not."""
    known = list(dict.fromkeys(part.split for part in parts))
    for split in splits:
        if split not in known:
            named = ", ".join(one for one in known if one)
            raise DataError(f"{source} has no split {split!r}; it has {named or 'no splits'}")
    return [part for part in parts if not splits or part.split in splits]


def parted_by(part: Part, column: str) -> list[Part]:
    """A part's rows by what a column says is their split, in the order in which splits come first.

    Rows keep their numbers. A row whose cell is empty, or that has none, belongs to no split; rows that could not be
    read go with the first split, so that they are refused with the rest.
    """
    by_split: dict[str, list[Row | Fault]] = {}
    unread: list[Row | Fault] = []
    for row in part.scan():
        if isinstance(row, Fault):
            unread.append(row)
        elif column not in row.record:
            raise DataError(
                f"{part.name}, row {row.number}: no column {column!r} that says the split; the row has "
                f"{sorted(map(str, row.record))}"
            )
        else:
            split = "" if is_empty(row.record.get(column)) else str(row.record[column]).strip()
            by_split.setdefault(split, []).append(row)
    if unread and by_split:
        next(iter(by_split.values())).extend(unread)
    return [Part(part.name, split, lambda rows=rows: rows) for split, rows in by_split.items()]  # type: ignore[misc]


def _file(path: Path, split: str, dialect: Dialect) -> Part:
    return Part(str(path), split, lambda: scan_records(path, dialect))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _saved_splits(path: Path) -> dict[str, list[Path]]:
    """Files by split of a folder that ``datasets`` saved; nothing where it is another."""
    if (path / "state.json").is_file():
        return {"": _saved_files(path)}
    if not (path / "dataset_dict.json").is_file():
        return {}
    return {split: _saved_files(path / split) for split in _told(path / "dataset_dict.json", "splits")}


def _saved_files(folder: Path) -> list[Path]:
    names = [str(one["filename"]) for one in _told(folder / "state.json", "_data_files")]
    # A state that a stranger wrote names no file elsewhere.
    return [folder / Path(name).name for name in names]


def _told(path: Path, key: str) -> list[Any]:
    try:
        return list(read_json(path)[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not as `datasets` writes it; save the dataset again") from error


def _texts_by_folder(path: Path, files: Iterable[Path]) -> list[tuple[Path, str, list[Path]]]:
    """Folders of texts with their splits and files; nothing where the folder is something else.

    Texts lie in the folder of their label, ``pos/1.txt``; above it there may be one for the split, ``train/pos/1.txt``.
    """
    by_parent: dict[Path, list[Path]] = {}
    for file in files:
        if len(file.relative_to(path).parts) > 1:
            by_parent.setdefault(file.parent, []).append(file)
    labels = {
        folder: [one for one in own if _TEXT.fullmatch(one.suffix.lower())]
        for folder, own in by_parent.items()
        if sum(bool(_TEXT.fullmatch(one.suffix.lower())) for one in own) * 2 > len(own)
    }
    depths = {len(folder.relative_to(path).parts) for folder in labels}
    if len(labels) < 2 or len(depths) != 1:
        return []
    roots: dict[Path, list[Path]] = {}
    for folder, own in labels.items():
        roots.setdefault(folder.parent, []).extend(own)
    if depths == {1}:
        return [(path, "", roots[path])]
    splits = {root: split_of(root.relative_to(path)) or root.name for root in roots}
    return [(root, splits[root], own) for root, own in roots.items()] if depths == {2} else []


def _scan_texts(folder: Path, files: Sequence[Path], dialect: Dialect) -> Iterator[Row | Fault]:
    """A row for each file: its text, the name of its folder as the label, its place as the id."""
    for number, file in enumerate(files, start=1):
        place = file.relative_to(folder).as_posix()
        try:
            with file.open("rb") as content:
                text = "".join(decoded_lines(content, str(file), dialect.encoding))
        except OSError as error:
            yield Fault(number, f"{place} cannot be read ({error.strerror or error})", "file")
            continue
        if holds_undecoded(text):
            reason = f"{place} is not {dialect.encoding or 'UTF-8'}; save it as UTF-8, or say its encoding"
            yield Fault(number, reason, "file")
        else:
            yield Row(number, {TEXT: text, LABEL: file.parent.name, ID: place})
