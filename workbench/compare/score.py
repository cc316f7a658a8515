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
from workbench.compare.expected import Expected
from workbench.compare.jobs import Comparison
from workbench.compare.kept.reading import read_candidate
from workbench.compare.processes.pool import CandidateFailedError, Record
from workbench.compare.processes.runner import open_runner
from workbench.compare.processes.work import Listener, Runner, shared_with, work_of
from workbench.compare.searched.search import search
from workbench.progress import Display, duration
from workbench.recipe.tables.compare import MoneyTable
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
        known = expected or Expected(comparison)
        # What is made of others comes when they are done: which of them ran decides whether it is there already. Then
        # who learns from any of these.
        with open_runner(comparison) as runner:
            for kinds in ({"baseline", "llm", "free"}, {"together"}, {"distilled", "synthetic", "searched"}):
                asked = [name for name in names if name not in left_out and comparison.kind(name) in kinds]
                missing = [name for name in comparison.unfinished() if name in asked]
                if missing:
                    _run(comparison, missing, display, record, known, runner)
                n_run += len(missing)
        display.progress(len(names), len(names), f"{len(names)} candidates, {n_run} of them run now")
        found = [read_candidate(comparison, name) for name in names]
    return [replace(one, failed=left_out[one.name]) if one.failed and one.name in left_out else one for one in found]


def _run(
    comparison: Comparison,
    missing: Sequence[str],
    display: Display,
    record: Record,
    expected: Expected,
    runner: Runner,
) -> None:
    begun, took, shares = dict[str, float](), dict[str, float](), dict[str, float]()

    def begins(name: str) -> None:
        begun[name] = time.monotonic()
        display.say(f"  {name}: {about(expected.candidate(name))}")

    def says(name: str, done: int, total: int, message: str) -> None:
        shares[name] = done / total if total else 0.0
        said = f"{name}: {message}" if message else name
        display.progress(round(100 * sum(shares.values())), 100 * len(missing), said)

    def ended(name: str, error: CandidateFailedError | None) -> None:
        shares[name], took[name] = 1.0, time.monotonic() - begun.get(name, time.monotonic())
        if error is not None:
            comparison.keep_failure(name, str(error), error.lasting)
            display.say(f"{name} is left out: {error}")

    listener = Listener(begins, says, record, ended)
    able = []
    for name in missing:
        if comparison.kind(name) != "searched" or comparison.found(name) is not None:
            able.append(name)
            continue
        display.say(f"  {name}: {comparison.recipe.search.trials} trials on dev")
        try:
            search(comparison, name, runner, listener)
            able.append(name)
        except CandidateFailedError as error:
            ended(name, error)
    runner.run(able, lambda name: work_of(comparison, name), listener, shared_with(comparison, able))
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
