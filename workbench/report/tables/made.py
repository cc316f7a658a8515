"""How the report came about."""

from __future__ import annotations

from workbench.report.report import Report
from workbench.report.table import Column, Table, cells


def made(report: Report) -> list[Table]:
    """The command, the machine, the rows, and what was trained."""
    splits, rows = report.splits, report.test_rows
    groups = f" (in {rows.n_groups} groups)" if rows.n_groups != rows.n_rows else ""
    seeds = sorted({(one.split_seed, one.seed) for entry in report.scored for one in entry.repeats})
    facts = [
        ("command", report.command),
        ("run", report.run),
        ("machine", report.machine),
        (
            "rows",
            f"train {splits.train}, dev {splits.dev}, calib {splits.calib}, test {rows.n_rows}{groups}; "
            f"{splits.n_labels} labels",
        ),
        *(("about the rows", remark) for remark in splits.remarks),
        ("split digest", splits.digest),
        ("other trainings", ", ".join(f"split {split} seed {seed}" for split, seed in seeds) or "none"),
        ("candidates", f"{len(report.candidates)}, of which {len(report.scored)} ran"),
    ]
    columns = [Column("what", "words"), Column("value", "long")]
    return [Table("made", "How it was made", columns, [cells(*fact) for fact in facts])]
