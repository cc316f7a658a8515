"""A vLLM started with the weights: the same scores, errors in one line, and nothing that outlives its process."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import vllm_stand_in
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.protocol import close
from labelwright.engines.servers import guard, own_vllm
from labelwright.engines.servers.own_vllm import PYTHON, OwnVllmEngine, _environment
from labelwright.engines.settings import EngineSettings
from labelwright.errors import MissingExtraError, ModelError
from labelwright.models.gpus import VISIBLE
from labelwright.models.weights import Base
from labelwright.prompt import Prompt

LABELS = ("pool", "water heater", "fence")
TEXTS = ["the pool is green", "no hot water", "my fence post broke near the gate today"]
OWN = EngineSettings(backend="vllm-local", unexpanded_mass=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON, str(vllm_stand_in.python_with(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parents[3], Path(__file__).parents[4]))))


def prompt_of(engine: OwnVllmEngine) -> Prompt:
    return Prompt("Name the topic.", tuple(map(Label, LABELS)), template=engine.template)


def is_there(pid: int) -> bool:
    try:
        # One that has ended and waits for its parent to notice is gone.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def within(seconds: float, has_happened: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not has_happened():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def gone_within(seconds: float, *pids: int) -> bool:
    return within(seconds, lambda: not any(map(is_there, pids)))


def server_of(folder: Path) -> psutil.Process:
    """The stand-in that serves a model: the parent of the process that it began."""
    return psutil.Process(int((folder / "processes").read_text())).parent()


def test_it_scores_as_the_model_does_and_goes_with_its_engine(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    assert engine.name == str(folder)
    prompt = prompt_of(engine)
    inner = open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32", unexpanded_mass=0))
    rendered = prompt.render_all(TEXTS)
    np.testing.assert_allclose(engine.score(rendered, prompt.options), inner.score(rendered, prompt.options), atol=1e-4)
    # Nobody else on the machine may look, and there is no port to look at.
    place = engine._process.folder
    assert place.stat().st_mode & 0o077 == 0
    server = server_of(folder)
    # Nothing that lies where the command was given is imported.
    assert server.cwd() == os.path.realpath(place)
    processes = server.ppid(), server.pid, int((folder / "processes").read_text())
    assert all(map(is_there, processes))
    assert psutil.Process(processes[0]).ppid() != os.getpid(), "who ends the server is nobody's child"
    assert engine.is_alive
    del engine
    gc.collect()
    assert gone_within(15, *processes)
    assert within(5, lambda: not place.exists())


def test_who_closes_an_engine_waits_until_its_server_is_gone(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    processes = server_of(folder).pid, int((folder / "processes").read_text())
    close(engine)
    assert not any(map(is_there, processes))
    assert not engine._process.folder.exists()
    assert not engine.is_alive
    close(engine)


def test_all_who_wait_for_a_server_hear_how_it_ended(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    with ThreadPoolExecutor(4) as pool:
        heard = [pool.submit(engine._process.status, 60) for _ in range(4)]
        server_of(folder).kill()
        assert {one.result(60) for one in heard} == {137}
    close(engine)
    assert engine._process.status() == 137


def test_a_server_whose_guard_is_killed_is_ended_by_who_started_it(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    server, place = server_of(folder), engine._process.folder
    psutil.Process(server.ppid()).kill()
    assert within(10, lambda: not engine.is_alive)
    assert gone_within(10, server.pid, int((folder / "processes").read_text()))
    assert not place.exists()


def test_what_it_is_told(folder, stand_in):
    engine = open_engine(Base(str(folder)), EngineSettings(backend="vllm-local", dtype="bfloat16"))
    said = (engine._process.folder / "log").read_text().splitlines()[0].split()
    close(engine)
    assert said[2] == "vllm.entrypoints.openai.api_server"
    assert said[said.index("--dtype") + 1] == "bfloat16"
    assert "--no-trust-remote-code" in said


def test_one_that_ends_while_it_is_asked_is_told_as_that(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    prompt, place = prompt_of(engine), engine._process.folder
    server_of(folder).kill()
    with pytest.raises(ModelError, match="vLLM ended with status 137: INFO starting"):
        engine.score(prompt.render_all(TEXTS), prompt.options)
    assert not engine.is_alive
    close(engine)
    assert gone_within(5, int((folder / "processes").read_text()))
    assert within(5, lambda: not place.exists())


def test_one_that_says_it_fails_before_it_ends_is_told_by_what_failed(folder, stand_in, tmp_path, monkeypatch):
    """As vLLM does whose engine has no memory left: answers of 500, and the end some seconds later."""
    monkeypatch.setattr(own_vllm, "RETRIES", 0)
    monkeypatch.setattr(own_vllm, "_DYING_S", 120)
    dying = tmp_path / "dying"
    shutil.copytree(folder, dying)
    (dying / "dies").write_text(
        "(EngineCore) ERROR torch.OutOfMemoryError: CUDA out of memory.\n"
        "(APIServer) ERROR EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the cause."
    )
    engine = open_engine(Base(str(dying)), OWN)
    prompt = prompt_of(engine)
    with pytest.raises(ModelError, match="vLLM ended with status 1: OutOfMemoryError: CUDA out of memory"):
        engine.score(prompt.render_all(TEXTS), prompt.options)


def test_its_own_words_are_told_in_one_line(folder, stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "sk-abcdefghijklmnop")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "fails").write_text(
        "(EngineCore) ERROR 11-27 [core.py:1] ValueError: no room for\x1b[31m the cache, Bearer sk-abcdefghijklmnop\n"
        "RuntimeError: Engine core initialization failed. See root cause above."
    )
    with pytest.raises(ModelError) as raised:
        open_engine(Base(str(broken)), OWN)
    said = str(raised.value)
    assert said.startswith("vLLM ended with status 1: ValueError: no room for")
    assert "\x1b" not in said
    assert "sk-abc" not in said


def test_a_python_without_it_is_named(folder, monkeypatch):
    monkeypatch.delenv(PYTHON, raising=False)
    with pytest.raises(MissingExtraError, match=r"needs vLLM, which \S+ does not have: install it there, or name"):
        open_engine(Base(str(folder)), OWN)


@pytest.mark.parametrize("backend", ["vllm-local", "transformers", "llamacpp"])
def test_a_url_is_of_other_backends(folder, backend):
    with pytest.raises(ModelError, match=f'backend = "{backend}" asks no server that is there already; name a backend'):
        open_engine(Base(str(folder)), EngineSettings(backend=backend, url="http://127.0.0.1:8000/v1"))


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [
        (None, "auto", None),
        (None, "cuda:1", "1"),
        (None, "cpu", ""),
        ("4, 5", "cuda", "4, 5"),
        ("4, 5", "cuda:1", "5"),
        ("GPU-a1,GPU-b2", "cuda:0", "GPU-a1"),
        ("4,5", "cpu", ""),
    ],
)
def test_it_sees_the_gpu_that_is_named(visible, device, seen, monkeypatch):
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert _environment(device).get(VISIBLE) == seen


@pytest.mark.parametrize("visible", ["", "4"])
def test_a_gpu_that_this_process_may_not_see_is_none_for_its_server(visible, monkeypatch):
    monkeypatch.setenv(VISIBLE, visible)
    with pytest.raises(ModelError, match=f"device cuda:1: {VISIBLE} lets this process see {len(visible)} GPUs"):
        _environment("cuda:1")


def test_a_key_that_it_would_ask_for_is_not_its_own(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "sk-something")
    assert "VLLM_API_KEY" not in _environment("auto")


def test_a_device_that_it_has_no_way_to_is_refused(folder):
    with pytest.raises(ModelError, match="device = 'mps': backend = \"vllm-local\" runs on one of"):
        open_engine(Base(str(folder)), EngineSettings(backend="vllm-local", device="mps"))


def test_a_python_that_is_none_is_named(folder, monkeypatch):
    monkeypatch.setenv(PYTHON, "/nowhere/python")
    with pytest.raises(ModelError, match=f"{PYTHON}=/nowhere/python: there is no such program"):
        open_engine(Base(str(folder)), OWN)


# --- The guard --------------------------------------------------------------------------------------------------------

# Who starts a guard over a server that has a process of its own, and is deaf to SIGTERM where it is told to be.
PARENT = """
import subprocess, sys, time
guard, folder, server, deaf = sys.argv[1:]
command = [sys.executable, "-I", "-S", guard, folder, sys.executable, "-c", server, deaf]
process = subprocess.Popen(command, stdin=subprocess.PIPE)
print(sys.argv[2], flush=True)
time.sleep(600)
"""
SERVER = """
import os, signal, subprocess, sys, time
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids", "w") as file:
    file.write(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["willing", "deaf", "children are killed"])
def test_a_server_does_not_outlive_who_is_killed(how, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, guard.__file__, str(place), SERVER, how], stdout=subprocess.PIPE, text=True
    )
    assert within(10, lambda: (place / "pids").is_file() and (place / "pids").read_text().endswith("\n"))
    pids = [int(pid) for pid in (place / "pids").read_text().split()]
    assert all(map(is_there, pids))
    if how == "children are killed":  # as Ray does with those of a worker
        for child in psutil.Process(process.pid).children():
            child.kill()
        time.sleep(0.5)
        assert all(map(is_there, pids))
    process.kill()
    process.wait()
    assert gone_within(guard.GRACE_S + 5, *pids)
    assert within(5, lambda: not place.exists()), "what the server lived in is left behind"


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137), (None, 126)]
)
def test_the_guard_tells_how_its_server_ended_and_leaves_its_log_to_be_read(code, status, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    command = ["/nowhere/python"] if code is None else [sys.executable, "-c", code]
    whole = [sys.executable, "-I", "-S", guard.__file__, str(place), *command]
    with subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert (int(process.stdout.readline()) > 0) == (code is not None)
        assert int(process.stdout.readline()) == status
        assert (place / "log").is_file()
        process.stdin.close()
        assert process.stdout.readline() == ""
    assert not place.exists()
