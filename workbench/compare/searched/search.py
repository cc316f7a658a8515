"""A search: rounds of trials on dev, each a work as candidates' jobs are, and the settings that won.

Replayed from the beginning whenever it is called: trials that are kept are read, so a killed search goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelwright.errors import LabelwrightError
from workbench.compare.jobs import Comparison
from workbench.compare.processes.pool import CandidateFailedError
from workbench.compare.processes.work import Listener, Runner, Work, needs_of
from workbench.compare.searched.choosing import Earlier, all_tried, best_of, earlier_of, outcome
from workbench.compare.searched.found import Searched, Trial, read_steps, write_found
from workbench.compare.searched.study import Study
from workbench.compare.searched.trials import trial_place
from workbench.recipe.tables.search import check_space


def search(comparison: Comparison, name: str, runner: Runner, listener: Listener) -> Searched:
    """Search the settings of a ``searched-NAME`` candidate; what was found is kept and returned.

    Parameters
    ----------
    listener : Listener
        Hears of the candidate's progress and records; not of single trials' ends.

    Raises
    ------
    CandidateFailedError
        Every trial failed, which lasts; or one ended in what is no fact about its settings: it was killed, did not find
        its memory or its model. The next comparison goes on with it.
    """
    table, plain, place = comparison.recipe.search, comparison.searched[name], comparison.search_place(name)
    space = check_space(table, plain)
    try:
        study = Study(space, comparison.recipe.seed, place.with_suffix(".journal"))
    except LabelwrightError as error:
        raise CandidateFailedError(str(error)) from error
    told = _Told(comparison, name, runner, listener, table.trials + 1)
    (as_it_is,) = told.tried([{}], None)

    def tried(asked: list[dict[str, Any]], before: Sequence[Trial]) -> list[Trial]:
        return told.tried(asked, earlier_of(before, table.by) if table.pruning else None)

    trials = all_tried(study, table.trials, table.at_once, table.by, tried)
    best = best_of(trials, table.by)
    if best is None:
        # Nobody is given up before some have run to their end.
        raise CandidateFailedError(f"every trial of its search failed; the first said: {trials[0].failed}")
    n_dev = len(comparison.splits_of(comparison.jobs(name)[0]).dev)
    searched = Searched(table.by, {key: one.told for key, one in space.items()}, as_it_is, trials, best, n_dev)
    write_found(place, searched)
    return searched


class _Told:
    """Runs trials that are not kept, and counts them all."""

    def __init__(self, comparison: Comparison, name: str, runner: Runner, listener: Listener, n_trials: int) -> None:
        self._comparison = comparison
        self._name = name
        self._runner = runner
        self._listener = listener
        self._n_trials = n_trials
        self._n_done = 0

    def tried(self, asked: list[dict[str, Any]], earlier: Earlier | None) -> list[Trial]:
        """These settings, tried; a trial that was tried before is read."""
        by, name = self._comparison.recipe.search.by, self._name
        places = {f"{name} {number}": trial_place(self._comparison, name, one, earlier)
                  for number, one in enumerate(asked)}  # fmt: skip
        by_name = dict(zip(places, asked, strict=True))
        # The same settings, drawn twice, are one trial. One that was given up is not where other trials came before.
        missing = {place: one for one, place in places.items() if outcome(read_steps(place), by, earlier) is None}
        failed: list[CandidateFailedError] = []

        def ended(one: str, error: CandidateFailedError | None) -> None:
            failed.extend([error] if error else [])

        def says(one: str, done: int, total: int, message: str) -> None:
            what = f"trial {min(self._n_done, self._n_trials - 1)} of {self._n_trials - 1}"
            self._listener.says(self._name, self._n_done, self._n_trials, f"{what} on dev")

        listener = Listener(lambda one: says(one, 0, 0, ""), says, self._listener.record, ended)
        trials = {one: {"settings": settings, "earlier": earlier} for one, settings in by_name.items()}
        self._runner.run(list(missing.values()), lambda one: self._work(one, trials[one]), listener)
        if failed:
            raise failed[0]
        self._n_done += len(asked)
        found = [outcome(read_steps(place), by, earlier) for place in places.values()]
        if None in found:
            raise CandidateFailedError("a trial of its search left nothing; its output is in its log", lasting=False)
        return [trial for trial in found if trial is not None]

    def _work(self, one: str, trial: dict[str, Any]) -> Work:
        comparison = self._comparison
        number = one.rpartition(" ")[2]
        # Trials that run at once have a log each.
        log = comparison.root / self._name / f"trial-{number}.txt"
        main = comparison.jobs(self._name)[0]
        return Work((main,), comparison.family(self._name), log, needs_of(comparison, self._name), trial=trial)
