"""Single rows to look at: the surest mistakes, and labels that may be wrong."""

from __future__ import annotations

from workbench.report.report import Report
from workbench.report.table import Cell, Column, Table, cells
from workbench.wording import plural

_LABEL, _CONFIDENCE, _TEXT, _ID = (
    Column("label", "words"), Column("confidence %"), Column("text", "text"), Column("row", "code")
)  # fmt: skip


def mistakes(report: Report) -> list[Table]:
    """The wrong answers that the candidates that matter most are surest of."""
    found: list[Table] = []
    for name, one in report.tables.items():
        shown, n_wrong = len(one.mistakes), one.n_wrong
        said = f"the {shown} surest of {n_wrong} wrong answers" if shown < n_wrong else plural(shown, "wrong answer")
        found.append(
            Table(
                "mistakes",
                "Most confident mistakes",
                [_LABEL, Column("answer", "words"), _CONFIDENCE, _TEXT, _ID],
                [cells(row.label, row.answer, f"{100 * row.confidence:.1f}", row.text, row.id) for row in one.mistakes],
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
    rows = [
        [
            *cells(one.label, one.suggested, f"{100 * one.confidence:.1f}", one.text),
            Cell(one.id, one.side),
            Cell(", ".join(one.candidates)),
        ]
        for one in report.suspects
    ]
    return [
        Table(
            "suspects",
            "Labels that may be wrong",
            [_LABEL, Column("suggested", "words"), _CONFIDENCE, _TEXT, _ID, Column("doubted by", "words")],
            rows,
            about="Rows to which these candidates, which never learnt from them, all give one and the same other "
            "label, and which confident learning (Northcutt et al. 2021) calls issues. Some will be right as they are: "
            "a person should decide, nothing was changed.",
            nothing="No row's label is doubted by several confident candidates at once.",
            is_folded=True,
        )
    ]
