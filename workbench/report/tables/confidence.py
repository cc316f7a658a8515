"""What the candidates' confidence is worth: before calibration and after, and on rows that have no right label."""

from __future__ import annotations

from labelwright.statistics.intervals import Interval
from workbench.compare.board import QUALITY, Entry
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, Column, Make, Table, metrics
from workbench.wording import DASH, milliseconds, number, percent

_TITLE = "Confidence"
_BEFORE: dict[Column, Make] = {
    CANDIDATE: lambda one: one.name,
    **metrics(QUALITY, lambda one: one.raw, "raw "),
    Column("calibration", "words"): lambda one: str(one.calibration.get("variant", DASH)),
    Column("temperature"): lambda one: number(one.calibration.get("temperature"), "{:.3g}"),
    Column("log loss on calib, before"): lambda one: number(one.calibration.get("log_loss_before"), "{:.3f}"),
    Column("after"): lambda one: number(one.calibration.get("log_loss_after"), "{:.3f}"),
}
_OUTSIDE: dict[Column, Make] = {
    CANDIDATE: lambda one: one.name,
    Column("AUROC of confidence"): lambda one: number(one.outside.get("auroc"), "{:.3f}"),
    Column("of certainty"): lambda one: number(one.outside.get("auroc_certainty"), "{:.3f}"),
    Column("of the score"): lambda one: number(one.outside.get("auroc_score"), "{:.3f}"),
    Column("none of these", "words"): lambda one: _none(one),
    Column("test rows answered %"): lambda one: _share(one, "kept"),
    Column("answered right %"): lambda one: _share(one, "right"),
    Column("rows out of scope found %"): lambda one: _share(one, "recall"),
    Column("ms/row more"): lambda one: milliseconds(one.outside.get("ms")),
    Column("rows"): lambda one: f"{one.outside['n_rows']:.0f}",
}


def _share(one: Entry, name: str) -> str:
    found = one.outside or {}
    return percent(Interval(*(found[f"{name}{end}"] for end in ("", "_low", "_high")))) if name in found else DASH


def _none(one: Entry) -> str:
    """Whether the score has a trained "none of these" in it, and what calib said."""
    found = one.outside or {}
    if "none_used" not in found:
        return DASH
    told = f"{found['none_trained']:.3f} with, {found['none_score']:.3f} without"
    return f"{'used' if found['none_used'] else 'not used'}: {told}"


def _taught(entries: list[Entry]) -> list[str]:
    """What the words in the column of that name mean, where one of these has any."""
    found = next((one.outside for one in entries if "none_used" in (one.outside or {})), None)
    if found is None:
        return []
    n_taught, n_calib = found["none_n_taught"], found["none_n_calib"]
    return [
        f"None of these: a logistic regression on MiniLM that {n_taught:.0f} rows out of scope taught, as one factor "
        f"more of the score. It is used where with it calib rows in scope have more than {n_calib:.0f} others out of "
        "scope more often (AUROC on calib, with and without)."
    ]


def confidence(report: Report) -> list[Table]:
    """Every metric before calibration with what calibration did; and rows out of scope."""
    raw = [entry for entry in report.scored if entry.raw]
    outside = [entry for entry in report.scored if entry.outside]
    return [
        Table.of_each(
            "confidence",
            _TITLE,
            raw,
            _BEFORE,
            of="before calibration",
            remarks=["Fitted on the calib rows; log loss on them, cross-validated."] if raw else [],
            plots=["reliability", "risk-coverage"],
            is_folded=True,
        ),
        Table.of_each(
            "confidence",
            _TITLE,
            outside,
            _OUTSIDE,
            of="rows out of scope",
            remarks=_taught(outside),
            about="Rows that have no right label. AUROC: how often such a row gets less than a test row. "
            "The score is the certainty (1 - entropy / log K) times the square of how near a row is to the train rows; "
            "below a threshold, which keeps 95 % of the calib rows, a bundle gives no label. At that threshold: test "
            "rows (all in scope) that are answered, and answered right, of all of them; rows out of scope that get no "
            "label.",
        ),
    ]
