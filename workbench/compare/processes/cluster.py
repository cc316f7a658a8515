"""Works as tasks of Ray, several at once: on this machine alone, or on a cluster that is there. The only import of Ray.

A work is one task; what it needs of a machine is declared, so Ray decides what runs beside what. What its process says
comes back as a stream, so progress, records and failures are told here as of a work that runs here. Results do not come
back: they lie on the path that all machines share, each under a hash of what made it. So a task that is killed loses
what it had in hand, and one that runs twice writes the same again.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from labelwright.bulk.on_ray import heard_elsewhere, keep_to_itself
from labelwright.errors import LabelwrightError, MissingExtraError
from workbench.compare.processes.node import asked_of_node
from workbench.compare.processes.pool import CandidateFailedError
from workbench.compare.processes.work import Listener, Needs, Work
from workbench.run.identity import ROOT

# So often a work is begun, each time on another machine where there is one, with twice the memory.
MOST_TRIES = 3
# Only words travel, so Ray's store of objects needs no more than it must have.
_STORE_BYTES = 100 * 2**20
# So often a cluster of this machine is begun where it does not come up.
_MOST_BEGINNINGS = 3
# How long a look at all tasks waits for one to say something, so that a command can be interrupted meanwhile.
_LOOK_S = 1.0


@dataclass
class _Task:
    """A work under way."""

    name: str
    asked: dict[str, Any]
    needs: Needs
    words: Any = None
    node: str = ""
    n_tries: int = 0
    avoided: set[str] = field(default_factory=set)
    at_work: set[str] = field(default_factory=set)


class Cluster:
    """Runs works as Ray tasks. Begins when there is something to run, and ends with its context.

    Parameters
    ----------
    recipe, run : Path
        The recipe's file and the run's folder.
    address : str
        Of a cluster; empty: RAY_ADDRESS, or a cluster of this machine alone, which only this machine can reach.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    """

    def __init__(self, recipe: Path, run: Path, address: str = "") -> None:
        self._recipe = recipe
        self._run_folder = run
        self._address = address or os.environ.get("RAY_ADDRESS", "")
        self._is_ours = False
        self._ray = _import_ray(is_local=not self._address)
        self._remote: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours, self._remote = False, None

    def run(
        self,
        names: Sequence[str],
        make: Callable[[str], Work],
        listener: Listener,
        after: Callable[[str], Collection[str]] = lambda name: (),
    ) -> None:
        """As ``workbench.compare.processes.work.Runner.run``.

        Raises
        ------
        LabelwrightError
            No cluster answers at the address.
        """
        if names:
            self._open()
        waiting, running = list(names), list[_Task]()
        try:
            while waiting or running:
                left = {*waiting, *(task.name for task in running)}
                for name in [name for name in waiting if not left & set(after(name))]:
                    waiting.remove(name)
                    work = make(name)
                    asked = asked_of_node(work, self._recipe, self._run_folder)
                    running.append(_Task(name, asked, self._fitting(work.needs)))
                    self._begin(running[-1])
                if not running:
                    raise AssertionError(f"{', '.join(waiting)} wait for each other")
                self._listen(running, listener)
        finally:
            for task in running:
                self._ray.cancel(task.words, force=True)

    def _open(self) -> None:
        if self._remote is not None:
            return
        ray = self._ray
        if not ray.is_initialized():
            quiet = {"log_to_driver": False, "configure_logging": False}
            logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
            if not self._address:
                _begin_here(ray, quiet)
            else:
                try:
                    ray.init(address=self._address, **quiet)
                except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                    raise LabelwrightError(
                        f'[compare] engine = "ray": {self._address} does not answer ({_first_line(error)}): begin a '
                        "cluster with `ray start`, correct [compare] address or RAY_ADDRESS, or take both out"
                    ) from error
            self._is_ours = True

        root, module = str(ROOT), asked_of_node.__module__

        def candidate(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
            # Defined here, it travels as it stands, and a machine finds the house before it imports anything of it.
            import ray

            if root not in sys.path:
                sys.path.insert(0, root)
            yield {"node": ray.get_runtime_context().get_node_id()}
            yield from importlib.import_module(module).answer(asked)

        self._remote = ray.remote(max_retries=0, num_returns="streaming")(candidate)

    def _begin(self, task: _Task) -> None:
        """Begin a task, elsewhere than where it failed where some other machine has what it needs."""
        options: dict[str, Any] = {
            "num_cpus": task.needs.cpus,
            "num_gpus": task.needs.gpus,
            "memory": task.needs.memory_bytes,
        }
        if task.avoided and (others := self._able(task.needs, task.avoided)):
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(others[0]["NodeID"], soft=True)
        task.n_tries += 1
        task.node = ""
        task.words = self._remote.options(**options).remote(task.asked)

    def _listen(self, running: list[_Task], listener: Listener) -> None:
        """Hand on what one of the tasks says, if any does; end, or begin again, those that are through."""
        ready, _ = self._ray.wait([task.words for task in running], timeout=_LOOK_S)
        for task in [task for task in running if task.words in ready]:
            try:
                said = self._ray.get(next(task.words))
            except (StopIteration, self._ray.exceptions.RayError) as error:
                said = {"ended": _in_a_line(error), "lasting": False}
            if "node" in said:
                task.node = said["node"]
                if task.n_tries == 1:
                    listener.begins(task.name)
            elif "progress" in said:
                listener.says(task.name, *said["progress"])
            elif "record" in said:
                listener.record(said["record"])
                _follow(task, said["record"])
            elif "ended" in said:
                self._end(task, said, running, listener)

    def _end(self, task: _Task, said: Mapping[str, Any], running: list[_Task], listener: Listener) -> None:
        # A worker that was killed could not say that what it had begun is over.
        for key in sorted(task.at_work):
            listener.record({"op": "status", "run": key, "status": "FAILED"})
        task.at_work.clear()
        error, lasting = str(said["ended"]), bool(said.get("lasting"))
        if error and not lasting and task.n_tries < MOST_TRIES:
            task.avoided |= {task.node} - {""}
            task.needs = self._fitting(task.needs._replace(memory_bytes=2 * task.needs.memory_bytes))
            self._begin(task)
            return
        running.remove(task)
        tries = f" (tried {task.n_tries} times)" if task.n_tries > 1 else ""
        listener.ended(task.name, CandidateFailedError(error + tries, lasting) if error else None)

    def _able(self, needs: Needs, avoided: Collection[str] = ()) -> list[Mapping[str, Any]]:
        """Machines of the cluster that have what a work needs, in all."""
        alive = [one for one in self._ray.nodes() if one["Alive"] and one["NodeID"] not in avoided]
        return [one for one in alive if all(_has(one, key) >= wanted for key, wanted in _wanted(needs).items())]

    def _fitting(self, needs: Needs) -> Needs:
        """What can be had: where no machine has all, as much as the one with the most memory; no GPU where is none."""
        alive = [one for one in self._ray.nodes() if one["Alive"]]
        if not any(_has(one, "GPU") for one in alive):
            needs = needs._replace(gpus=0.0)
        if not alive or self._able(needs):
            return needs
        largest = max(alive, key=lambda one: (_has(one, "GPU") >= needs.gpus, _has(one, "memory")))
        return Needs(
            min(needs.cpus, _has(largest, "CPU")),
            min(needs.gpus, _has(largest, "GPU")),
            min(needs.memory_bytes, int(_has(largest, "memory"))),
        )


def _begin_here(ray: Any, quiet: Mapping[str, Any]) -> None:
    """Begin a cluster of this machine; again where the machine was too busy for Ray, which waits half a minute.

    Raises
    ------
    LabelwrightError
        It does not begin, or could be reached from elsewhere.
    """
    import psutil

    here = {"include_dashboard": False, "object_store_memory": _STORE_BYTES, "num_cpus": os.cpu_count()}
    mine = psutil.Process()
    before = set(mine.children(recursive=True))
    for number in range(_MOST_BEGINNINGS):
        try:
            ray.init(address="local", **here, **quiet)
            break
        except Exception as error:  # Ray raises that, and nothing narrower
            ray.shutdown()
            for process in set(mine.children(recursive=True)) - before:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if number + 1 == _MOST_BEGINNINGS:
                raise LabelwrightError(
                    f'[compare] engine = "ray": Ray does not begin on this machine ({_first_line(error)}): try again '
                    'when it is less busy, or set engine = "local"'
                ) from error
    if others := heard_elsewhere(ray):
        ray.shutdown()
        raise LabelwrightError(
            f"the cluster of this machine listens to others, at {', '.join(others)}: begin one yourself with `ray "
            "start`, and set [compare] address"
        )


def _wanted(needs: Needs) -> dict[str, float]:
    return {"CPU": needs.cpus, "GPU": needs.gpus, "memory": needs.memory_bytes}


def _has(node: Mapping[str, Any], key: str) -> float:
    return float(node["Resources"].get(key, 0.0))


def _follow(task: _Task, entry: Mapping[str, Any]) -> None:
    """Which runs of the tracking store a task has open."""
    if entry.get("op") == "status":
        (task.at_work.add if entry["status"] == "RUNNING" else task.at_work.discard)(str(entry["run"]))


def _in_a_line(error: BaseException) -> str:
    """What Ray says of a task that could not say it itself."""
    if isinstance(error, StopIteration):
        return "its task ended without a word"
    return f"its worker was lost: {type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _import_ray(is_local: bool) -> Any:
    """Ray, with what it would say on the terminal and send home switched off.

    What its own variables of the environment say it reads when it is imported, which somebody may have done before.
    """
    keep_to_itself(is_local)
    said = {"RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}
    if is_local:
        # Candidates are timed as they would be without it, not behind everything else that runs.
        said |= {"RAY_worker_niceness": "0"}
    for name, value in said.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
        from ray._private import ray_constants, worker
    except ImportError as error:
        raise MissingExtraError('[compare] engine = "ray" needs Ray: pip install "labelwright[ray]"') from error
    if is_local:
        ray_constants.ENABLE_RAY_CLUSTER = False
    for stream in (worker.stdout_deduplicator, worker.stderr_deduplicator):
        stream.skip_re = re.compile(".*")
    return ray
