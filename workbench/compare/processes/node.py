"""A work on the machine that it was given to: runs beside a cluster's worker, and hands on what its process says.

Knows nothing of the cluster that called it (``cluster``); what it takes and gives are plain values.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labelwright.errors import LabelwrightError
from labelwright.models.gpus import VISIBLE
from workbench.compare.jobs import Job
from workbench.compare.processes.pool import CandidateFailedError, Processes
from workbench.compare.processes.work import Needs, Work, do
from workbench.run.identity import environment, handed_down

# What says how many threads libraries take: a cluster sets it, and sums of another number of threads differ in their
# last digits.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# Warm processes of this worker, by what they were begun with; they end with it.
_OPEN: dict[tuple[str, ...], Processes] = {}


def asked_of_node(work: Work, recipe: Path, run: Path) -> dict[str, Any]:
    """What ``answer`` takes: a work, and under which circumstances it would be done here."""
    return {
        "folder": str(Path.cwd()),
        "recipe": str(recipe),
        "run": str(run),
        "environment": environment(),
        "identity": handed_down(),
        "threads": {name: os.environ.get(name) for name in _THREADS},
        "work": {
            "jobs": [vars(job) for job in work.jobs],
            "family": work.family,
            "log": str(work.log),
            "teacher": work.teacher,
            "trial": None if work.trial is None else dict(work.trial),
        },
    }


def answer(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Do a work, and say what its process says; last ``ended``, with the error, empty where all went well."""
    try:
        processes = _opened(asked)
    except (LabelwrightError, OSError) as error:
        yield {"ended": f"{socket.gethostname()}: {error}", "lasting": False}
        return
    given, said = asked["work"], queue.SimpleQueue[dict[str, Any]]()
    jobs, nothing = tuple(Job(**job) for job in given["jobs"]), Needs(0, 0, 0)
    work = Work(jobs, given["family"], Path(given["log"]), nothing, given["teacher"], given["trial"])

    def run() -> None:
        try:
            do(work, processes, lambda *told: said.put({"progress": told}), lambda entry: said.put({"record": entry}))
            said.put({"ended": ""})
        except CandidateFailedError as error:
            said.put({"ended": str(error), "lasting": error.lasting})
        except BaseException as error:  # whatever it is, the comparison goes on
            said.put({"ended": f"{type(error).__name__}: {error}", "lasting": False})

    threading.Thread(target=run, daemon=True).start()
    while True:
        one = said.get()
        yield one
        if "ended" in one:
            return


def _opened(asked: Mapping[str, Any]) -> Processes:
    """Warm processes for a run, in its folder; others that this worker had are closed.

    Raises
    ------
    LabelwrightError
        The run's folder is not to be seen here, or other packages are installed than where the comparison is.
    OSError
        Nor the current folder.
    """
    os.chdir(asked["folder"])
    if not (Path(asked["run"]) / "state.json").is_file():
        raise LabelwrightError(
            f"{Path(asked['run']).absolute()} is not here: expected a folder that all machines share, at one path"
        )
    if environment() != asked["environment"]:
        raise LabelwrightError("other packages are installed here than where the comparison began: install the same")
    for name, value in asked["threads"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    key = (asked["folder"], asked["recipe"], asked["run"], os.environ.get(VISIBLE, ""))
    if key not in _OPEN:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _OPEN[key] = Processes(Path(asked["recipe"]), Path(asked["run"]), asked["identity"])
    return _OPEN[key]
