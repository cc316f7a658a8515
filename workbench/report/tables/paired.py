"""Every candidate against the best one, on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.compare.board import Entry
from workbench.compare.differences import TESTED
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, COST, METRICS, NOTHING, Cell, Column, Table, metric
from workbench.wording import number, p_value, parts

_OF_COST = """Cost a row: Bonett and Price's interval with prices, a row more on either side at the highest
difference of two prices, and the sign-flip test over rows or groups, exact where there are few steps of price, with
drawn signs elsewhere."""
_LEGEND = """Intervals of differences hold for all candidates together with 95 % (Bonferroni). Accuracy: Bonett and
Price's interval, exact McNemar test, with groups the exact sign-flip test over them. Macro-F1 and log loss: paired
bootstrap, which cannot say less than 2 in its number of resamples, before Holm's correction over the candidates. Whole
groups of rows go together. Where interval and corrected test differ, the interval's end is put on 0, so that both say
the same."""


def paired(report: Report) -> list[Table]:
    """Differences with their intervals and p-values, and the rows that one of the two alone has right."""
    best = report.verdict.best
    columns = [CANDIDATE, Column("only it right"), Column(f"only {best} right")]
    titles = [METRICS[name].title.removesuffix(" %") for name in TESTED]
    with_prices = report.by == "cost"
    for title in [COST.name, *titles] if with_prices else titles:
        columns += [Column(one) for one in (f"{title} minus {best}'s", f"{title}: p", f"{title}: p, Holm")]
    return [
        Table(
            "tests",
            "Paired tests against the best candidate",
            columns,
            [
                _row(entry, ("cost", *TESTED) if with_prices else TESTED)
                for entry in report.scored
                if entry.against_best
            ],
            about=f"Every candidate minus {best}, on the same rows.",
            remarks=[" ".join(said.split()) for said in ((_LEGEND, _OF_COST) if with_prices else (_LEGEND,))],
            nothing="There is no other candidate to test.",
        )
    ]


def _row(entry: Entry, tested: Sequence[str]) -> list[Cell]:
    row = [Cell(entry.name), Cell(number(entry.n_only_this)), Cell(number(entry.n_only_best))]
    for name in tested:
        found = (entry.against_best or {}).get(name)
        if name == "cost" and found:
            row.append(Cell(*parts(found.value, is_share=False, signed=True)))
        else:
            row.append(metric(name, found.value if found else None, signed=True))
        row += [Cell(p_value(one)) for one in (found.p_value, found.p_holm)] if found else [NOTHING] * 2
    return row
