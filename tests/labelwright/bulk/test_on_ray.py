"""Shards over Ray: a real cluster, nodes that die, nothing that listens to others, nothing secret in its logs."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import bulk
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import three_nodes

from labelwright.bulk import answering, on_ray
from labelwright.bulk.answering import MOST_STARTS
from labelwright.bulk.folders import folder_of
from labelwright.bulk.needs import Asked, Machine, Needs
from labelwright.bulk.parts import Parts
from labelwright.bulk.shards import Shard
from labelwright.cli import main
from labelwright.data.formats.places import place_of
from labelwright.data.formats.text_lines import Start
from labelwright.errors import DataError
from labelwright.models.gpus import VISIBLE

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
N_ROWS = 100_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return bulk.small_bundle(tmp_path_factory.mktemp("small"))


@pytest.mark.real
def test_a_cluster_of_its_own_listens_here_alone_and_keeps_no_secret(bundle, tmp_path, monkeypatch, capfd):
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
        with three_nodes.none_is_left(), three_nodes.patient():
            assert main(["predict", str(bundle), *given, "--shard-rows", "1024"]) == 2
        assert "leave out --url" in capfd.readouterr().err
    finally:
        done.set()
        listener.join()
    assert secrets == ["looked"]
    assert heard == {"127.0.0.1"}


@pytest.mark.real
def test_ray_shows_each_actor_a_gpu_of_its_own(monkeypatch):
    class Tells:
        """Defined here, it travels as it stands."""

        def __init__(self, settings: Any) -> None:
            pass

        def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
            time.sleep(1)  # so that both have something to do
            return {"result": [json.dumps([os.getpid(), os.environ.get(VISIBLE)]) for _ in batch["shard"]]}

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv(VISIBLE, "4,5")
    monkeypatch.setattr(on_ray, "RayAnswerer", Tells)
    monkeypatch.setattr(on_ray, "this_machine", lambda device: Machine(2, 2))
    shards = [Shard(number, "rows.csv", Start()) for number in range(6)]
    with three_nodes.none_is_left(), three_nodes.patient():
        seen = list(on_ray.answered(shards, {}, Asked("auto", is_model=True)))
    assert sorted({tuple(one) for one in seen}, key=lambda one: one[1]) == [(ANY, "4"), (ANY, "5")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes on this machine, of one CPU each; the last test that uses them kills one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with three_nodes.begun() as made:
            yield made


@pytest.mark.real
def test_a_driver_killed_half_way_from_s3_to_s3_is_gone_on_with(bundle, tmp_path, cluster, capfd):
    pytest.importorskip("moto.server")
    with bulk.s3() as store:
        place = folder_of(place_of(f"s3://bucket/in?{store}"))
        for name, n in {"a.parquet": 19_000, "b.parquet": 1500}.items():
            rows = [{"id": f"{name}-{i}", "text": text} for i, text in enumerate(bulk.texts(n))]
            parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / name, row_group_size=700)
            place.write(name, (tmp_path / name).read_bytes())
        output = f"s3://me:dont-tell@bucket/out?{store}"
        given = ["predict", bundle, "--input", f"s3://me:dont-tell@bucket/in/*.parquet?{store}", "--output", output]
        given += ["--engine", "ray", "--ray-address", cluster.address, "--workers", "2", "--worker-memory", "0.2"]
        given += ["--shard-rows", "1024"]
        out = folder_of(place_of(output))
        driver = bulk.command(*given)

        def parts() -> list[str]:
            return sorted(name for name in out.sizes() if name.startswith("part-"))

        until = time.monotonic() + 300
        while len(parts()) < 3 and time.monotonic() < until and driver.poll() is None:
            time.sleep(0.05)
        driver.kill()
        said = driver.communicate()[1]
        there = len(parts())
        assert 3 <= there < 21, said
        capfd.readouterr()
        assert main([str(word) for word in given]) == 1
        (n_before,) = re.findall(r"21 parts of 2 files, (\d+) of them answered before", capfd.readouterr().err)
        assert there <= int(n_before) < 21
        assert len(parts()) == 21
        answers = b"".join(out.read(name) or b"" for name in parts())
        sources = [f"s3://bucket/in/{name}?{store}" for name in ("a.parquet", "b.parquet")]
        assert answers == bulk.plain(bundle, sources, tmp_path)
    assert answers.count(b'"id"') == 20_500


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

    nodes = on_ray._nodes(Ray)
    on_ray._refuse_too_little(nodes, Needs(2, 0, 2**31))
    with pytest.raises(DataError, match=r"a worker needs 4 CPUs, 0 GPUs and 1\.0 GiB, and none of the 2 nodes has all"):
        on_ray._refuse_too_little(nodes, Needs(4))
    with pytest.raises(DataError, match="needs 1 CPUs, 1 GPUs"):
        on_ray._refuse_too_little(nodes, Needs(1, 1))


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
    with refused, on_ray._connected(fake, "", (Needs(), 1)):
        pytest.fail("it was taken")
    assert fake.ended == 1
    with on_ray._connected(fake, "10.0.0.5:6379", None):  # somebody's own
        pass


class Cluster:
    """Ray, as far as a job asks it: its nodes, what it was begun with, and what was declared of its actors."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self._nodes = [{"Alive": True, "NodeManagerAddress": "127.0.0.1", "Resources": one} for one in nodes]
        self.begun: dict[str, Any] = {}
        self.declared: dict[str, Any] = {}
        self.data, self.exceptions = self, SimpleNamespace(RayError=RuntimeError)
        self.DataContext = SimpleNamespace(get_current=SimpleNamespace)

    def init(self, **given: Any) -> None:
        self.begun = given
        if "num_cpus" in given:
            own = {"CPU": given["num_cpus"], "GPU": given["num_gpus"], "memory": 2.0**40}
            self._nodes = [{"Alive": True, "NodeManagerAddress": "127.0.0.1", "Resources": own}]

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def is_initialized(self) -> bool:
        return False

    def shutdown(self) -> None:
        pass

    def ActorPoolStrategy(self, **given: Any) -> Any:  # noqa: N802 (Ray's own name)
        self.declared |= given

    def from_items(self, items: Any, **given: Any) -> Any:
        return self

    def map_batches(self, actor: Any, **given: Any) -> Any:
        self.declared |= given
        return self

    def iter_rows(self) -> Iterator[dict[str, str]]:
        return iter(())


def declared(monkeypatch, cluster: Cluster, asked: Asked, address: str = "10.0.0.5:6379") -> dict[str, Any]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(on_ray, "_imported", lambda is_local: cluster)
    shards = [Shard(number, "rows.csv", Start()) for number in range(100)]
    assert list(on_ray.answered(shards, {}, asked, address)) == []
    return {name: cluster.declared[name] for name in ("size", "num_cpus", "num_gpus")}


def test_on_a_cluster_with_gpus_each_worker_declares_one_and_every_gpu_is_used(monkeypatch):
    head, gpus = {"CPU": 4.0, "memory": 2.0**36}, {"CPU": 96.0, "GPU": 8.0, "memory": 2.0**38}
    few = {"CPU": 16.0, "GPU": 2.0, "memory": 2.0**36}
    found = declared(monkeypatch, Cluster(head, gpus, few), Asked("auto", is_model=True))
    assert found == {"size": 10, "num_cpus": 8, "num_gpus": 1}
    found = declared(monkeypatch, Cluster(head, gpus), Asked("cuda", is_model=True, n_threads=1))
    assert found == {"size": 8, "num_cpus": 1, "num_gpus": 1}
    with pytest.raises(DataError, match="--workers 9: each takes a GPU of its own, and there are 8"):
        declared(monkeypatch, Cluster(head, gpus), Asked("auto", is_model=True, n_workers=9))
    with pytest.raises(DataError, match=r"needs 1 CPUs, 1 GPUs .* none of the 1 nodes"):
        declared(monkeypatch, Cluster(head), Asked("cuda", is_model=True))


def test_on_a_cluster_what_takes_no_gpu_declares_none(monkeypatch):
    gpus = {"CPU": 96.0, "GPU": 8.0, "memory": 2.0**38}
    assert declared(monkeypatch, Cluster(gpus), Asked()) == {"size": 96, "num_cpus": 1, "num_gpus": 0}
    # One that is named is that of each node, for all workers there: Ray, which would hide it, is told of none.
    found = declared(monkeypatch, Cluster(gpus, gpus), Asked("cuda:3", is_model=True))
    assert found == {"size": 2, "num_cpus": 96, "num_gpus": 0}
    small = {"CPU": 2.0, "memory": 2.0**36}
    found = declared(monkeypatch, Cluster(small, small), Asked("auto", is_model=True))
    assert found == {"size": 2, "num_cpus": 2, "num_gpus": 0}


def test_a_cluster_of_its_own_has_the_gpus_that_its_workers_take(monkeypatch):
    monkeypatch.setattr(on_ray, "this_machine", lambda device: Machine(8, 4))
    cluster = Cluster()
    found = declared(monkeypatch, cluster, Asked("auto", is_model=True, n_workers=3), "")
    assert found == {"size": 3, "num_cpus": 2, "num_gpus": 1}
    assert (cluster.begun["num_cpus"], cluster.begun["num_gpus"]) == (6, 3)


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
