"""Rows to certify on: a bundle's golden rows, or those of a file, of which all, some or none may have a label."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelwright.bundle.golden import FILE as GOLDEN
from labelwright.bundle.golden import read_golden
from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row, is_missing, read_rows, refusal, text_of
from labelwright.data.task import Example, group_keys, with_labels_of
from labelwright.errors import DataError


@dataclass(frozen=True)
class Rows:
    """Texts, and what is known of them.

    Attributes
    ----------
    gold : int64 ndarray of shape (n_rows,)
        Positions of the right labels, -1 where it is not known.
    groups : sequence of n_rows, optional
    source : str
        What to call them.
    """

    texts: Sequence[str]
    gold: NDArray[np.int64]
    groups: Sequence[str] | None
    source: str

    @property
    def sha256(self) -> str:
        """Of texts and labels, so that two certificates can be seen to be about the same rows."""
        digest = hashlib.sha256()
        for text, gold in zip(self.texts, self.gold.tolist(), strict=True):
            digest.update(f"{len(text)} {text}\0{gold}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def golden_rows(bundle: Path, names: Sequence[str]) -> Rows:
    """The rows that a bundle was exported with. Raises DataError where it has none."""
    found = read_golden(bundle, names)
    if not found:
        raise DataError(f"{bundle}: has no {GOLDEN} to certify on; name labelled rows with --input rows.jsonl")
    position = {name: place for place, name in enumerate(names)}
    gold = np.array([position.get(str(row.get("gold")), -1) for row in found], dtype=np.int64)
    return Rows([row["text"] for row in found], gold, None, "golden rows")


def of_examples(examples: Sequence[Example], names: Sequence[str], source: str) -> Rows:
    """Labelled rows that were read already, as the workbench has them; groups count where there are any."""
    groups = group_keys(examples) if any(one.group is not None for one in examples) else None
    gold = np.array([list(names).index(one.label) for one in examples], dtype=np.int64)
    return Rows([one.text for one in examples], gold, groups, source)


def rows_of_file(
    path: str,
    names: Sequence[str],
    columns: Mapping[str, Any],
    similar: str = "refuse",
    seen: Callable[[Iterable[Row | Fault]], Iterable[Row | Fault]] = iter,
) -> Rows:
    """Rows of a file of any kind that the house reads.

    Parameters
    ----------
    columns : mapping
        Names of the columns ``text`` (one or several), ``label`` and, where rows have groups, ``group``. A file without
        the column of the labels, and a row without a value in it, has none.
    seen : callable
        Gives the rows with the texts of their images, where they have any.

    Raises
    ------
    DataError
        As ``labelwright.data.task.read_examples``, with every row that is at fault; or no rows.
    """
    read, unread = read_rows(path)
    text = TextColumns.of(columns["text"])
    faults: list[Fault] = []
    examples, known = [], []
    for row in seen([*read, *unread]):
        if isinstance(row, Fault):
            faults.append(row)
            continue
        try:
            one = text.need(row.record)
            has_label = not is_missing(row.record.get(columns["label"]))
            label = text_of(row.record, columns["label"], "label") if has_label else names[0]
            group = text_of(row.record, columns["group"], "group") if columns.get("group") else None
        except DataError as error:
            faults.append(Fault(row.number, str(error)))
        else:
            examples.append(Example(str(row.number), one, label, group=group))
            known.append(has_label)
    if faults:
        raise refusal(path, faults)
    if not examples:
        raise DataError(f"{path}: no rows; expected some with a text each")
    examples = with_labels_of(names, examples, path, similar)  # type: ignore[arg-type]
    found = of_examples(examples, names, Path(path).name)
    return Rows(found.texts, np.where(known, found.gold, -1), found.groups, found.source)
