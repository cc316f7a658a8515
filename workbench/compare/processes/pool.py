"""Candidates in processes of their own, begun warm: what fails in one, or dies, is one row of the report.

A candidate's libraries take longer to import than many candidates to train. So one process imports them once and forks
a child a candidate (``worker``). Which libraries those are nobody lists: the first candidate of a family says what it
imported, and the next of that family begin with it. Another family gets a process of its own, so that nobody's peak
memory holds what only others need.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from labelwright.errors import LabelwrightError
from workbench.compare.jobs import Job
from workbench.run.identity import ROOT, handed_down
from workbench.tracking.journal import Entry

Say = Callable[[int, int, str], None]
Record = Callable[[Entry], object]


class CandidateFailedError(LabelwrightError, RuntimeError):
    """The process of a candidate ended without its results.

    Parameters
    ----------
    lasting : bool
        Whether the candidate would fail again, as long as packages, code, rows and settings stay: see
        ``lasting.is_lasting``. What was killed, had no memory or no space, or waited in vain is tried again by the next
        comparison.
    """

    def __init__(self, message: str, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class Processes:
    """Runs candidates of one run, one at a time. Use it as a context: no process outlives it.

    Parameters
    ----------
    recipe, run : Path
        The recipe's file and the run's folder.
    identity : mapping of str to str, optional
        What ``handed_down`` of another process said, for which this one works; by default its own.
    """

    def __init__(self, recipe: Path, run: Path, identity: Mapping[str, str] | None = None) -> None:
        self.recipe = recipe
        self.folder = run
        self._identity = identity
        self._process: subprocess.Popen[str] | None = None
        self._family = ""
        # What candidates of a family import, in the order in which they did.
        self._modules: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        jobs: Sequence[Job],
        family: str,
        log: Path,
        say: Say,
        record: Record,
        asks_teacher: bool = False,
        trial: Mapping[str, Any] | None = None,
    ) -> None:
        """Run jobs of one candidate, each kept when done.

        Parameters
        ----------
        family : str
            Candidates of one family import the same libraries.
        log : Path
            Where the libraries' output goes.
        record : callable
            Takes what its stages report, as it comes (``workbench.tracking.entries``).
        asks_teacher : bool
            Only ask whom the jobs learn from, and keep what that says; ``family`` is then the teacher's.
        trial : mapping, optional
            Only try settings on dev: what ``workbench.compare.searched.trials.run_trial`` takes by name.

        Raises
        ------
        CandidateFailedError
            With the candidate's own words where it had any.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        # Candidate and process write to it in turn, each behind what is there.
        with log.open("a", encoding="utf-8") as errors:
            process = self._opened(family, errors)
            asked = {
                "jobs": [asdict(job) for job in jobs],
                "log": str(log.absolute()),
                "modules": self._modules.get(family, []),
                "asks_teacher": asks_teacher,
                "trial": None if trial is None else dict(trial),
            }
            at_work: set[str] = set()
            error, lasting, status = "", False, None
            try:
                with suppress(BrokenPipeError):  # it has ended, and its status says how
                    _open(process.stdin).write(json.dumps(asked) + "\n")
                    _open(process.stdin).flush()
                for said in _said(process, errors):
                    if "progress" in said:
                        say(*said["progress"])
                    elif "record" in said:
                        entry = said["record"]
                        record(entry)
                        if entry["op"] == "status":
                            (at_work.add if entry["status"] == "RUNNING" else at_work.discard)(entry["run"])
                    elif "error" in said:
                        error, lasting = str(said["error"]), bool(said.get("lasting"))
                    elif "modules" in said:
                        self._modules[family] = said["modules"]
                    elif "ended" in said:
                        status = int(said["ended"])
                        if said["is_last"]:
                            process.wait()
                        break
                else:
                    status = process.wait() or 1
            finally:
                if status is None:
                    self.close()
                for key in at_work:
                    record({"op": "status", "run": key, "status": "FAILED"})
        if status < 0:
            killed = " (out of memory?)" if status == -signal.SIGKILL else ""
            raise CandidateFailedError(
                f"its process was ended by signal {-status}{killed}; its output is in {log}", lasting=False
            )
        if status:
            raise CandidateFailedError(
                error or f"its process ended with status {status}; its output is in {log}", lasting
            )

    def _opened(self, family: str, errors: IO[str]) -> subprocess.Popen[str]:
        if self._process is not None and (self._family != family or self._process.poll() is not None):
            self.close()
        if self._process is None:
            identity = handed_down() if self._identity is None else self._identity
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.compare.processes.worker", str(self.recipe), str(self.folder)],
                stdin=subprocess.PIPE,  # it ends when this end is closed, so none outlives a killed comparison
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # The second keeps a look for a GPU from claiming it, after which no child could.
                env={
                    **os.environ,
                    **identity,
                    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
                    "PYTHONPATH": path,
                },
                start_new_session=True,  # so that it can be ended with its children
            )
            self._family = family
        return self._process

    def close(self) -> None:
        """End the process and whatever it began."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    _open(pipe).close()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def _said(process: subprocess.Popen[str], errors: IO[str]) -> Any:
    """Tables that the process says, a line each; whatever else it prints goes to the log."""
    for line in _open(process.stdout):
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            said = None
        if isinstance(said, dict):
            yield said
        else:
            errors.write(line)
