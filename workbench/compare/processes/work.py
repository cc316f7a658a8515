"""What is asked of a candidate's process, as plain values, and who runs that: one after another here, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from labelwright.files import read_json
from workbench.compare.distilled.teacher import to_ask
from workbench.compare.jobs import Comparison, Job
from workbench.compare.processes.pool import CandidateFailedError, Processes, Record, Say

# Bytes that a candidate of a kind is expected to hold where none ran here yet: of n-grams, of an encoder that answers,
# of a transformer that is trained or is a language model.
_SMALL, _ENCODER, _LARGE = 2**29, 2**31, 6 * 2**30
# Room over the peak that was measured.
_ROOM = 1.25


class Needs(NamedTuple):
    """What a candidate's process needs of a machine. Locally nobody asks: one runs at a time."""

    cpus: float
    gpus: float
    memory_bytes: int


@dataclass(frozen=True)
class Work:
    """Jobs of one candidate, or a trial of its settings.

    Attributes
    ----------
    jobs : tuple of Job
    family : str
        Candidates of one family import the same libraries.
    log : Path
        Where the libraries' output goes.
    needs : Needs
    teacher : str
        The family of whom the jobs learn from, where that one is to be asked first; empty otherwise.
    trial : mapping, optional
        What ``workbench.compare.searched.trials.run_trial`` takes by name, as plain values; nothing else is done then.
    """

    jobs: tuple[Job, ...]
    family: str
    log: Path
    needs: Needs
    teacher: str = ""
    trial: Mapping[str, Any] | None = None


class Listener(NamedTuple):
    """Who hears of works, by their names.

    Attributes
    ----------
    begins : callable of name
    says : callable of name, done, total and message
    record : callable of entry
        As ``Processes.run``.
    ended : callable of name and error
        The error is None where all went well.
    """

    begins: Callable[[str], object]
    says: Callable[[str, int, int, str], object]
    record: Record
    ended: Callable[[str, CandidateFailedError | None], object]


class Runner(Protocol):
    """Runs works, each to its end, and says how that was. Use it as a context: no process outlives it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...

    def run(
        self,
        names: Sequence[str],
        make: Callable[[str], Work],
        listener: Listener,
        after: Callable[[str], Collection[str]] = lambda name: (),
    ) -> None:
        """Run the works of these names.

        Parameters
        ----------
        make : callable
            Makes a work when its turn comes: what came before it may decide what there is to do.
        after : callable
            The works that one waits for.
        """
        ...


class OneByOne:
    """Runs works one after another in warm processes on this machine."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def __enter__(self) -> Self:
        self._processes.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._processes.__exit__(None, None, None)

    def run(
        self,
        names: Sequence[str],
        make: Callable[[str], Work],
        listener: Listener,
        after: Callable[[str], Collection[str]] = lambda name: (),
    ) -> None:
        """As ``Runner.run``; the order of the names is the order of the works."""
        for name in names:

            def say(done: int, total: int, message: str, name: str = name) -> None:
                listener.says(name, done, total, message)

            listener.begins(name)
            failed = None
            try:
                do(make(name), self._processes, say, listener.record)
            except CandidateFailedError as error:
                failed = error
            listener.ended(name, failed)


def do(work: Work, processes: Processes, say: Say, record: Record) -> None:
    """A work in a process of its own. Raises CandidateFailedError."""
    if work.teacher:
        # In the teacher's process, since what a student's own holds is the student's price.
        processes.run(work.jobs, work.teacher, work.log, say, record, asks_teacher=True)
    if work.trial is None:
        processes.run(work.jobs, work.family, work.log, say, record)
    else:
        processes.run(work.jobs, work.family, work.log, say, record, trial=work.trial)


def work_of(comparison: Comparison, name: str) -> Work:
    """The jobs of a candidate that are not done."""
    jobs = comparison.missing(name)
    teacher, n_rows = to_ask(comparison, jobs[0]) if comparison.kind(name) == "distilled" else ("", 0)
    return Work(
        tuple(jobs),
        comparison.family(name),
        comparison.root / name / "log.txt",
        needs_of(comparison, name),
        comparison.family(teacher) if n_rows else "",
    )


def needs_of(comparison: Comparison, name: str) -> Needs:
    """By what the newest result of a candidate says that it held, under whatever settings; else by its kind."""
    is_small = comparison.family(name) in ("baselines.linear", "baselines.majority")
    is_large = comparison.is_heavy(name) and comparison.kind(name) != "together"
    expected = _SMALL if is_small else _LARGE if is_large else _ENCODER
    # What only asks an encoder shares a GPU with others that do.
    gpus = 0.0 if is_small else 1.0 if is_large else 0.25
    peak = _peak_bytes(comparison, name) or _peak_bytes(comparison, comparison.plain(name))
    return Needs(2.0 if is_large else 1.0, gpus, round(_ROOM * peak) if peak else expected)


def _peak_bytes(comparison: Comparison, name: str) -> int:
    """Of the newest result of a candidate, whatever made it; 0 where there is none."""
    kept = sorted((comparison.root / name).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    peaks = (read_json(path).get("cost", {}).get("peak_memory_bytes") for path in kept)
    return int(next((peak for peak in peaks if peak), 0))


def shared_with(comparison: Comparison, names: Sequence[str]) -> Callable[[str], Collection[str]]:
    """Which works one waits for: those before it that do a stage which it needs too, or ask the teacher that it has.

    Whoever comes second then finds that done.
    """
    keys = {
        name: {step.key for job in comparison.missing(name) for step in comparison.steps(job) if not step.is_done}
        for name in names
    }
    for name in names:
        if comparison.kind(name) == "distilled" and to_ask(comparison, comparison.missing(name)[0])[1]:
            keys[name].add("teacher")

    def after(name: str) -> Collection[str]:
        before = names[: list(names).index(name)]
        return [other for other in before if keys[other] & keys[name]]

    return after
