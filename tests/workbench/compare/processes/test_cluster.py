"""Candidates as tasks of Ray: the report is the local one's, whoever is killed; what is retried, where, how often."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest
import three_nodes
import workbench_fakes

from labelwright.errors import LabelwrightError, MissingExtraError
from workbench import verbs
from workbench.compare.jobs import Job
from workbench.compare.processes import cluster
from workbench.compare.processes.cluster import MOST_TRIES, Cluster
from workbench.compare.processes.pool import CandidateFailedError
from workbench.compare.processes.work import Listener, Needs, Work
from workbench.progress import Display
from workbench.recipe.read import read_recipe

# What the processes under test begin with: candidates that are cut off by a kill, as often as deaths.json says, of the
# process that trains, of the cluster's worker under which it runs, or of its node and all that runs there, this process
# last. Each training is noted.
DIES = """
import json
import sys
import time
from pathlib import Path

if "workbench.compare.processes.worker" in sys.orig_argv:
    import psutil
    import baselines

    def begun(name):
        mine = [psutil.Process(), *psutil.Process().parents()]
        node = next((one for one in mine if one.name() == "raylet"), None)
        trained = Path(f"trained-{name}")
        with trained.open("a") as file:
            file.write(f"{node.pid if node else 0}\\n")
        deaths = json.loads(Path("deaths.json").read_text()).get(name, [])
        n_begun = len(trained.read_text().splitlines())
        if n_begun <= len(deaths):
            killed = mine[2:3] if deaths[n_begun - 1] == "worker" else mine[:1]
            if deaths[n_begun - 1] == "node":
                killed = [node, *(one for one in node.children(recursive=True) if one not in killed), *killed]
            for one in killed:
                one.kill()
            time.sleep(60)

    class Dying(baselines.Baseline):
        def __call__(self, task, seed):
            begun(self.factory)
            return PLAIN[self.factory](task, seed)

    PLAIN = {name: baselines.BASELINES[name] for name in ("sgd-chars", "sgd-ngrams")}
    for name, plain in PLAIN.items():
        baselines.BASELINES[name] = Dying(*plain._replace(factory=name))
"""
# What differs from run to run, and what hangs on how long things took.
OF_TIME = {
    "run",
    "command",
    "machine",
    "frontier",
    "why_ship",
    "n_rows_needed",
    "seconds",
    "peak_memory_bytes",
    "rows_per_second",
}
OF_TIME |= {"seconds_to_train", "ms_p50", "ms_p95", "others_busy_cores", "others_busy_cores_training"}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in OF_TIME}
    return [without_times(one) for one in value] if isinstance(value, list) else value


# Two trials at once, and so many rounds that the last ones may be given up.
SEARCH = """
[search]
trials = 8
at_once = 2
pruning = "median"
[search.space.sgd-ngrams]
longest = [2, 3]
"""


class Compared(NamedTuple):
    """What a comparison comes to, times aside: its report, its rows, and what it said of candidates left out."""

    report: str
    rows: bytes
    left_out: list[str]


def compared(folder: Path, patch: pytest.MonkeyPatch, engine: str, **deaths: list[str]) -> Compared:
    """A comparison in this folder, of which some candidates are cut off."""
    folder.mkdir()
    workbench_fakes.write_workspace(folder)
    (folder / "sitecustomize.py").write_text(DIES)
    (folder / "deaths.json").write_text(json.dumps({f"sgd-{name}": whom for name, whom in deaths.items()}))
    text = (folder / "toy.toml").read_text()
    for old, new in (
        ('stages = ["gepa", "grpo", "calibrate"]', "stages = []"),
        ('[model]\nname = "fake"\n', ""),
        ('"majority", "words", "absent"]', '"majority", "sgd-ngrams", "sgd-chars"]'),
        ("[compare]\n", f'[compare]\nengine = "{engine}"\nseeds = 2\nheavy_seeds = 2\ncurves = []\nnoise = []\n'),
        ("[ensemble]\nmost_members = 0", "[ensemble]\nmost_members = 2"),
        ("[export]", f"{SEARCH}[export]"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "toy.toml").write_text(text)
    patch.chdir(folder)
    patch.setenv("PYTHONPATH", str(folder))
    workbench_fakes.without_tracking(patch.setattr)
    workbench_fakes.without_plots(patch.setattr)
    said: list[str] = []
    display = Display()
    patch.setattr(display, "say", lambda text="", **_: said.append(str(text)))
    run = verbs.compare(read_recipe(Path("toy.toml")), "", False, display)
    report = json.loads((run.path / "report.json").read_text())
    left_out = [line for line in said if "left out" in line]
    return Compared(json.dumps(without_times(report)), (run.path / "rows.jsonl").read_bytes(), left_out)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """What it comes to where candidates run here, one after another, and none dies."""
    with pytest.MonkeyPatch.context() as patch:
        return compared(tmp_path_factory.mktemp("compared") / "local", patch, "local")


def nodes_of(folder: Path, name: str) -> list[str]:
    """On which node each training of a candidate was begun, by the node's process."""
    return (folder / f"trained-{name}").read_text().splitlines()


def test_a_comparison_whose_workers_are_killed_ends_as_the_local_one(
    local: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    assert compared(tmp_path / "ray", monkeypatch, "ray", chars=["worker"], ngrams=["itself"]) == local
    for name in ("sgd-chars", "sgd-ngrams"):
        assert len(nodes_of(tmp_path / "ray", name)) > 1, "the first training was cut off"
    (search,) = (one["sought"]["found"] for one in json.loads(local.report)["candidates"] if one.get("sought"))
    assert any(one["share"] < 1 for one in search["trials"]), "some are given up, there and here"
    shown = "".join(capfd.readouterr())
    assert "raylet" not in shown, "what Ray has to say of its workers is nothing for a person's terminal"
    gone = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert not gone, "every process that was begun has ended"


@pytest.mark.real
def test_a_comparison_on_three_nodes_of_which_one_dies_ends_as_the_local_one(
    local: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What dies is begun again elsewhere: on the other node though the first is free, and there once the other dies."""
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ray"))  # of what the nodes begin
    with three_nodes.begun(head_cpus=0) as nodes:
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        assert compared(tmp_path / "ray", monkeypatch, "ray", chars=["itself", "node"]) == local
    first, second, *others = nodes_of(tmp_path / "ray", "sgd-chars")
    assert first != second
    assert set(others) == {first}


class FakeRay:
    """A cluster of the machines that a test names, on which tasks say what the test wants."""

    exceptions = SimpleNamespace(RayError=ConnectionResetError)

    def __init__(self, machines: dict[str, dict[str, float]]) -> None:
        self.machines = machines
        self.cancelled = 0

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": True, "Resources": has} for name, has in self.machines.items()]

    def wait(self, words: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return words[:1], words[1:]

    def get(self, said: Any) -> Any:
        if isinstance(said, BaseException):
            raise said
        return said

    def cancel(self, words: Any, force: bool) -> None:
        self.cancelled += 1


class FakeTasks:
    """In place of a remote function: what each task says, by the candidate and how often it was begun."""

    def __init__(self, say: Callable[[str, int], list[Any]]) -> None:
        self.say = say
        self.begun: list[tuple[str, dict[str, Any]]] = []

    def options(self, **options: Any) -> FakeTasks:
        self.asked = options
        return self

    def remote(self, asked: dict[str, Any]) -> Iterator[Any]:
        name = asked["work"]["family"]
        self.begun.append((name, self.asked))
        return iter(self.say(name, sum(one == name for one, _ in self.begun)))


ONE, TWO = "1" * 56, "2" * 56
SMALL = Needs(1, 0, 10**9)
LARGE = {"one": {"CPU": 4.0, "memory": 8e9}, "two": {"CPU": 2.0, "memory": 9e9}}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Runs works a, b, … on two machines; gives tasks begun, and what was heard of them."""
    two = {ONE: {"CPU": 4.0, "memory": 8e9}, TWO: {"CPU": 2.0, "memory": 4e9, "GPU": 1.0}}

    def run(say: Callable[[str, int], list[Any]], names: str = "a", needs: Needs = SMALL, **how: Any) -> Any:
        fake, tasks = FakeRay(how.pop("machines", two)), FakeTasks(say)
        monkeypatch.setattr(cluster, "_import_ray", lambda is_local: fake)
        heard: list[tuple[Any, ...]] = []
        on = Cluster(Path("toy.toml"), tmp_path)
        on._remote = tasks
        listener = Listener(
            lambda name: heard.append(("begins", name)),
            lambda name, *said: heard.append(("says", name, *said)),
            lambda entry: heard.append(("record", entry)),
            lambda name, error: heard.append(("ended", name, error)),
        )
        on.run([*names], lambda name: Work((Job(name, 0, 0),), name, tmp_path / "log", needs), listener, **how)
        return tasks.begun, heard, fake

    return run


WELL = [{"node": ONE}, {"progress": (1, 2, "half")}, {"ended": ""}]


def test_what_a_task_says_is_heard(begun: Callable[..., Any]) -> None:
    _, heard, fake = begun(lambda name, n: WELL)
    assert heard == [("begins", "a"), ("says", "a", 1, 2, "half"), ("ended", "a", None)]
    assert not fake.cancelled


def test_what_does_not_last_is_begun_again_elsewhere_with_more_memory(begun: Callable[..., Any]) -> None:
    lost = [{"node": ONE}, ConnectionResetError("its worker died\nand more")]
    tasks, heard, _ = begun(lambda name, n: lost if n == 1 else WELL)
    (_, first), (_, second) = tasks
    assert "scheduling_strategy" not in first
    assert (second["scheduling_strategy"].node_id, second["scheduling_strategy"].soft) == (TWO, True)
    assert (first["memory"], second["memory"]) == (10**9, 2 * 10**9)
    assert [one[0] for one in heard] == ["begins", "says", "ended"], "it is one candidate, however often it was begun"


def test_it_is_begun_so_often_and_no_more(begun: Callable[..., Any]) -> None:
    tasks, heard, _ = begun(lambda name, n: [{"node": ONE}, {"ended": "no memory", "lasting": False}])
    assert len(tasks) == MOST_TRIES
    error = heard[-1][2]
    assert isinstance(error, CandidateFailedError)
    assert (str(error), error.lasting) == ("no memory (tried 3 times)", False)


def test_what_lasts_is_kept_at_once(begun: Callable[..., Any]) -> None:
    tasks, heard, _ = begun(lambda name, n: [{"node": ONE}, {"ended": "no package", "lasting": True}])
    assert len(tasks) == 1
    assert (str(heard[-1][2]), heard[-1][2].lasting) == ("no package", True)


def test_what_a_killed_worker_had_begun_is_recorded_as_failed(begun: Callable[..., Any]) -> None:
    records = [{"record": {"op": "status", "run": key, "status": "RUNNING"}} for key in ("x", "y")]
    records.append({"record": {"op": "status", "run": "x", "status": "FINISHED"}})
    _, heard, _ = begun(lambda name, n: [{"node": ONE}, *records] if n == 1 else WELL)
    assert ("record", {"op": "status", "run": "y", "status": "FAILED"}) in heard
    assert ("record", {"op": "status", "run": "x", "status": "FAILED"}) not in heard


def test_a_work_waits_for_those_that_it_needs(begun: Callable[..., Any]) -> None:
    tasks, heard, _ = begun(lambda name, n: WELL, "abc", after=lambda name: ["a", "c"] if name == "b" else [])
    assert [name for name, _ in tasks] == ["a", "c", "b"]
    assert heard.index(("ended", "c", None)) < heard.index(("begins", "b"))


def test_tasks_end_with_what_asked_for_them(begun: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, words: Any, timeout: float) -> Any:
        seen.append(self)
        raise KeyboardInterrupt

    seen: list[Any] = []
    monkeypatch.setattr(FakeRay, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begun(lambda name, n: WELL, "ab")
    assert seen[0].cancelled == 2


@pytest.mark.parametrize(
    ("needs", "machines", "declared"),
    [
        (Needs(2, 1, 10**9), {"one": {"CPU": 4.0, "memory": 8e9}}, (2, 0, 10**9)),  # no GPU anywhere
        (Needs(2, 1, 10**9), {"one": {"CPU": 1.0, "memory": 8e9, "GPU": 1.0}}, (1, 1, 10**9)),
        (
            Needs(1, 0, 10**10),
            {"one": {"CPU": 4.0, "memory": 8e9}, "two": {"CPU": 2.0, "memory": 9e9}},
            (1, 0, 9 * 10**9),
        ),
        (
            Needs(4, 0, 9 * 10**9),
            {"one": {"CPU": 4.0, "memory": 8e9}, "two": {"CPU": 2.0, "memory": 9e9}},
            (2, 0, 9 * 10**9),
        ),
    ],
)
def test_what_no_machine_has_is_asked_of_the_largest(
    begun: Callable[..., Any], needs: Needs, machines: Any, declared: tuple[float, float, int]
) -> None:
    ((_, asked),), _, _ = begun(lambda name, n: WELL, needs=needs, machines=machines)
    assert (asked["num_cpus"], asked["num_gpus"], asked["memory"]) == declared


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'engine = "ray" needs Ray: pip install "labelwright\[ray\]"'):
        Cluster(Path("toy.toml"), Path())


def test_a_cluster_that_is_not_there_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Away(FakeRay):
        def is_initialized(self) -> bool:
            return False

        def init(self, **how: Any) -> None:
            assert how["address"] == "10.0.0.7:6379"
            assert "num_cpus" not in how
            raise ConnectionError("ray client connection timeout\nand a page more")

    monkeypatch.setattr(cluster, "_import_ray", lambda is_local: Away({}))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    with pytest.raises(LabelwrightError, match=r"10\.0\.0\.7:6379 does not answer \(ray client connection timeout\)"):
        Cluster(Path("toy.toml"), tmp_path).run(["a"], lambda name: None, None)  # type: ignore[arg-type,return-value]


def test_only_one_file_of_the_workbench_imports_ray() -> None:
    root = Path(cluster.__file__).parents[3]
    words = ("import ray\n", "from ray")
    found = {path.name for path in (root / "workbench").rglob("*.py") if any(w in path.read_text() for w in words)}
    assert found == {"cluster.py"}


def test_ray_tells_nobody_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_USAGE_STATS_PROMPT_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "1")
    for name in ("RAY_DEDUP_LOGS_SKIP_REGEX", "RAY_worker_niceness"):
        monkeypatch.setenv(name, "as it was")
    # It need not be installed: the switches are set before it is imported.
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError):
        cluster._import_ray(is_local=True)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == os.environ["RAY_USAGE_STATS_PROMPT_ENABLED"] == "0"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] == "as it was"
