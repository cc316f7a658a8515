"""Single rows to look at: the surest mistakes, labels that may be wrong; and rows that ask for a label."""

from __future__ import annotations

from functools import partial

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Entry
from workbench.compare.steering.endings import ALL, ENDINGS, ENDS
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, Cell, Column, Make, Table
from workbench.wording import percent, plural

_LABEL: dict[Column, Make] = {Column("label", "words"): lambda one: one.label}
_ROW: dict[Column, Make] = {
    Column("confidence %"): lambda one: f"{100 * one.confidence:.1f}",
    Column("text", "text"): lambda one: one.text,
    Column("row", "code"): lambda one: Cell(one.id, getattr(one, "side", "")),
}


def mistakes(report: Report) -> list[Table]:
    """The wrong answers that the candidates that matter most are surest of."""
    found: list[Table] = []
    for name, one in report.tables.items():
        shown, n_wrong = len(one.mistakes), one.n_wrong
        said = f"the {shown} surest of {n_wrong} wrong answers" if shown < n_wrong else plural(shown, "wrong answer")
        found.append(
            Table.of_each(
                "mistakes",
                "Most confident mistakes",
                one.mistakes,
                _LABEL | {Column("answer", "words"): lambda one: one.answer} | _ROW,
                of=f"{name}, {said}" if n_wrong else name,
                about=""
                if found
                else "Where the candidate is surest and the label says otherwise. Some of these are the label's fault.",
                nothing="It has every test row right.",
                is_folded=True,
            )
        )
    return found


def suspects(report: Report) -> list[Table]:
    """Rows whose label the candidates doubt."""
    suggested: dict[Column, Make] = {Column("suggested", "words"): lambda one: one.suggested}
    doubted: dict[Column, Make] = {Column("doubted by", "words"): lambda one: ", ".join(one.candidates)}
    return [
        Table.of_each(
            "suspects",
            "Labels that may be wrong",
            report.suspects,
            _LABEL | suggested | _ROW | doubted,
            about="Rows to which these candidates, which never learnt from them, all give one and the same other "
            "label, and which confident learning (Northcutt et al. 2021) calls issues. Some will be right as they are: "
            "a person should decide, nothing was changed.",
            nothing="No row's label is doubted by several confident candidates at once.",
            is_folded=True,
        )
    ]


def steering(report: Report) -> list[Table]:
    """How often rows that ask for a label get it."""
    shown: dict[Column, Make] = {CANDIDATE: lambda one: one.name}
    shown |= {Column(f"{kind} %"): partial(_moved, kind) for kind in (ALL, *ENDINGS)}
    said = "; ".join(f"{kind}: {ending.strip().format(label='…')}" for kind, ending in ENDINGS.items())
    return [
        Table.of_each(
            "steering",
            "Rows that ask for a label",
            [one for one in report.scored if one.steering],
            {**shown, Column("rows"): _rows_read},
            about="Test rows with an ending that names a label drawn from those that are not the candidate's answer "
            "without it, and how often that label becomes the answer; rows without room for an ending are left out. "
            f"{said}",
        )
    ]


def _rows_read(one: Entry) -> str:
    found = one.steering or {}
    n_rows, n_unread = (int(found.get(key, 0)) for key in ("n_rows", "n_unread"))
    return f"{n_rows} of {n_rows + n_unread}" if n_unread else str(n_rows)


def _moved(kind: str, one: Entry) -> str:
    found = one.steering or {}
    return percent(Interval(*(found[f"{kind}{end}"] for end in ENDS)))
