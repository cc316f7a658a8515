"""What a worker needs, and how many there are, on machines with GPUs that are made up."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bulk
import pytest
import torch
from fakes import toy_task

from labelwright.bulk import needs, on_processes
from labelwright.bulk.needs import Asked, Machine, Needs, device_of, this_machine, visible_gpus
from labelwright.bulk.shards import Shard
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.cli import _arguments, main
from labelwright.data.formats.text_lines import Start
from labelwright.errors import DataError, ModelError
from labelwright.models.gpus import VISIBLE
from labelwright.models.weights import Base, Predictor
from labelwright.predictors.store import FILE
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration

MODEL = Base("smollm2")
EIGHT = Machine(96, 8)


def options(*given: str) -> argparse.Namespace:
    files = ["--input", "rows.csv", "--output", "answers", "--engine", "processes"]
    return _arguments(["predict", "bundle", *files, *given])


def predictor(folder: Path, kind: str, parts: tuple[str, ...] = ()) -> Predictor:
    """What is asked of a predictor's folder, without its model."""
    for place, one in [(folder, kind), *((folder / f"point-{n:03}", part) for n, part in enumerate(parts))]:
        place.mkdir(parents=True)
        (place / FILE).write_text(json.dumps({"kind": one, "labels": ["a", "b"]}))
    return Predictor(kind, folder)


def gpus(monkeypatch, n: int) -> None:
    """GPUs as torch would see them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


# ------------------------------------------------------------------ which device


@pytest.mark.parametrize(
    ("given", "device"),
    [
        ([], "auto"),
        (["--device", "cuda"], "cuda"),
        (["--device", "cuda:3"], "cuda:3"),
        (["--device", "cpu"], "cpu"),
        (["--backend", "vllm", "--url", "http://127.0.0.1:1/v1"], "cpu"),
        (["--backend", "vllm-local"], "auto"),
        (["--backend", "llamacpp"], "cpu"),
    ],
)
def test_a_language_model_computes_where_the_command_says_unless_something_else_answers(given, device):
    assert device_of(options(*given), [MODEL]) == device


def test_small_classifiers_take_a_gpu_where_a_transformer_of_theirs_would(tmp_path):
    small = [predictor(tmp_path / kind, kind) for kind in ("ngrams", "embeddings", "onnx", "pipeline")]
    assert device_of(options(), small) == "cpu"
    tuned = predictor(tmp_path / "finetuned", "finetuned")
    assert device_of(options(), [*small, tuned]) == "auto"
    assert device_of(options(), [predictor(tmp_path / "points", "points", ("ngrams", "finetuned"))]) == "auto"
    assert device_of(options(), [predictor(tmp_path / "tree", "tree", ("ngrams", "ngrams"))]) == "cpu"
    assert device_of(options("--device", "cuda"), [tuned, MODEL]) == "cuda"
    # A language model is told to leave the GPU alone; the classifier beside it is not.
    assert device_of(options("--device", "cpu"), [tuned, MODEL]) == "auto"


def test_what_the_command_says_of_workers_is_kept(tmp_path):
    given = options("--workers", "3", "--threads", "2", "--device", "cuda")
    assert Asked.of(given, [MODEL]) == Asked("cuda", True, 3, 2, 2**30)
    over_ray = _arguments(["predict", "bundle", "--input", "x", "--engine", "ray", "--worker-memory", "1.5"])
    assert Asked.of(over_ray, [predictor(tmp_path / "ngrams", "ngrams")]) == Asked(memory_bytes=3 * 2**29)


# ------------------------------------------------------------------ what a worker needs, and how many


@pytest.mark.parametrize(
    ("asked", "threads", "n_gpus", "n_workers"),
    [
        (Asked("auto", is_model=True), 12, 1, 8),
        (Asked("cuda", is_model=True), 12, 1, 8),
        (Asked("auto"), 12, 1, 8),
        (Asked("auto", is_model=True, n_threads=1), 1, 1, 8),
        (Asked("auto", is_model=True, n_threads=24), 24, 1, 4),
        (Asked("auto", is_model=True, n_workers=3), 12, 1, 3),
        (Asked("cuda:3", is_model=True), 96, 0, 1),
        (Asked("cuda:3", is_model=True, n_workers=4), 96, 0, 4),
        (Asked("cpu", is_model=True), 96, 0, 1),
        (Asked("cpu", is_model=True, n_threads=8), 8, 0, 12),
        (Asked("cpu"), 1, 0, 96),
    ],
)
def test_workers_are_as_many_as_gpus_where_each_takes_one_and_as_cpus_otherwise(asked, threads, n_gpus, n_workers):
    assert asked.on([EIGHT]) == (Needs(threads, n_gpus), n_workers)


def test_without_a_gpu_a_model_takes_the_machine():
    assert Asked("auto", is_model=True).on([Machine(8)]) == (Needs(8), 1)
    assert Asked("auto").on([Machine(8)]) == (Needs(1), 8)
    assert Asked("auto", n_threads=16).on([Machine(8)]) == (Needs(16), 1)


def test_more_workers_than_gpus_are_refused_and_may_share_one_that_is_named():
    for device in ("auto", "cuda"):
        assert Asked(device, is_model=True, n_workers=8).on([EIGHT])[1] == 8
        with pytest.raises(DataError, match=r"^--workers 9: each takes a GPU of its own, and there are 8; .*cuda:0$"):
            Asked(device, is_model=True, n_workers=9).on([EIGHT])
    with pytest.raises(DataError, match=r"ask for no more$"):  # a small classifier is refused a device's name
        Asked("auto", n_workers=9).on([EIGHT])
    assert Asked("cuda:0", is_model=True, n_workers=9).on([EIGHT])[1] == 9


def test_what_fits_is_bounded_by_whatever_is_scarcest():
    machine = Machine(8, 4, 2**32)
    assert Needs(1, 0, 2**30).fitting(machine) == 4
    assert Needs(1, 1, 2**20).fitting(machine) == 4
    assert Needs(3, 1, 2**20).fitting(machine) == 2
    assert Needs(1, 1).fitting(Machine(8)) == 0
    assert Needs().fitting(Machine(8, memory_bytes=math.inf)) == 8


# ------------------------------------------------------------------ this machine


def test_gpus_are_those_that_torch_sees_and_are_not_looked_for_in_vain(monkeypatch):
    gpus(monkeypatch, 2)
    monkeypatch.setattr(needs.os, "cpu_count", lambda: 8)
    assert this_machine("auto") == this_machine("cuda") == Machine(8, 2)
    assert this_machine("cpu") == this_machine("cuda:1") == Machine(8, 0)
    gpus(monkeypatch, 0)
    assert this_machine("auto") == Machine(8, 0)
    with pytest.raises(ModelError, match="this torch sees no CUDA device"):
        this_machine("cuda")
    monkeypatch.setitem(sys.modules, "labelwright.models.loading", None)  # as where torch is not installed
    assert this_machine("auto") == Machine(8, 0)


@pytest.mark.parametrize(
    ("visible", "n", "names"),
    [
        (None, 3, ["0", "1", "2"]),
        ("", 0, []),
        ("4, 5", 2, ["4", "5"]),
        ("GPU-8a5b, GPU-11cd", 2, ["GPU-8a5b", "GPU-11cd"]),
        ("1,0,-1,2", 2, ["1", "0"]),  # CUDA reads no further than what is none
    ],
)
def test_gpus_are_named_as_somebody_named_them(monkeypatch, visible, n, names):
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert visible_gpus(n) == names


# ------------------------------------------------------------------ local processes

_TELLS = (
    "import json, os, sys\n"
    "sys.stdin.readline()\n"
    "for line in sys.stdin:\n"
    "    seen = os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['OMP_NUM_THREADS']\n"
    "    print(json.dumps({'number': json.loads(line)['number'], 'seen': seen}), flush=True)\n"
    "    os._exit(0)\n"
)


def seen_by_workers(monkeypatch, asked: Asked) -> list[tuple[str | None, str]]:
    """What each worker's process was begun with; each ends with its shard, so that another one takes its place."""
    monkeypatch.setattr(on_processes, "_START", _TELLS)
    shards = [Shard(number, "rows.csv", Start()) for number in range(4)]
    return [tuple(one["seen"]) for one in on_processes.answered(shards, {}, asked)]


def test_each_process_sees_a_gpu_of_its_own(monkeypatch):
    begun: list[str | None] = []

    def worker(*given, made=on_processes._Worker):
        begun.append(given[2].get(VISIBLE))
        return made(*given)

    monkeypatch.setattr(on_processes, "_Worker", worker)
    monkeypatch.setenv(VISIBLE, "4,5")
    gpus(monkeypatch, 2)
    monkeypatch.setattr(needs.os, "cpu_count", lambda: 6)
    seen = seen_by_workers(monkeypatch, Asked("auto", is_model=True))
    assert begun == ["4", "5"]
    assert {threads for _, threads in seen} == {"3"}
    assert {gpu for gpu, _ in seen} <= {"4", "5"}


@pytest.mark.parametrize("asked", [Asked("cuda:1", is_model=True, n_workers=2), Asked("cpu", n_workers=2)])
def test_who_takes_no_gpu_of_its_own_sees_what_the_command_sees(monkeypatch, asked):
    gpus(monkeypatch, 2)
    monkeypatch.setenv(VISIBLE, "4,5")
    assert {gpu for gpu, _ in seen_by_workers(monkeypatch, asked)} == {"4,5"}


def test_who_fills_a_gpu_shares_none(tmp_path):
    machine = Machine(8, 2)
    filling = Asked("cuda:0", is_model=True, may_share=False, n_workers=2)
    with pytest.raises(DataError, match="--workers 2: one fills cuda:0; ask for one, or for --device cuda"):
        filling.on([machine])
    assert replace(filling, may_share=True).on([machine])[1] == 2
    assert replace(filling, n_workers=1).on([machine])[1] == 1
    assert replace(filling, n_workers=None, n_threads=2).on([machine])[1] == 1
    with pytest.raises(DataError, match=r"there are 2; ask for no more$"):
        Asked("cuda", is_model=True, may_share=False, n_workers=3).on([machine])
    for backend, may_share in (("vllm-local", False), ("transformers", True)):
        assert Asked.of(options("--backend", backend), [MODEL]).may_share == may_share
    assert Asked.of(options(), [predictor(tmp_path / "small", "ngrams")]).may_share


def test_a_job_tells_its_engine_what_the_bundle_asks_for(tmp_path, monkeypatch):
    bundle = Bundle(toy_task(), Prompt.for_task(toy_task(), Template()), MODEL, Calibration())
    save(bundle, tmp_path / "bundle")
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a pool"}])
    told: list[Asked] = []

    def answered(shards, settings, asked):
        told.append(asked)
        yield {"number": 0, "refused": "enough", "kind": "ModelError", "of_the_input": False}

    monkeypatch.setattr(on_processes, "answered", answered)
    given = ["--input", str(rows), "--output", str(tmp_path / "a"), "--engine", "processes", "--device", "cuda"]
    assert main(["predict", str(tmp_path / "bundle"), *given, "--workers", "2"]) == 2
    assert told == [Asked("cuda", is_model=True, n_workers=2)]


def test_a_bundle_of_n_grams_never_waits_for_torch(tmp_path):
    bundle = bulk.small_bundle(tmp_path)
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a pool"}])
    given = ["predict", str(bundle), "--input", str(rows), "--output", str(tmp_path / "a"), "--engine", "processes"]
    command = "import sys; from labelwright.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", command, *given], cwd=bulk.ROOT, timeout=300, stdout=subprocess.PIPE)
    assert said.stdout.split() == [b"0", b"False"]
