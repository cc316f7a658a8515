"""Every candidate on the test split: runs those whose results are not there yet, each in a process of its own.

The only module that reads ``splits.test``, in one function. A candidate that cannot run is a row that says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from labelwright.data.task import Example, Splits
from labelwright.files import short_hash
from workbench.compare.board import FORMAT
from workbench.compare.candidate import Candidate
from workbench.compare.jobs import Comparison
from workbench.compare.processes.pool import CandidateFailedError, Processes, Record
from workbench.progress import Display
from workbench.run.folder import locked


def read_test(splits: Splits) -> tuple[Example, ...]:
    """The test rows. Nothing else in the house reads them."""
    return splits.test


def score_candidates(
    comparison: Comparison,
    display: Display,
    record: Record = lambda entry: None,
    forget: Sequence[str] = (),
) -> list[Candidate]:
    """Every candidate of the comparison, cheapest kind first; those kept from earlier comparisons are read.

    Parameters
    ----------
    record : callable
        Takes what stages report while they run, for the tracking store.
    forget : sequence of str
        Candidates that are done again, though their results are kept.

    Raises
    ------
    RunBusyError
        If another process scores candidates of the same recipe, of which runs share the results.
    """
    comparison.root.mkdir(parents=True, exist_ok=True)
    with locked(comparison.root):
        # Not before: who is refused has forgotten nothing of the comparison that is at work.
        for name in forget:
            comparison.forget(name)
        return _score_candidates(comparison, display, record)


def _score_candidates(comparison: Comparison, display: Display, record: Record) -> list[Candidate]:
    names, missing = comparison.names, comparison.unfinished()
    with Processes(comparison.recipe.path, comparison.folder.path) as processes:
        for number, name in enumerate(missing):

            def say(done: int, total: int, message: str, number: int = number, name: str = name) -> None:
                share = done / total if total else 0.0
                display.progress(
                    round(100 * (number + share)), 100 * len(missing), f"{name}: {message}" if message else name
                )

            log = comparison.root / name / "log.txt"
            try:
                processes.run(comparison.missing(name), comparison.family(name), log, say, record)
            except CandidateFailedError as error:
                comparison.keep_failure(name, str(error), error.lasting)
                display.say(f"{name} is left out: {error}")
    display.progress(len(names), len(names), f"{len(names)} candidates, {len(missing)} of them run now")
    return [comparison.candidate(name) for name in names]


def signature(comparison: Comparison) -> str:
    """A hash of all that the comparison depends on; the same one means that nothing is to be done."""
    keys = [comparison.key(job) for name in comparison.names for job in comparison.jobs(name)]
    table = comparison.recipe.compare
    return short_hash([FORMAT, keys, table.bootstrap, table.margin])
