"""How the report came about: what each stage of tuning took and decided; the command, the machine, the rows."""

from __future__ import annotations

from workbench.progress import duration
from workbench.report.report import Report, Stage
from workbench.report.table import Cell, Column, Table, cells
from workbench.wording import megabytes, told

_TITLE = "Stages"


def stages(report: Report) -> list[Table]:
    """A table a stage: its dev metrics, its decisions, and the beginnings and ends of its curves."""
    if not report.stages:
        return [Table("stages", _TITLE, (), (), nothing="No model was tuned.")]
    return [
        Table(
            "stages",
            _TITLE,
            [Column("what", "words"), Column("value", "long")],
            _rows(report, stage),
            of=f"{stage.folder}, {duration(stage.seconds)}"
            + (f", peak memory {megabytes(stage.peak_memory_bytes)}" if stage.peak_memory_bytes else ""),
            about="" if number else "What each stage took and decided, on rows of train and dev.",
            nothing="Nothing was decided.",
            plots=[] if number else ["curves"],
            is_folded=True,
        )
        for number, stage in enumerate(report.stages)
    ]


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


def _rows(report: Report, stage: Stage) -> list[list[Cell]]:
    rows = [cells(f"dev {key}", f"{value:.3f}") for key, value in stage.dev.items()]
    rows += [cells(key, told(value)) for key, value in stage.decided.items() if key != "stage"]
    for key, points in report.curves.get(stage.folder, {}).items():
        (first, begun), (last, ended) = points[0], points[-1]
        rows.append(cells(f"curve {key}", f"{begun:.3f} at step {first}, {ended:.3f} at step {last}"))
    return rows
