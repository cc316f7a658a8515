"""What each stage of the model's tuning took, reached and decided."""

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


def _rows(report: Report, stage: Stage) -> list[list[Cell]]:
    rows = [cells(f"dev {key}", f"{value:.3f}") for key, value in stage.dev.items()]
    rows += [cells(key, told(value)) for key, value in stage.decided.items() if key != "stage"]
    for key, points in report.curves.get(stage.folder, {}).items():
        (first, begun), (last, ended) = points[0], points[-1]
        rows.append(cells(f"curve {key}", f"{begun:.3f} at step {first}, {ended:.3f} at step {last}"))
    return rows
