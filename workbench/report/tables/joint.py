"""Rows of which several points are asked: what is true of whole rows, where the leaderboard speaks of answers.

Nothing for other tasks.
"""

from __future__ import annotations

from labelwright.statistics.label_sets import SET_METRICS
from workbench.compare.board import Entry
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, NOTHING, Cell, Column, Make, Table
from workbench.wording import p_value, parts

_ROWS = "Share of rows, in brackets 95 % intervals: Wilson's, of as many independent rows as the groups are worth."
_SETS = """Of the labels that each row has and is given. F1 of rows and Jaccard are means over rows, a row that has no
label and is given none being wholly right; macro-F1 leaves out labels that no row has and none is given, mean average
precision labels that no row has. Hamming loss is the share of wrong answers, exact match the share of rows without one.
In brackets 95 % intervals: exact match's Wilson's, of as many independent rows as the groups are worth, the others' by
a bootstrap that draws whole groups. Minus the best's: paired, the intervals of all candidates hold together with 95 %
(Bonferroni), p after Holm's correction. Hamming loss: lower is better."""
_SAID_FROM = """Probabilities from which on labels are said, fitted on calib for {title} ([calibrate] maximise). On
calib: at a half, and at what was fitted without the row's fold; it is kept where it gains there. On test: the paired
difference that it makes, in points."""
# Of a pair of a label's scores and what it is said from.
_OF_LABEL: dict[Column, Make] = {
    Column("label", "words"): lambda one: one[0].label,
    Column("rows"): lambda one: str(one[0].n_rows),
    Column("given"): lambda one: str(one[0].n_predicted),
    Column("precision %"): lambda one: f"{100 * one[0].precision:.0f}",
    Column("recall %"): lambda one: f"{100 * one[0].recall:.0f}",
    Column("F1 %"): lambda one: f"{100 * one[0].f1:.0f}",
    Column("said from"): lambda one: f"{one[1]:.3g}",
}


def rows(report: Report) -> list[Table]:
    """How many rows have all answers right, and where several questions are asked, those of each."""
    if report.several is None:
        return []
    entries = _with_rows(report)
    questions = list(entries[0].joint.questions) if entries and entries[0].joint else []
    made: dict[Column, Make] = {CANDIDATE: lambda one: one.name}
    made[Column("all answers right %")] = lambda one: Cell(*parts(one.joint.exact))
    if len(questions) > 1:
        made |= {Column(f"{name} right %"): _metric(name, "exact_match") for name in questions}
    about = f"{report.test_rows.n_rows} answers to {report.several.n_rows} rows: here a row counts once."
    return [Table.of_each("joint", "Whole rows", entries, made, about=about, remarks=[_ROWS])]


def sets(report: Report) -> list[Table]:
    """Every candidate's metrics of sets of labels, a table a question that takes any of its labels."""
    if report.several is None:
        return []
    wanted, found = SET_METRICS[report.several.wanted].title.removesuffix(" %"), []
    for name, question in report.several.questions.items():
        made: dict[Column, Make] = {CANDIDATE: lambda one: one.name}
        made |= {Column(metric.title): _metric(name, key) for key, metric in SET_METRICS.items()}
        made |= {Column(f"{wanted} minus {question.best}'s"): _difference(name), Column("p, Holm"): _p_value(name)}
        about = f"Of {question.n_rows} rows that have an answer. {question.best} is best by {wanted}."
        said = {"of": name, "about": about, "remarks": [" ".join(_SETS.split())]}
        found.append(Table.of_each("joint", "Labels of rows", _with_rows(report), made, **said))
    return found


def labels(report: Report) -> list[Table]:
    """The candidate to ship, label by label."""
    if report.several is None:
        return []
    about = "Rows that have the label, and that are given it; the probability from which on it is said."
    return [
        Table.of_each(
            "joint",
            "Each label",
            list(zip(question.labels, question.said_from, strict=True)),
            _OF_LABEL,
            of=f"{report.verdict.ship}, {name}",
            about=about,
        )
        for name, question in report.several.questions.items()
    ]


def said_from(report: Report) -> list[Table]:
    """What fitted thresholds gained on calib and on test; nothing where none were to be fitted."""
    made = []
    for entry in _with_rows(report):
        for name, gained in entry.calibration.get("said_from", {}).items():
            numbers = [
                f"{100 * gained['before']:.1f}",
                f"{100 * gained['after']:.1f}",
                "yes" if gained["kept"] else "no",
            ]
            on_test = entry.joint.gained.get(name) if entry.joint else None
            cell = Cell(*parts(on_test, signed=True)) if on_test else NOTHING
            made.append([*map(Cell, (entry.name, name, *numbers)), cell])
    if not made or report.several is None:
        return []
    title = SET_METRICS[report.several.wanted].title
    columns = [CANDIDATE, Column("question", "words"), Column(f"calib, {title}, at a half"), Column("calib, fitted")]
    columns += [Column("kept"), Column("test, gained")]
    about = " ".join(_SAID_FROM.format(title=title.removesuffix(" %")).split())
    return [Table("joint", "What labels are said from", columns, made, about=about)]


def _with_rows(report: Report) -> list[Entry]:
    return [entry for entry in report.scored if entry.joint is not None]


def _metric(question: str, name: str) -> Make:
    return lambda one: Cell(*parts(one.joint.questions[question][name]))


def _difference(question: str) -> Make:
    def made(entry: Entry) -> Cell:
        found = entry.joint.against_best.get(question) if entry.joint else None
        return Cell(*parts(found.value, signed=True)) if found else NOTHING

    return made


def _p_value(question: str) -> Make:
    def made(entry: Entry) -> Cell:
        found = entry.joint.against_best.get(question) if entry.joint else None
        return Cell(p_value(found.p_holm)) if found else NOTHING

    return made
