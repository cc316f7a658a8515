"""What tests ask of rows and splits, and nothing else does."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from labelwright.data.choices import over_letters
from labelwright.data.records import read_rows, refusal
from labelwright.data.task import Example, Splits, family_keys


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """All rows of a file as dictionaries. Raises DataError, in one message, for every row that cannot be read."""
    rows, faults = read_rows(path)
    if faults:
        raise refusal(str(path), faults)
    return [row.record for row in rows]


def as_letters(example: Example) -> Example:
    """One row over letters."""
    return over_letters([example])[0]


def find_leaks(splits: Splits) -> list[tuple[str, str]]:
    """Pairs of ids on two sides of the splits that share one of their ``family_keys``."""
    owner: dict[tuple[str, ...], tuple[str, str]] = {}
    leaks: dict[tuple[str, str], None] = {}
    for side in ("train", "dev", "calib", "test"):
        for example in getattr(splits, side):
            for key in family_keys(example):
                other_side, other_id = owner.setdefault(key, (side, example.id))
                if other_side != side:
                    leaks[other_id, example.id] = None
    return list(leaks)


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    """An .xlsx file of these cells, as small as the format allows."""
    names = "".join(f'<sheet name="{escape(name)}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    with zipfile.ZipFile(path, "w") as file:
        parts = "".join(
            f'<Override PartName="/xl/worksheets/s{n}.xml" ContentType="{kinds}.worksheet+xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
            f"{parts}</Types>",
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type="{office}/officeDocument" '
            f'Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{names}</sheets></workbook>'
        )
        targets = "".join(
            f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/s{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships">{targets}</Relationships>'
        )
        for n, rows in enumerate(sheets.values(), 1):
            cells = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
            file.writestr(
                f"xl/worksheets/s{n}.xml", f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
            )
    return path


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
