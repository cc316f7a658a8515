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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labelwright
from labelwright.bulk.answering import Answerer
from labelwright.bulk.shards import Shard, in_turn
from labelwright.errors import DataError, MissingExtraError, ModelError, one_line

# Waiting beside the one in hand, so that no worker waits for the next.
_IN_FLIGHT = 2
# Shared memory of a cluster on this machine: what passes through it is shards and counts.
_STORE_BYTES = 100 * 2**20


@dataclass(frozen=True)
class Needs:
    """What is declared of a worker.

    Attributes
    ----------
    n_threads : int
        CPUs.
    n_gpus : int
    memory_bytes : int
    """

    n_threads: int = 1
    n_gpus: int = 0
    memory_bytes: int = 2**30


class RayAnswerer:
    """The ``Answerer`` of an actor, as Ray Data calls it."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._answerer = Answerer(settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """One shard in, what became of it out, both as JSON: tables have no place for a value that is none."""
        return {"result": [json.dumps(self._answerer.answer(json.loads(shard))) for shard in batch["shard"]]}


def answered(
    shards: Sequence[Shard], settings: Mapping[str, Any], n_workers: int | None, needs: Needs, address: str = ""
) -> Generator[dict[str, Any], None, None]:
    """What becomes of each shard, as ``labelwright.bulk.answering.Answerer.answer`` says it, in any order.

    Parameters
    ----------
    n_workers : int, optional
        As many as there are CPUs for, unless given.
    address : str
        Of a cluster; without it, and without RAY_ADDRESS, one is started here for as long as this takes.

    Raises
    ------
    MissingExtraError
        Without Ray.
    DataError
        No such cluster, or none that has what a worker needs.
    ModelError
        Actors that die, time after time.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    ray = _imported(is_local=not address)
    if n_workers is None and not address:
        n_workers = max(1, (os.cpu_count() or 1) // needs.n_threads)
    with _connected(ray, address, n_workers, needs):
        n_workers = n_workers or _as_many_as_fit(ray, needs)
        _refuse_too_little(ray, needs)
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
def _connected(ray: Any, address: str, n_workers: int | None, needs: Needs) -> Iterator[None]:
    """A cluster for as long as this takes: the one at an address, or one of this machine's own."""
    if ray.is_initialized():  # who calls from Python may have a cluster at hand
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "labelwright"}
    own = {
        "address": "local",
        "include_dashboard": False,
        "num_cpus": (n_workers or 1) * needs.n_threads,
        "object_store_memory": _STORE_BYTES,
    }
    # Workers look for modules where this one was when it connected: where the house lies, never among somebody's rows.
    here = os.getcwd()
    try:
        os.chdir(Path(labelwright.__file__).parents[1])
        ray.init(**quiet, **({"address": address} if address else own))
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


def _as_many_as_fit(ray: Any, needs: Needs) -> int:
    """Workers that the nodes have CPUs for."""
    cpus = (one["Resources"].get("CPU", 0) for one in ray.nodes() if one["Alive"])
    return max(1, sum(int(n // needs.n_threads) for n in cpus))


def _refuse_too_little(ray: Any, needs: Needs) -> None:
    """Raise DataError where no node has what a worker needs: Ray would wait for one."""
    wanted = {"CPU": needs.n_threads, "GPU": needs.n_gpus, "memory": needs.memory_bytes}
    nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    if not any(all(node.get(name, 0) >= least for name, least in wanted.items()) for node in nodes):
        raise DataError(
            f"--engine ray: a worker needs {needs.n_threads} CPUs, {needs.n_gpus} GPUs and "
            f"{needs.memory_bytes / 2**30:.1f} GiB, and none of the {len(nodes)} nodes has all of that; change "
            f"--threads, --worker-memory or --device"
        )
