"""What people were asked, on disk: a folder a batch under ``runs/NAME/next-rows``, which appears whole or not at all.

In it are ``asked.json``, the record (every row with its text, why it was chosen and what the classifier said), the
sheet to be filled, and ``labels.csv``, what may be filled in. The sheet shows no guess: who sees one tends to agree.
The record is what labels are held to when they come back; of the sheet only ids and labels count.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from labelwright.data.task import Label
from labelwright.errors import DataError
from labelwright.files import read_json, write_json, write_text
from labelwright.plain_text import spreadsheet_cell
from labelwright.reading import AGAIN
from workbench.next_rows.choice import Why

FOLDER = "next-rows"
RECORD = "asked.json"
# Their columns, besides the recipe's own for text and label.
ID, WHY = "id", "why"
SHEETS = (".csv", ".jsonl")


@dataclass(frozen=True)
class AskedRow:
    """A row that people are asked about.

    Attributes
    ----------
    id : str
        In the sheet: batch and place.
    pool_id, group : str
        As the pool has them; empty where it does not.
    cells : tuple of str
        What the text is made of, where it is several columns.
    guess : str or None
        What the classifier answered, before anybody else did; None where it had no answer.
    confidence : float
        Its probability.
    """

    id: str
    text: str
    why: Why
    guess: str | None
    confidence: float
    number: int
    pool_id: str = ""
    group: str = ""
    cells: tuple[str, ...] = ()

    def parts(self, n: int) -> tuple[str, ...]:
        """A cell for each of the recipe's columns of the text: read as they are they make the text again."""
        return self.cells if len(self.cells) == n else (self.text, *[""] * (n - 1))


def number_of(id: str) -> int:
    """The number of the batch that a row's id names; 0 where it is none of these."""
    found = re.match(r"b([0-9]+)-", id)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Batch:
    """What was asked at one time.

    Attributes
    ----------
    classifier : str
        Whose guesses these are.
    """

    number: int
    pool: str
    classifier: str
    rows: tuple[AskedRow, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


def batches_of(root: Path) -> list[Batch]:
    """All batches of a recipe, oldest first. Raises DataError for a record that is damaged."""
    found = []
    for path in root.glob(f"[0-9]*/{RECORD}"):
        try:
            value = read_json(path)
            rows = (AskedRow(**{**row, "cells": tuple(row.get("cells", ()))}) for row in value["rows"])
            found.append(Batch(**{**value, "rows": tuple(rows)}))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not as make next-rows writes it ({error!r}); {AGAIN}") from error
    return sorted(found, key=lambda batch: batch.number)


def write_batch(root: Path, batch: Batch, labels: Sequence[Label], columns: Sequence[str], kind: str) -> Path:
    """Write a batch; returns where its sheet lies.

    Parameters
    ----------
    columns : sequence of str
        As the recipe calls them: those of the text, and the label's.
    kind : ".csv" or ".jsonl"
        Of the sheet.
    """
    target = root / str(batch.number)
    building = root / f".{batch.number}.{os.getpid()}.unfinished"
    building.mkdir(parents=True)
    try:
        write_json(building / RECORD, asdict(batch))
        sheet = building / f"{root.parent.name}-{batch.number}{kind}"
        write_text(sheet, sheet_of(batch.rows, columns, kind))
        write_text(
            building / "labels.csv", _csv(["label", "description"], ([one.name, one.description] for one in labels))
        )
        os.rename(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target / sheet.name


def sheet_of(rows: Iterable[AskedRow], columns: Sequence[str], kind: str) -> str:
    """The sheet that people fill: id, text, an empty label and why, under the recipe's own names."""
    id, why = own_columns(columns)
    head = [id, *columns, why]
    lines = ([row.id, *row.parts(len(columns) - 1), "", row.why] for row in rows)
    if kind == ".jsonl":
        return "".join(json.dumps(dict(zip(head, line, strict=True)), ensure_ascii=False) + "\n" for line in lines)
    # The mark at the beginning tells spreadsheets that this is UTF-8.
    return "\ufeff" + _csv(head, lines)


def own_columns(columns: Sequence[str]) -> tuple[str, str]:
    """What the columns for id and why are called, where the recipe's own are called so."""
    free = [name if name not in columns else f"asked_{name}" for name in (ID, WHY)]
    return free[0], free[1]


def _csv(head: list[str], lines: Iterable[list[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([spreadsheet_cell(cell) for cell in line] for line in lines)
    return out.getvalue()
