"""Single rows to look at: the surest mistakes, and labels that may be wrong."""

from __future__ import annotations

from workbench.report.report import Report
from workbench.report.table import Cell, Column, Make, Table
from workbench.wording import plural

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
