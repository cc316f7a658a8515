"""A Ray cluster of three nodes on this machine, and the patience that Ray needs where much else runs beside it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psutil
import pytest

from labelwright.bulk import on_ray

STORE_BYTES = 100 * 2**20
_PATIENCE_S = 300


@contextmanager
def none_is_left() -> Iterator[None]:
    """Ray's processes end with what is done here; what other workers of the suite run is no concern of this one."""
    before = _below()
    yield
    import ray

    ray.shutdown()
    until = time.monotonic() + 30
    while (left := _below() - before) and time.monotonic() < until:
        time.sleep(0.2)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left


@contextmanager
def begun(head_cpus: int = 1) -> Iterator[Any]:
    """Three nodes of one CPU each; the first one, which a command talks to, may have none. All of them end with this.

    What runs on them has the environment that this process has now.
    """
    on_ray._imported(is_local=True)
    import ray
    from ray.cluster_utils import Cluster

    with none_is_left(), patient():
        made = Cluster(shutdown_at_exit=True)
        try:
            for cpus in (head_cpus, 1, 1):
                made.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@contextmanager
def patient() -> Iterator[None]:
    """Nodes that are begun here are waited for as long as a machine with other work beside takes.

    A node is told where its agent will listen: it would wait 15 s for the agent to say so, and then give up. Who begins
    a node would give it up after 30 s.
    """
    from ray._private import services
    from ray._private.node import Node
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port

    def start(self: Any, *given: Any, begin: Any = Node.start_raylet, **named: Any) -> None:
        ports = _free_ports()
        for name, port in ports.items():
            setattr(self._ray_params, name, port)
        persist_port(
            self._session_dir, self._node_id, DASHBOARD_AGENT_LISTEN_PORT_NAME, ports["dashboard_agent_listen_port"]
        )
        begin(self, *given, **named)

    def get_node(*given: Any, ask: Any = services.get_node, **named: Any) -> Any:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return ask(*given, **named)
            except RuntimeError:  # it is not there yet
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "start_raylet", start)
        patch.setattr(services, "get_node", get_node)
        patch.setenv("RAY_agent_register_timeout_ms", str(1000 * _PATIENCE_S))
        patch.setenv("RAY_gcs_server_port_wait_time_s", str(_PATIENCE_S))
        yield


def _below() -> set[int]:
    """Processes below this one."""
    return {one.pid for one in psutil.Process().children(recursive=True)}


def _free_ports() -> dict[str, int]:
    """Ports of a node's agents."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
