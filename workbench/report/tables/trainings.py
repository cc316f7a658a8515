"""What other trainings of the same candidate reach: on fewer rows, with other seeds, on other splits."""

from __future__ import annotations

from statistics import mean, stdev

from workbench.compare.board import Spread
from workbench.compare.differences import TESTED
from workbench.recipe.beside.synthetic import LEFT_OUT
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, METRICS, NOTHING, Cell, Column, Table, metric
from workbench.wording import listed

_OF_SYNTHETIC = (
    "What rows bring that a model wrote, by how many a label are learnt beside all train rows: test accuracy in "
    "percent, before calibration."
)
_WRITTEN = (
    "Mean over seeds ± standard deviation, number of them in brackets; the difference is of calibrated accuracy, in "
    "points, paired, with a 95 % interval of its own."
)
_DIFFERS = {"split fixed": "seed of training", "split varied": "split"}


def learning(report: Report) -> list[Table]:
    """Accuracy by training rows a label, of candidates that were shown part of the rows."""
    entries = [one for one in report.scored if any(p.per_label for p in one.curve) and not one.augmented]
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


def synthetic(report: Report) -> list[Table]:
    """Accuracy by synthetic rows a label, of candidates that learnt them, and what they bring."""
    found = [(entry, entry.augmented) for entry in report.scored if entry.augmented]
    sizes = sorted({point.per_label for entry, _ in found for point in entry.curve}, key=lambda n: (n == 0, n))
    rows = [
        [
            Cell(entry.name),
            Cell(f"{one.learnt.n_rows:,}"),
            _mean([100 * accuracy for accuracy in one.learnt.without]),
            *(_mean([100 * p.accuracy for p in entry.curve if p.per_label == size]) for size in sizes),
            metric("accuracy", one.to_plain, signed=True),
        ]
        for entry, one in found
    ]
    columns = [CANDIDATE, Column("synthetic rows"), Column("none"), *(Column(str(n) if n else "all") for n in sizes)]
    remarks = [_WRITTEN] if rows else []
    for _, one in found[:1]:  # all of them learnt the same file
        learnt, left = one.learnt, ", ".join(f"{n:,} {LEFT_OUT[why]}" for why, n in one.learnt.left_out.items() if n)
        said = f"Written by {listed(learnt.models)}; a second answer gave the same label to {learnt.n_checked:,}."
        remarks.append(said + (f" Left out of the file: {left}." if left else ""))
    columns.append(Column("all against none"))
    return [Table("synthetic", "Synthetic rows", columns, rows, remarks=remarks, about=_OF_SYNTHETIC if rows else "")]


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
