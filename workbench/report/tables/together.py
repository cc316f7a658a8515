"""Who answers in candidates that are made of others, and with which rows; and who learnt from whom."""

from __future__ import annotations

from labelwright.data.costs import amount
from workbench.compare.board import Entry
from workbench.compare.candidate import Asking, Distilled, Hosted
from workbench.compare.kept.learnt import Lesson
from workbench.compare.together.money import N_ROWS, with_hosted
from workbench.recipe.beside.unlabelled import told
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, NOTHING, Cell, Column, Table, metric
from workbench.wording import listed, milliseconds, number, parts

_HOW = {"log": "log-probabilities", "probability": "probabilities"}
_LEGEND = (
    "Weights are chosen on dev, thresholds on calib; the numbers are of the test rows. A level answers rows that it "
    "is sure enough of, the next one the rest. Milliseconds of a cascade are a mean over the test rows, its levels' as "
    "they were timed alone; members that read rows through one encoder share its pass."
)


def together(report: Report) -> list[Table]:
    """Every level of every ensemble and cascade."""
    rows = [
        _row(entry, level, number)
        for entry in report.scored
        if entry.together
        for number, level in enumerate(entry.together.levels)
    ]
    columns = [CANDIDATE, Column("asks", "text"), Column("answers where sure to"), Column("answers % of rows")]
    columns += [Column("right on % of them"), Column("ms/row")]
    plots = ["cascade"] if any(entry.together and entry.together.curve for entry in report.scored) else []
    return [Table("together", "Several together", columns, rows, remarks=[_LEGEND] if rows else [], plots=plots)]


def _row(entry: Entry, level: Asking, place: int) -> list[Cell]:
    assert entry.together is not None
    members = [f"{name} {weight:.0%}" if len(level.weights) > 1 else name for name, weight in level.weights.items()]
    return [
        Cell(entry.name, f"level {place + 1}" if len(entry.together.levels) > 1 else ""),
        Cell(listed(members), f"mean of {_HOW[entry.together.mean]}" if len(members) > 1 else ""),
        NOTHING if level.threshold is None else Cell(f"{level.threshold:.3f}"),
        Cell(f"{100 * level.share:.1f}"),
        Cell(number(None if level.accuracy is None else 100 * level.accuracy, "{:.1f}")),
        Cell(milliseconds(entry.ms)) if place == 0 else NOTHING,
    ]


_HOSTED = (
    "Rows that the cascade is less sure of than the threshold, chosen on calib, are passed on to a model elsewhere; "
    "the numbers are of the test rows. Where it gives no label, or its server takes no such row, a person is next: "
    "counted as wrong, and not paid in the money here. The cascade's own rows in this report are without it, answering "
    "everything; its bundle gives those rows no label (passed on)."
)


def hosted(report: Report) -> list[Table]:
    """What a model elsewhere brings behind a cascade."""
    columns = [CANDIDATE, Column("passes on to", "text"), Column("where less sure than"), Column("passed on % of rows")]
    columns += [Column("it has right"), Column("the cascade had"), Column("no label"), Column("not taken")]
    columns += [Column("right on % of all rows"), Column("gained"), Column(f"money, {N_ROWS:,} rows")]
    found = [(entry, entry.together.hosted) for entry in report.scored if entry.together and entry.together.hosted]
    rows = [
        [
            Cell(entry.name),
            Cell(one.model, f"chosen on {one.n_calib:,} calib rows; {_spent(one)}"),
            Cell(f"{one.threshold:.3f}") if one.threshold else NOTHING,
            Cell(f"{100 * one.share:.1f}"),
            *(Cell(f"{n:,}") for n in (one.n_right, one.n_right_before, one.n_no_label, one.n_refused)),
            metric("accuracy", one.accuracy),
            Cell(*parts(one.gain, is_share=report.by == "accuracy", signed=True)),
            NOTHING if (paid := with_hosted(entry, report.money)) is None else Cell(amount(paid)),
        ]
        for entry, one in found
    ]
    return [Table("hosted", "Passed on to a model elsewhere", columns, rows, remarks=[_HOSTED] if rows else [])]


def _spent(one: Hosted | Distilled) -> str:
    dollars = "" if one.price is None else f", {amount(one.price)} dollars"
    return f"{one.n_in:,} tokens in, {one.n_out:,} out{dollars}"


_LESSON = (
    "Students learnt train rows, and what their teacher says, in probabilities, of {source}. Differences are of "
    "accuracy on the test rows, in points, paired, each with a 95 % interval of its own; agreement is on dev."
)
_ELSEWHERE = (
    "{teacher} is a model elsewhere: it gave a label a row, of which dev rows say what it is worth. Of these it has "
    "{right} % right. That took {spent}, as its server counts. It did not see test rows, so nothing is held against it "
    "there."
)


def distilled(report: Report) -> list[Table]:
    """Every student: its teacher, what it learnt, and how it stands to that and to itself without the pool."""
    lessons = [(entry, entry.lesson) for entry in report.scored if entry.lesson]
    columns = [CANDIDATE, Column("teacher", "text"), Column("rows learnt"), Column("agree on dev %")]
    columns += [Column("cheaper"), Column("against the teacher"), Column("against train rows alone")]
    remarks = []
    # All of them have one teacher, and one pool.
    for _, lesson in lessons[:1]:
        learnt, said = lesson.learnt, told(lesson.learnt.left_out)
        remarks.append(_LESSON.format(source=learnt.source or "rows without labels"))
        if learnt.hosted and learnt.right:
            right = "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * one for one in learnt.right))
            remarks.append(_ELSEWHERE.format(teacher=learnt.teacher, right=right, spent=_spent(learnt)))
        if silent := learnt.left_out.get("silent", 0):
            said += f"{', ' * bool(said)}{silent:,} that {learnt.teacher} gave no answer to"
        if said:
            remarks.append(f"Left out of these rows: {said}.")
    rows = [_lesson_row(entry, lesson) for entry, lesson in lessons]
    return [Table("distilled", "Students and their teacher", columns, rows, remarks=remarks)]


def _lesson_row(entry: Entry, lesson: Lesson) -> list[Cell]:
    value, low, high = (100 * one for one in lesson.learnt.agreement)
    return [
        Cell(entry.name),
        Cell(lesson.learnt.teacher),
        Cell(f"{lesson.learnt.n_rows:,}"),
        Cell(f"{value:.1f}", f"{low:.1f} to {high:.1f}"),
        Cell(number(lesson.cost_ratio, "{:.1f} times")),
        *(metric("accuracy", one, signed=True) for one in (lesson.to_teacher, lesson.to_plain)),
    ]
