"""How good every candidate is, and which ones could not be measured."""

from __future__ import annotations

from dataclasses import replace

from labelwright.statistics.label_sets import SET_METRICS
from workbench.compare.board import QUALITY, By, Entry
from workbench.report.report import Report
from workbench.report.table import (
    CANDIDATE,
    COST,
    LEFT_OUT,
    METRICS,
    Cell,
    Column,
    Table,
    cells,
    cost_a_row,
    metric,
    metrics,
)
from workbench.report.verdict_words import margin_words
from workbench.wording import megabytes, milliseconds, p_value

# Before calibration only what it changes, and accuracy, which it may change.
_RAW = ("accuracy", "log_loss", "ece")
_RANKED = {"accuracy": "accuracy", "cost": "what a row costs"}
_LEGEND = """In brackets: 95 % intervals; of accuracy and other shares Wilson's, of as many independent rows as the
groups are worth, of other metrics a bootstrap that draws whole groups of rows. All candidates are calibrated in the
same way on rows of their own (calib); raw is what they say before. Against the best, by {by}: as good is a
candidate that loses at most {margin}, its whole interval over; worse is one told apart by the paired test, p
corrected for the number of candidates (Holm); of the others the test rows are too few to tell, which says nothing for
them. Valid labels: share of answers that are a label when the model may write anything. Size counts the base model or
encoder. {lower}: lower is better."""


def leaderboard(report: Report) -> list[Table]:
    """Quality after and before calibration, what a row costs, and how each stands to the best."""
    made = {
        CANDIDATE: lambda one: Cell(one.name, one.about),
        **({COST: lambda one: cost_a_row(one)} if report.by == "cost" else {}),
        **metrics(QUALITY, lambda one: one.test),
        **metrics(_RAW, lambda one: one.raw, "raw "),
        Column("valid labels %"): lambda one: metric("accuracy", one.generation.valid if one.generation else None),
        Column("ms/row"): lambda one: milliseconds(one.ms),
        Column("size"): lambda one: megabytes(one.cost.get("size_bytes")),
        Column("against the best"): lambda one: _standing(one, report.by),
    }
    lower = ", ".join(METRICS[name].title.removesuffix(" %") for name in QUALITY if not METRICS[name].higher_is_better)
    margin = margin_words(report.verdict.margin, report.by)
    table = Table.of_each(
        "leaderboard",
        "Leaderboard",
        report.candidates,
        made,
        about=f"Measured on the test split, which took no part in training or choosing.{_answers(report)}",
        remarks=[" ".join(_LEGEND.format(by=_RANKED[report.by], margin=margin, lower=lower).split())],
        plots=["accuracy"],
    )
    both = zip(table.rows, report.candidates, strict=True)
    return [replace(table, rows=[[row[0], Cell(LEFT_OUT, one.failed)] if one.failed else row for row, one in both])]


def left_out(report: Report) -> list[Table]:
    """The candidates without numbers, and why."""
    rows = [cells(entry.name, entry.failed) for entry in report.candidates if entry.failed]
    columns = [CANDIDATE, Column("why", "long")]
    return [Table("failed", "Left out", columns, rows, nothing="Nothing: every candidate ran.")]


def _answers(report: Report) -> str:
    """What counts here where several points are asked of a row."""
    if report.several is None:
        return ""
    n_answers, n_rows = report.test_rows.n_rows, report.several.n_rows
    is_fitted = any(entry.calibration.get("maximise") for entry in report.scored)
    title = SET_METRICS[report.several.wanted].title.removesuffix(" %")
    pays = f" Labels are said from where {title} is highest on calib, and accuracy pays for it." if is_fitted else ""
    return (
        f" Several points are asked of a row: accuracy is the share of {n_answers} answers to {n_rows} rows that are "
        f"right, and the other numbers here are of answers too. What is true of whole rows has tables of its own.{pays}"
    )


def _standing(entry: Entry, by: By) -> Cell:
    tested = f"p {p_value(entry.against_best[by].p_holm)}" if entry.against_best else ""
    return Cell(entry.standing or "", tested)
