"""Shards answered by Ray Data: a pool of actors, each with a model of its own, on a laptop or on a cluster.

The only file of this room that imports Ray. Ray places the actors, hands each as much as it can take, starts another
one where a node dies, and gives it the shard; the manifest and the parts are the same as without.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import labelwright
from labelwright.bulk.answering import Answerer
from labelwright.bulk.needs import Asked, Machine, Needs, this_machine
from labelwright.bulk.shards import Shard, in_turn
from labelwright.errors import DataError, MissingExtraError, ModelError, one_line

# Waiting beside the one in hand, so that no worker waits for the next.
_IN_FLIGHT = 2
# Shared memory of a cluster on this machine: what passes through it is shards and counts.
_STORE_BYTES = 100 * 2**20


class RayAnswerer:
    """The ``Answerer`` of an actor, as Ray Data calls it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._answerer = Answerer(settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """One shard in, what became of it out, both as JSON: tables have no place for a value that is none."""
        return {"result": [json.dumps(self._answerer.answer(json.loads(shard))) for shard in batch["shard"]]}


def answered(
    shards: Sequence[Shard], settings: Mapping[str, Any], asked: Asked, address: str = ""
) -> Generator[dict[str, Any], None, None]:
    """What becomes of each shard, as ``labelwright.bulk.answering.Answerer.answer`` says it, in any order.

    Parameters
    ----------
    address : str
        Of a cluster; without it, and without RAY_ADDRESS, one is started here for as long as this takes.

    Raises
    ------
    MissingExtraError
        Without Ray.
    DataError
        No such cluster, none that has what a worker needs, or fewer GPUs than workers that take one.
    ModelError
        Actors that die, time after time; or "cuda" is asked for, and this machine, where it is the cluster, has none.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    ray = _imported(is_local=not address)
    is_here = not address and not ray.is_initialized()  # who calls from Python may have a cluster at hand
    own = asked.on([this_machine(asked.device)]) if is_here else None
    with _connected(ray, address, own):
        nodes = _nodes(ray)
        needs, n_workers = own or asked.on(nodes)
        _refuse_too_little(nodes, needs)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # Memory is declared; every second each worker would count its pages, in the time of its rows.
        context.memory_usage_poll_interval_s = None
        waiting = [{"shard": json.dumps(shard.as_json())} for shard in in_turn(shards)]
        pool = ray.data.ActorPoolStrategy(size=min(n_workers, len(shards)), max_tasks_in_flight_per_actor=_IN_FLIGHT)
        results = ray.data.from_items(waiting, override_num_blocks=len(waiting)).map_batches(
            RayAnswerer,
            fn_constructor_args=({**settings, "run": uuid.uuid4().hex},),
            batch_size=1,
            compute=pool,
            num_cpus=needs.n_threads,
            num_gpus=needs.n_gpus,
            memory=needs.memory_bytes,
        )
        try:
            for row in results.iter_rows():
                yield json.loads(row["result"])
        except ray.exceptions.RayError as error:
            raise ModelError(
                f"Ray gave up ({_cause(error)}); what is answered is kept, the same command goes on with the rest"
            ) from error


def _imported(is_local: bool) -> Any:
    """Ray, which reads these settings when it is imported; it tells nobody that it is used."""
    keep_to_itself(is_local)
    # What concerns who typed the command arrives as an exception.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError(f'--engine ray needs Ray ({error}): pip install "labelwright[ray]"') from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _cause(error: BaseException) -> str:
    """What an exception of another process is about, in a line without its traceback, its colours and Ray's hints."""
    while isinstance(cause := getattr(error, "cause", None) or error.__cause__, BaseException):
        error = cause
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    # A traceback ends with what was raised; what Ray says of a worker or a node begins with what became of it.
    is_traceback = any(line.startswith(("Traceback", 'File "')) for line in lines)
    return lines[-1 if is_traceback else 0][:300] if lines else type(error).__name__


@contextlib.contextmanager
def _connected(ray: Any, address: str, own: tuple[Needs, int] | None) -> Iterator[None]:
    """A cluster for as long as this takes: the one at hand or at an address, or one of this machine's own.

    ``own`` is of the last: what a worker needs, and how many there are.
    """
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "labelwright"}
    how: dict[str, Any] = {"address": address}
    if own is not None:
        needs, n_workers = own
        how = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": n_workers * needs.n_threads,
            "num_gpus": n_workers * needs.n_gpus,
            "object_store_memory": _STORE_BYTES,
        }
    # Workers look for modules where this one was when it connected: where the house lies, never among somebody's rows.
    here = os.getcwd()
    try:
        os.chdir(Path(labelwright.__file__).parents[1])
        ray.init(**quiet, **how)
    except Exception as error:  # Ray raises that itself, where a node does not start in time
        said = f"the cluster at {address}" if address else "a cluster on this machine"
        raise DataError(
            f"--engine ray: {said} does not answer ({one_line(error)}); `ray start --head` gives one more time than a "
            f"busy machine has here: name it by --ray-address"
        ) from error
    finally:
        os.chdir(here)
    try:
        if not address and (others := heard_elsewhere(ray)):
            raise DataError(
                f"--engine ray: the cluster of this machine listens to others, at {', '.join(others)}; begin one "
                f"yourself with `ray start`, and name it by --ray-address"
            )
        yield
    finally:
        ray.shutdown()


def keep_to_itself(is_local: bool) -> None:
    """Have a Ray that is imported from now on tell nobody that it is used, whatever the shell says.

    Parameters
    ----------
    is_local : bool
        A cluster of this machine's own: its processes listen at 127.0.0.1 alone, as on systems whose firewalls ask.
    """
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0"})
    if is_local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def heard_elsewhere(ray: Any) -> list[str]:
    """Addresses of a cluster's nodes that others than this machine reach; Ray's ports run code for whoever does."""
    return sorted({one["NodeManagerAddress"] for one in ray.nodes()} - {"127.0.0.1", "::1"})


def _nodes(ray: Any) -> list[Machine]:
    """What each node has that lives."""
    had = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    return [Machine(int(one.get("CPU", 0)), int(one.get("GPU", 0)), one.get("memory", 0)) for one in had]


def _refuse_too_little(nodes: Sequence[Machine], needs: Needs) -> None:
    """Raise DataError where no node has what a worker needs: Ray would wait for one."""
    if not any(map(needs.fitting, nodes)):
        raise DataError(
            f"--engine ray: a worker needs {needs.n_threads} CPUs, {needs.n_gpus} GPUs and "
            f"{needs.memory_bytes / 2**30:.1f} GiB, and none of the {len(nodes)} nodes has all of that; change "
            f"--threads, --worker-memory or --device"
        )
