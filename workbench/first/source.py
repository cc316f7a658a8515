"""From what a person names to rows with columns and splits: a file, a folder or a dataset's id, its test split found.

Everything that is found here ends as a ``DataTable``, the same that a recipe's ``[data]`` is read into, and rows are
read through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from labelwright.data.formats.dialect import PLAIN, Dialect
from labelwright.data.formats.packed import kind_of
from labelwright.data.records import Fault, Row, is_empty, listed, refusal
from labelwright.data.sources import parted_by, parts_of, split_of, split_word
from labelwright.errors import DataError
from workbench.first.cells import Column, describe, one_hot, same_thing
from workbench.first.columns import Roles, find_roles
from workbench.first.dialect import Ask, find_dialect, find_encoding
from workbench.first.named import Named
from workbench.recipe.files import source_parts
from workbench.recipe.tables.data import DataTable

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Of a split's rows; where fewer have text and label it was given without answers.
_LEAST_LABELLED = 0.5


@dataclass(frozen=True)
class Found:
    """Where rows come from and what their columns are, with a sentence on each thing that was not plain."""

    table: DataTable
    roles: Roles
    remarks: list[str] = field(default_factory=list)


def find_source(named: Named, ask: Ask | None = None) -> Found:
    """What is there, as the table that reads it.

    Raises
    ------
    DataError
        Nothing there; rows that cannot be read, all of them named; no column for text or label.
    """
    remarks: list[str] = []
    table = _begin(named, remarks, ask)
    rows = _rows_by_split(table)
    known = [split for split in rows if split_word(split, within=True) in ("train", "validation")]
    records = [row.record for split in known or rows for row in rows[split]]
    columns = describe(records)
    try:
        roles = _roles(named, columns, records, remarks, ask)
    except DataError as error:
        raise DataError(f"{named.data}: {error}") from error
    table = replace(
        table,
        text=roles.text,
        label=roles.label,
        group=roles.group,
        id=roles.id,
        choices=roles.choices,
        split=roles.split,
    )
    if roles.split:
        parts = [one for part in source_parts(replace(table, split=""), True) for one in parted_by(part, roles.split)]
        rows = {part.split: [row for row in part.scan() if isinstance(row, Row)] for part in parts}
    table = _with_splits(table, rows, bool(named.test), remarks)
    if named.test:
        table = replace(table, test_path=named.test, test_split="")
    elif table.path and not table.test_split:
        table = _with_sibling(table, remarks)
    return Found(_shared(table, rows, remarks), roles, remarks)


def _begin(named: Named, remarks: list[str], ask: Ask | None) -> DataTable:
    """The source, and how its files are written."""
    path = Path(named.data)
    if not path.exists():
        # To ask the hub takes seconds, and says nothing of a file whose name was mistyped.
        if kind_of_name(named.data) or not _HUB_ID.fullmatch(named.data) or path.parent.is_dir():
            raise DataError(
                f"{named.data}: no such file or folder; {_similar(path)}check the path, or give a dataset's id "
                "(owner/name)"
            )
        return DataTable(hub=named.data, config=named.config)
    if not path.is_dir():
        return _table(named.data, find_dialect(path, remarks, ask))
    dialect = PLAIN
    for part in parts_of(path):
        place = Path(part.name)
        if place.is_file() and dialect == PLAIN:
            dialect = find_dialect(place, remarks, ask)
        elif place.is_dir() and not dialect.encoding:
            texts = (one for one in sorted(place.rglob("*")) if one.is_file() and not one.name.startswith("."))
            dialect = replace(dialect, encoding=next(filter(None, (find_encoding(one, remarks) for one in texts)), ""))
    return _table(named.data, dialect)


def _similar(path: Path) -> str:
    """What lies in the folder under a name like this; nothing where nothing does."""
    names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    stems = {name.partition(".")[0].lower(): name for name in names}
    close = [stems[stem] for stem in get_close_matches(path.name.partition(".")[0].lower(), stems)]
    return f"{path.parent} has {listed(map(repr, close))}; " if close else ""


def kind_of_name(name: str) -> str:
    """The kind of file that a name would be of, whether or not it is there."""
    return "zip" if name.lower().endswith(".zip") else kind_of(Path(name))


def _table(path: str, dialect: Dialect) -> DataTable:
    return DataTable(path=path, **asdict(dialect))


def _rows_by_split(table: DataTable) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for part in source_parts(table, True):
        read = list(part.scan())
        if faults := [one for one in read if isinstance(one, Fault)]:
            raise refusal(part.name, faults)
        rows.setdefault(part.split, []).extend(one for one in read if isinstance(one, Row))
    return rows


def _roles(
    named: Named,
    columns: Mapping[str, Column],
    records: Sequence[Mapping[str, Any]],
    remarks: list[str],
    ask: Ask | None,
) -> Roles:
    """The columns' roles; of several that fit, the one that a person says, or the best, the others named."""
    given = named.columns
    roles = find_roles(columns, given)
    if not given.get("text") and not isinstance(roles.text, str):
        remarks.append(
            f"text is {listed(map(repr, roles.text))}, one below the other; TEXT={roles.text[-1]} and FORCE=1 take "
            "one alone"
        )
    if not (named.label or columns[roles.label].kind == "text") and (fault := one_hot(records, columns)):
        raise DataError(fault)
    for role in ("text", "label"):
        best = getattr(roles, role)
        others = [one for one in roles.others.get(role, ()) if one != roles.choices]
        if role == "label" and role not in given and not roles.choices:
            best, others = _with_names(best, others, columns, records)
        names = [best] if isinstance(best, str) else list(best)
        if others and ask is not None:
            offered = _offered(names, others, columns, several=role == "text")
            best = offered[ask(f"which column is the {role}?", list(offered))]
        elif others:
            said = f"{role} is {listed(map(repr, names))}; it might be {listed(map(repr, others))}"
            more = ", or several with commas between," if role == "text" else ""
            remarks.append(f"{said}: then give {role.upper()}={more} and FORCE=1")
        if best != getattr(roles, role) or others:
            # What is left for the other roles depends on it.
            given = {**given, role: best}
            roles = find_roles(columns, given)
    return roles


def _offered(
    names: Sequence[str], others: Sequence[str], columns: Mapping[str, Column], several: bool
) -> dict[str, str | tuple[str, ...]]:
    """What a person may answer, and the columns that it stands for: what is likely first, then each, then two at once.

    Parameters
    ----------
    names : sequence of str
        The likely one, or several that are one text.
    """
    best = {", ".join(names): names[0] if len(names) == 1 else tuple(names)}
    alone = {name: name for name in (*names, *others)}
    both = tuple(name for name in columns if name in alone)
    return {**best, **alone, **({", ".join(both): both} if several and len(alone) == 2 else {})}


def _with_names(
    label: str, others: Sequence[str], columns: Mapping[str, Column], records: Sequence[Mapping[str, Any]]
) -> tuple[str, list[str]]:
    """Of a class's number and its name, the name."""
    twins = [
        name
        for name, one in columns.items()
        if name != label and one.n_distinct == columns[label].n_distinct and same_thing(records, label, name)
    ]
    if columns[label].kind != "text":
        label = next((name for name in twins if columns[name].kind == "text"), label)
    return label, [one for one in others if one != label and one not in twins]


def _with_splits(table: DataTable, rows: Mapping[str, Sequence[Row]], has_test: bool, remarks: list[str]) -> DataTable:
    """The table with the splits that have answers, and the test split among them."""
    splits = [split for split in rows if split or len(rows) > 1]
    if not splits:
        return table
    labelled = {split: _labelled(rows[split], table) for split in splits}
    read = [split for split in splits if split and labelled[split] >= _LEAST_LABELLED]
    if not read:
        raise DataError(f"{table.source}: no split has texts with labels; found {listed(map(repr, splits))}")
    if left := [split for split in splits if split not in read]:
        remarks.append(f"not read, for want of texts with labels or of a split's name: {listed(map(repr, left))}")
    tests = [split for split in read if split_word(split, within=True) == "test"]
    test = tests[0] if tests and len(read) > 1 and not has_test else ""
    if test:
        remarks.append(f"{table.source} has a test split, {test!r} ({len(rows[test])} rows): it is kept whole")
    return replace(table, read_splits=tuple(read) if left else (), test_split=test)


def _labelled(rows: Sequence[Row | Fault], table: DataTable) -> float:
    """Share of the rows with text and label."""
    full = [
        row
        for row in rows
        if isinstance(row, Row) and _has_text(row, table) and not is_empty(row.record.get(table.label))
    ]
    return len(full) / max(len(rows), 1)


def _has_text(row: Row, table: DataTable) -> bool:
    text = table.text_columns
    return not text.missing_in(row.record) and not text.is_empty_in(row.record)


def _with_sibling(table: DataTable, remarks: list[str]) -> DataTable:
    """``test.csv`` beside ``train.csv``, or a folder ``test`` beside ``train``, where it has the same columns."""
    path = Path(table.path)
    if split_of(Path(path.name)) != "train":
        return table
    alike = (one for one in path.parent.iterdir() if one.is_dir() == path.is_dir() and one.suffix == path.suffix)
    beside = sorted(alike)
    tests = [one for one in beside if split_of(Path(one.name)) == "test"]
    others = [one.name for one in beside if split_of(Path(one.name)) == "validation"]
    if others:
        remarks.append(f"{listed(others)} lies beside and is not read; DATA={path.parent} reads all splits")
    for test in tests:
        try:
            read = [row for part in parts_of(test, table.dialect) for row in part.scan()]
        except DataError as error:
            remarks.append(f"{test} lies beside and cannot be read as a test split: {error}")
            continue
        if _labelled(read, table) >= _LEAST_LABELLED:
            remarks.append(f"{test} lies beside: its {len(read)} rows are the test split, whole")
            return replace(table, test_path=str(test))
        remarks.append(f"{test} lies beside and has no labels: test rows are drawn from {path.name}")
    return table


def _shared(table: DataTable, rows: Mapping[str, Sequence[Row]], remarks: list[str]) -> DataTable:
    """Without a column of ids or groups that the test rows do not have, and without ids that they have twice."""
    if table.test_path:
        read = [row for part in parts_of(table.test_path, table.dialect) for row in part.scan()]
        test = [row.record for row in read if isinstance(row, Row)]
    else:
        test = [row.record for row in rows.get(table.test_split, ())]
    if not test:
        return table
    known = set.intersection(*(set(record) for record in test))
    if table.group and table.group not in known:
        remarks.append(f"test rows have no column {table.group!r}, so rows are not grouped by it")
        table = replace(table, group="")
    is_unique = table.id in known and len({str(record[table.id]) for record in test}) == len(test)
    return table if is_unique else replace(table, id="")
