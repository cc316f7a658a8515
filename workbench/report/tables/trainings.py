"""What other trainings of the same candidate reach: on fewer rows, with other seeds, on other splits."""

from __future__ import annotations

from statistics import mean, stdev

from workbench.compare.board import Spread
from workbench.compare.differences import TESTED
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, METRICS, NOTHING, Cell, Column, Table

_DIFFERS = {"split fixed": "seed of training", "split varied": "split"}


def learning(report: Report) -> list[Table]:
    """Accuracy by training rows a label, of candidates that were shown part of the rows."""
    entries = [entry for entry in report.scored if any(point.per_label for point in entry.curve)]
    # 0 stands for all rows, so it comes last.
    sizes = sorted({point.per_label for entry in entries for point in entry.curve}, key=lambda n: (n == 0, n))
    rows = [
        [Cell(entry.name), *(_mean([100 * p.accuracy for p in entry.curve if p.per_label == size]) for size in sizes)]
        for entry in entries
    ]
    return [
        Table(
            "learning",
            "Learning curves",
            [CANDIDATE, *(Column(str(size) if size else "all") for size in sizes)],
            rows,
            about="What fewer labelled rows would have given: test accuracy in percent, before calibration, of a "
            "candidate that was shown at most so many training rows a label.",
            remarks=["Mean over draws of the rows, ± their standard deviation, number of draws in brackets."],
            plots=["learning-curve"],
            is_folded=True,
        )
    ]


def seeds(report: Report) -> list[Table]:
    """Mean and deviation over other seeds and other splits."""
    rows = [
        [Cell(entry.name), Cell(_DIFFERS[side]), Cell(str(one.n)), *(_spread(one, name) for name in TESTED)]
        for entry in report.scored
        for side, one in entry.spread.items()
    ]
    columns = [CANDIDATE, Column("what differs", "words"), Column("trainings")]
    return [
        Table(
            "seeds",
            "Other seeds, other splits",
            [*columns, *(Column(METRICS[name].title) for name in TESTED)],
            rows,
            about="How much of a difference is the draw of the training, and how much the draw of the rows.",
            remarks=["Mean ± standard deviation over the trainings, the candidate itself being one of them."],
            nothing="Every candidate was trained once: nothing is known of other seeds or splits.",
        )
    ]


def _mean(values: list[float]) -> Cell:
    if len(values) < 2:
        return Cell(f"{values[0]:.1f}") if values else NOTHING
    return Cell(f"{mean(values):.1f}", f"± {stdev(values):.1f} ({len(values)})")


def _spread(one: Spread, name: str) -> Cell:
    if name not in one.mean:
        return NOTHING
    scale, digits = (100, 1) if METRICS[name].is_share else (1, 3)
    return Cell(f"{scale * one.mean[name]:.{digits}f}", f"± {scale * one.sd[name]:.{digits}f}")
