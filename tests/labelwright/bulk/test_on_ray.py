"""Shards over Ray: a real cluster, nodes that die, nothing that listens to others, nothing secret in its logs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import bulk
import pytest

from labelwright.bulk import answering, on_ray
from labelwright.bulk.answering import MOST_STARTS
from labelwright.bulk.folders import folder_of
from labelwright.bulk.parts import Parts
from labelwright.bulk.shards import Shard
from labelwright.cli import main
from labelwright.data.formats.text_lines import Start
from labelwright.errors import DataError

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
N_ROWS = 100_000
STORE_BYTES = 100 * 2**20
NODES = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return bulk.small_bundle(tmp_path_factory.mktemp("small"))


def rays() -> set[int]:
    """Processes below this one."""
    return {one.pid for one in psutil.Process().children(recursive=True)}


@pytest.fixture
def none_is_left() -> Iterator[None]:
    """Ray's processes end with the test; what other workers of the suite run is no concern of this one."""
    before = rays()
    yield
    ray.shutdown()
    until = time.monotonic() + 30
    while (left := rays() - before) and time.monotonic() < until:
        time.sleep(0.2)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left


def free_ports() -> dict[str, int]:
    """Ports of a node's agents."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}


def told_of_ports(monkeypatch) -> None:
    """Tell each node where its agent will listen: it would wait 15 s for the agent to say so, and then give up.

    On a machine with other work beside, an agent takes longer than that to import what it needs.
    """
    from ray._private.node import Node
    from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port

    def start(self: Any, *given: Any, begin: Any = Node.start_raylet, **named: Any) -> None:
        port = self._ray_params.dashboard_agent_listen_port
        persist_port(self._session_dir, self._node_id, DASHBOARD_AGENT_LISTEN_PORT_NAME, port)
        begin(self, *given, **named)

    monkeypatch.setattr(Node, "start_raylet", start)
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "300000")


@pytest.fixture
def cluster(monkeypatch, none_is_left) -> Iterator[Any]:
    """Three nodes on this machine, of one CPU each."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    on_ray._imported(is_local=True)
    from ray.cluster_utils import Cluster

    told_of_ports(monkeypatch)
    made = Cluster(shutdown_at_exit=True)
    try:
        for _ in range(NODES):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **free_ports())
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.real
def test_a_node_killed_half_way_loses_and_doubles_no_row(bundle, tmp_path, cluster):
    rows = bulk.write_jsonl(
        tmp_path / "rows.jsonl", [{"id": n, "text": text} for n, text in enumerate(bulk.texts(N_ROWS))]
    )
    answers, killed = tmp_path / "answers", []
    victim = sorted(cluster.worker_nodes, key=lambda node: node.unique_id)[0]

    def kill_half_way() -> None:
        until = time.monotonic() + 600
        while time.monotonic() < until and not killed:
            if len(list(answers.glob("part-*.jsonl"))) >= 12:
                # Without a word, as where the power fails: its raylet, and so all that it began.
                cluster.remove_node(victim, allow_graceful=False)
                killed.append(len(list(answers.glob("part-*.jsonl"))))
            time.sleep(0.02)

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    given = ["--input", str(rows), "--output", str(answers), "--engine", "ray", "--ray-address", cluster.address]
    status = main(["predict", str(bundle), *given, "--workers", "3", "--worker-memory", "0.2"])
    killer.join(1)
    assert status == 1
    assert killed
    assert killed[0] < 25
    assert bulk.parts(answers) == bulk.plain(bundle, [rows], tmp_path)


@pytest.mark.real
def test_a_cluster_of_its_own_listens_here_alone_and_keeps_no_secret(
    bundle, tmp_path, monkeypatch, none_is_left, capfd
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in bulk.texts(2500)])
    heard: set[str] = set()
    secrets: list[str] = []

    def listen() -> None:
        while not done.wait(0.3):
            for one in psutil.Process().children(recursive=True):
                try:
                    found = one.net_connections("tcp")
                except (psutil.Error, FileNotFoundError):
                    continue
                heard.update(each.laddr.ip.removeprefix("::ffff:") for each in found if each.status == "LISTEN")

    def answered(*given: Any, real: Any = on_ray.answered) -> Any:
        given[1]["options"]["url"] = "http://me:dont-tell@127.0.0.1:1/v1"  # of no use to n-grams, but it travels
        for one in real(*given):
            if not secrets:
                session = Path(ray._private.worker._global_node.get_session_dir_path())
                secrets.extend(
                    str(path) for path in session.rglob("*") if path.is_file() and b"dont-tell" in path.read_bytes()
                )
                secrets.append("looked")
            yield one

    done = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    try:
        monkeypatch.setattr(on_ray, "answered", answered)
        given = ["--input", str(rows), "--output", f"{tmp_path}/answers.jsonl", "--engine", "ray", "--workers", "1"]
        # The worker says that n-grams ask no server: it was told of one.
        assert main(["predict", str(bundle), *given, "--shard-rows", "1024"]) == 2
        said = capfd.readouterr().err
        if "does not answer" in said:
            pytest.skip("too busy a machine for Ray to start within its own time")
        assert "leave out --url" in said
    finally:
        done.set()
        listener.join()
    assert secrets == ["looked"]
    assert heard == {"127.0.0.1"}


def test_without_ray_the_extra_is_named(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a pool"}])
    assert main(["predict", str(bundle), "--input", str(rows), "--output", f"{tmp_path}/a", "--engine", "ray"]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert said.startswith("labelwright: error: --engine ray needs Ray (")
    assert said.endswith('): pip install "labelwright[ray]"')


def test_a_worker_that_no_node_can_hold_is_refused(monkeypatch):
    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, Any]]:
            small, other = {"CPU": 2.0, "memory": 2.0**31}, {"CPU": 8.0, "memory": 2.0**29}
            dead = {"Alive": False, "Resources": {"CPU": 64.0, "memory": 2.0**40}}
            return [{"Alive": True, "Resources": small}, {"Alive": True, "Resources": other}, dead]

    on_ray._refuse_too_little(Ray, on_ray.Needs(2, 0, 2**31))
    assert on_ray._as_many_as_fit(Ray, on_ray.Needs(2)) == 5
    with pytest.raises(Exception, match=r"a worker needs 4 CPUs, 0 GPUs and 1\.0 GiB, and none of the 2 nodes has all"):
        on_ray._refuse_too_little(Ray, on_ray.Needs(4))


def test_a_cluster_of_its_own_that_others_reach_is_refused(monkeypatch):
    class Ray:
        ended = 0

        def is_initialized(self):
            return False

        def init(self, **given):
            pass

        def shutdown(self):
            self.ended += 1

        def nodes(self):
            return [{"NodeManagerAddress": "127.0.0.1"}, {"NodeManagerAddress": "10.0.0.5"}]

    fake = Ray()
    refused = pytest.raises(DataError, match=r"listens to others, at 10\.0\.0\.5; begin one yourself")
    with refused, on_ray._connected(fake, "", 1, on_ray.Needs()):
        pytest.fail("it was taken")
    assert fake.ended == 1
    with on_ray._connected(fake, "10.0.0.5:6379", 1, on_ray.Needs()):  # somebody's own
        pass


def test_of_rays_errors_the_cause_is_told():
    inner = ValueError("no such column")
    outer = RuntimeError("hint: set RAY_x to see more")
    outer.__cause__ = inner
    assert on_ray._cause(outer) == "no such column"
    died = "The actor died unexpectedly before finishing this task.\n\tclass_name: A\n(3) Set RAY_y to see more"
    assert on_ray._cause(RuntimeError(died)) == "The actor died unexpectedly before finishing this task."
    trace = 'ray::A()\n  File "a.py", line 1, in f\n\x1b[31mKeyError\x1b[39m: 7'
    assert on_ray._cause(RuntimeError(trace)) == "KeyError: 7"


def test_an_actor_takes_and_gives_json(bundle, tmp_path, monkeypatch):
    shard = Shard(0, "x.csv", Start(1024, 5, None))
    told = []

    class Fake:
        def __init__(self, settings):
            told.append(settings)

        def answer(self, shard):
            return {"number": shard["number"], "start": shard["start"]}

    monkeypatch.setattr(on_ray, "Answerer", Fake)
    said = on_ray.RayAnswerer({"a": 1})({"shard": [json.dumps(shard.as_json())]})
    assert [json.loads(one) for one in said["result"]] == [{"number": 0, "start": [1024, 5, None]}]
    assert told == [{"a": 1}]


def test_a_shard_that_ends_every_actor_is_given_up_and_named(bundle, tmp_path):
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a pool"}])
    settings = {"options": {}, "output": str(tmp_path / "out"), "n_parts": 1, "folder": ".", "run": "this"}
    shard = Shard(0, str(rows), Start())
    parts = Parts(folder_of(tmp_path / "out"), 1)
    assert [parts.begin(0, "earlier"), *(parts.begin(0, "this") for _ in range(MOST_STARTS))][-2:] == [5, 6]
    said = answering.Answerer(settings).answer(shard.as_json())
    assert said["refused"].startswith(f"{rows}, rows from 1: 6 workers ended while they answered them (out of memory?)")
    parts.forget_starts(0)
    assert parts.begin(0, "this") == 1
