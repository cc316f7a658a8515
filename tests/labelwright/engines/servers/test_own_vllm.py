"""A vLLM started with the weights: the same scores, errors in one line, and nothing that outlives its process."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import vllm_stand_in
from tiny import tiny_model_folder

from labelwright.data.task import Label
from labelwright.engines.opening import open_engine
from labelwright.engines.servers import guard
from labelwright.engines.servers.own_vllm import PYTHON, OwnVllmEngine, _environment
from labelwright.engines.settings import EngineSettings
from labelwright.errors import MissingExtraError, ModelError
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
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(seconds: float, *pids: int) -> bool:
    until = time.monotonic() + seconds
    while any(map(is_there, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_it_scores_as_the_model_does_and_goes_with_its_engine(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    assert engine.name == str(folder)
    prompt = prompt_of(engine)
    inner = open_engine(Base(str(folder)), EngineSettings(device="cpu", dtype="float32", unexpanded_mass=0))
    rendered = prompt.render_all(TEXTS)
    np.testing.assert_allclose(engine.score(rendered, prompt.options), inner.score(rendered, prompt.options), atol=1e-4)
    # Nobody else on the machine may look, and there is no port to look at.
    place = engine._process._folder
    assert place.stat().st_mode & 0o077 == 0
    processes = engine._process._guard.pid, int((folder / "processes").read_text())
    assert all(map(is_there, processes))
    del engine
    gc.collect()
    assert gone_within(15, *processes)
    assert not place.exists()


def test_what_it_is_told(folder, stand_in):
    engine = open_engine(Base(str(folder)), EngineSettings(backend="vllm-local", dtype="bfloat16"))
    said = engine._process._log.read_text().splitlines()[0].split()
    engine._process.end()
    assert said[2] == "vllm.entrypoints.openai.api_server"
    assert said[said.index("--dtype") + 1] == "bfloat16"
    assert "--no-trust-remote-code" in said


def test_one_that_ends_while_it_is_asked_is_told_as_that(folder, stand_in):
    engine = open_engine(Base(str(folder)), OWN)
    prompt = prompt_of(engine)
    # All but the guard, which sees it.
    children = subprocess.run(["pgrep", "-P", str(engine._process._guard.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout), signal.SIGKILL)
    with pytest.raises(ModelError, match="vLLM ended with status 137: INFO starting"):
        engine.score(prompt.render_all(TEXTS), prompt.options)
    engine._process.end()
    assert gone_within(5, int((folder / "processes").read_text()))


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


def test_a_url_is_of_other_backends(folder):
    with pytest.raises(ModelError, match="asks no server that is there already: leave it out"):
        open_engine(Base(str(folder)), EngineSettings(backend="vllm-local", url="http://127.0.0.1:8000/v1"))


@pytest.mark.parametrize(
    ("visible", "device", "seen"),
    [("", "auto", None), ("", "cuda:1", "1"), ("4,5", "cuda", "4,5"), ("4,5", "cuda:1", "5"), ("4,5", "cuda:7", "7")],
)
def test_it_sees_the_gpu_that_is_named(visible, device, seen, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _environment(device).get("CUDA_VISIBLE_DEVICES") == seen


# --- The guard --------------------------------------------------------------------------------------------------------

# Who starts a guard over a server that has a process of its own, and is deaf to SIGTERM where it is told to be.
PARENT = """
import subprocess, sys, time
guard, folder, server, deaf = sys.argv[1:]
command = [sys.executable, "-I", "-S", guard, folder, sys.executable, "-c", server, deaf]
process = subprocess.Popen(command, stdin=subprocess.PIPE)
time.sleep(600)
"""
SERVER = """
import os, signal, subprocess, sys, time
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["willing", "deaf"])
def test_a_server_does_not_outlive_who_is_killed(how, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, guard.__file__, str(place), SERVER, how], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(is_there, pids))
    process.kill()
    process.wait()
    assert gone_within(guard.GRACE_S + 5, *pids)
    until = time.monotonic() + 5
    while place.exists():
        assert time.monotonic() < until, "what the server lived in is left behind"
        time.sleep(0.05)


def test_the_guard_ends_as_its_server_does_and_leaves_its_log(tmp_path):
    def status(code: str) -> int:
        command = [sys.executable, "-I", "-S", guard.__file__, str(tmp_path), sys.executable, "-c", code]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            return process.wait()

    assert status("raise SystemExit(3)") == 3
    assert status("import os; os.kill(os.getpid(), 9)") == 137
    assert tmp_path.exists()
