"""Every candidate on the test split: runs those whose results are not there yet, each in a process of its own.

The only module that reads ``splits.test``, in one function. A candidate that cannot run is a row that says why.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType

from labelwright.data.task import Example, Splits
from labelwright.files import short_hash
from workbench.budget import about
from workbench.compare.board import FORMAT
from workbench.compare.candidate import Candidate
from workbench.compare.distilled.teacher import to_ask
from workbench.compare.expected import Expected
from workbench.compare.jobs import Comparison
from workbench.compare.kept.reading import read_candidate
from workbench.compare.processes.pool import CandidateFailedError, Processes, Record
from workbench.progress import Display, duration
from workbench.recipe.recipe import MoneyTable
from workbench.run.folder import locked


def read_test(splits: Splits) -> tuple[Example, ...]:
    """The test rows. Nothing else in the house reads them."""
    return splits.test


def score_candidates(
    comparison: Comparison,
    display: Display,
    record: Record = lambda entry: None,
    forget: Sequence[str] = (),
    names: Sequence[str] | None = None,
    left_out: Mapping[str, str] = MappingProxyType({}),
    expected: Expected | None = None,
) -> list[Candidate]:
    """Every candidate of the comparison, cheapest kind first; those kept from earlier comparisons are read.

    Parameters
    ----------
    record : callable
        Takes what stages report while they run, for the tracking store.
    forget : sequence of str
        Candidates that are done again, though their results are kept.
    names : sequence of str, optional
        These candidates alone.
    left_out : mapping of str to str
        Candidates that are not run now, and why; one whose results are kept is read nevertheless.
    expected : Expected, optional
        What knows how long they take, where something has looked before.

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
        names = comparison.names if names is None else names
        n_run = 0
        # What is made of others comes when they are done: which of them ran decides whether it is there already. Then
        # who learns from any of these.
        for kinds in ({"baseline", "llm", "free"}, {"together"}, {"distilled", "synthetic"}):
            asked = [name for name in names if name not in left_out and comparison.kind(name) in kinds]
            missing = [name for name in comparison.unfinished() if name in asked]
            _run(comparison, missing, display, record, expected or Expected(comparison))
            n_run += len(missing)
        display.progress(len(names), len(names), f"{len(names)} candidates, {n_run} of them run now")
        found = [read_candidate(comparison, name) for name in names]
    return [replace(one, failed=left_out[one.name]) if one.failed and one.name in left_out else one for one in found]


def _run(comparison: Comparison, missing: Sequence[str], display: Display, record: Record, expected: Expected) -> None:
    took = {}
    with Processes(comparison.recipe.path, comparison.folder.path) as processes:
        for number, name in enumerate(missing):

            def say(done: int, total: int, message: str, number: int = number, name: str = name) -> None:
                share = done / total if total else 0.0
                display.progress(
                    round(100 * (number + share)), 100 * len(missing), f"{name}: {message}" if message else name
                )

            display.say(f"  {name}: {about(expected.candidate(name))}")
            log, begun = comparison.root / name / "log.txt", time.monotonic()
            try:
                jobs = comparison.missing(name)
                teacher, n_rows = to_ask(comparison, jobs[0]) if comparison.kind(name) == "distilled" else ("", 0)
                if n_rows:
                    # In the teacher's process, since what a student's own holds is the student's price.
                    processes.run(jobs, comparison.family(teacher), log, say, record, asks_teacher=True)
                processes.run(jobs, comparison.family(name), log, say, record)
            except CandidateFailedError as error:
                comparison.keep_failure(name, str(error), error.lasting)
                display.say(f"{name} is left out: {error}")
            took[name] = time.monotonic() - begun
    if len(took) > 1:
        most = sorted(took, key=took.__getitem__, reverse=True)
        spent = ", ".join(f"{name} {duration(took[name])}" for name in most)
        display.say(f"  {len(took)} candidates took {duration(sum(took.values()))}: {spent}")


def signature(comparison: Comparison, left_out: Iterable[str] = ()) -> str:
    """A hash of all that the comparison depends on; the same one means that nothing is to be done.

    Parameters
    ----------
    left_out : iterable of str
        Candidates that are not run.
    """
    keys = [comparison.key(job) for name in comparison.names for job in comparison.jobs(name)]
    table, money = comparison.recipe.compare, comparison.recipe.money
    told = [] if money == MoneyTable() else [asdict(money)]
    return short_hash([FORMAT, keys, table.bootstrap, table.margin, *told, *sorted(left_out)])
