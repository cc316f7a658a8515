"""Every rung on the test split: runs those whose results are not there yet, each in a process of its own.

The only module that reads ``splits.test``, in one function. A rung that cannot run is a row that says why.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelwright.data.task import Example, Splits
from workbench.compare import ladder as ladders
from workbench.compare.candidate import Rung
from workbench.compare.ladder import Ladder, RungFailedError
from workbench.progress import Display
from workbench.run.folder import locked
from workbench.run.identity import short_hash


def read_test(splits: Splits) -> tuple[Example, ...]:
    """The test rows. Nothing else in the house reads them."""
    return splits.test


def warnings_of_test(splits: Splits, names: Sequence[str]) -> tuple[str, ...]:
    """What the report will have to say of the test rows' labels, before anything was run for it."""
    from workbench.compare.verdict import cautions

    rows = read_test(splits)
    return cautions(np.array([names.index(str(row.label)) for row in rows]), names) if rows else ()


def score_rungs(ladder: Ladder, display: Display) -> list[Rung]:
    """Every rung of the ladder, cheapest kind first; those kept from earlier comparisons are read.

    Raises
    ------
    RunBusyError
        If another process scores rungs of the same recipe, of which runs share the results.
    """
    ladder.root.mkdir(parents=True, exist_ok=True)
    with locked(ladder.root):
        return _score_rungs(ladder, display)


def _score_rungs(ladder: Ladder, display: Display) -> list[Rung]:
    names, missing = ladder.names, ladder.unfinished()
    for number, name in enumerate(missing):

        def say(done: int, total: int, message: str, number: int = number, name: str = name) -> None:
            share = done / total if total else 0.0
            display.progress(
                round(100 * (number + share)), 100 * len(missing), f"{name}: {message}" if message else name
            )

        log = ladder.root / name / "log.txt"
        try:
            ladders.run_rung(ladder.recipe.path, ladder.folder.path, name, log, say)
        except RungFailedError as error:
            ladder.keep_failure(name, str(error), error.lasting)
            display.say(f"{name} is left out: {error}")
    display.progress(len(names), len(names), f"{len(names)} rungs, {len(missing)} of them run now")
    return [ladder.rung(name) for name in names]


def signature(ladder: Ladder) -> str:
    """A hash of all that the comparison depends on; the same one means that nothing is to be done."""
    from workbench.report.document import FORMAT

    keys = [ladder.key(job) for name in ladder.names for job in ladder.jobs(name)]
    table = ladder.recipe.compare
    return short_hash([FORMAT, keys, table.bootstrap, table.margin])
