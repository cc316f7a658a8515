"""What is decided with probabilities: how many rows can be answered under a promise, and what mistakes cost."""

from __future__ import annotations

from workbench.compare.board import Entry
from workbench.report.report import Report
from workbench.report.table import CANDIDATE, NOTHING, Cell, Column, Table
from workbench.wording import parts

_PROMISE = (
    "The promise is tested on calib rows that nothing was fitted on (Learn then Test, exact binomial tails), one of "
    "each group. Answered and wrong among them are of the test rows, in brackets 95 % intervals: few answered rows "
    "show little, and the promise is about the rate, not about these."
)
_PRICES = (
    "Mean cost of a test row at the recipe's prices: as decided, as the probabilities expected it, and what always "
    "answering the likeliest label would have cost; in brackets 95 % intervals. Saved is the paired difference."
)


def promises(report: Report) -> list[Table]:
    """What every candidate may answer at the error that the recipe names."""
    entries = [entry for entry in report.scored if entry.promised]
    if not entries:
        return []
    asked = entries[0].promised
    assert asked is not None
    rows = [_promised(entry) for entry in entries]
    title = f"Answering with at most {100 * asked.max_error:g} % error"
    about = f"With {100 * asked.confidence:g} % confidence; below the threshold there is no label, and a person looks."
    why = list(dict.fromkeys(entry.promised.why for entry in entries if entry.promised and entry.promised.why))
    # Where rows are too few, they are so for all.
    remarks = [why[0][0].upper() + why[0][1:] + "."] if len(why) == 1 and len(rows) > 1 else []
    columns = [CANDIDATE, Column("answered %"), Column("wrong among them %"), Column("from a probability of")]
    columns += [Column("calib rows kept apart")]
    return [Table("promises", title, columns, rows, about=about, remarks=[*remarks, _PROMISE], plots=["risk-bound"])]


def prices(report: Report) -> list[Table]:
    """What every candidate's mistakes cost; nothing where the recipe has no ``[costs]``."""
    entries = [entry for entry in report.scored if entry.priced]
    names = {
        "cost": "cost a row",
        "expected_cost": "expected",
        "cost_of_argmax": "likeliest label instead",
        "cost_saved": "saved",
    }
    rows = [
        [
            Cell(entry.name),
            *(Cell(*parts(found, False)) if (found := entry.priced.get(key)) else NOTHING for key in names),
        ]
        for entry in entries
    ]
    columns = [CANDIDATE, *map(Column, names.values())]
    return [Table("prices", "What mistakes cost", columns, rows, remarks=[_PRICES] if rows else [])]


def _promised(entry: Entry) -> list[Cell]:
    found = entry.promised
    assert found is not None
    apart = Cell(str(found.n_apart))
    if found.threshold is None or found.answered is None:
        return [Cell(entry.name), Cell("none", found.why.split(": ", 1)[-1]), NOTHING, NOTHING, apart]
    wrong = Cell(*parts(found.wrong)) if found.wrong else NOTHING
    return [Cell(entry.name), Cell(*parts(found.answered)), wrong, Cell(f"{found.threshold:.3f}"), apart]
