"""A bulk job equals the plain command, is gone on with after any death, and refuses to be mixed with another."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from importlib.metadata import version
from pathlib import Path

import bulk
import psutil
import pytest
import torch
import vllm_stand_in
from fakes import toy_task
from tiny import tiny_model_folder

from labelwright.bulk import answering, manifest, on_processes, parts
from labelwright.bulk import job as bulk_job
from labelwright.bulk.parts import Parts
from labelwright.bulk.shards import Shard
from labelwright.bundle.store import save
from labelwright.bundle.types import Bundle
from labelwright.cli import _arguments, main
from labelwright.data.formats.text_lines import Start
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError, DataError, ModelError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration

N_ROWS = 3000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return bulk.small_bundle(tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def rows_of(path: Path, n: int = N_ROWS, seed: int = 0) -> Path:
    """A file of rows by its ending, each with a column that is kept, and one in the middle that cannot be read."""
    rows = [{"id": i, "text": text} for i, text in enumerate(bulk.texts(n, seed))]
    if path.suffix == ".jsonl":
        bulk.write_jsonl(path, rows)
        lines = path.read_text().splitlines(keepends=True)
        lines[n // 2] = "no JSON\n"
        path.write_text("".join(lines))
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "text"])
            writer.writeheader()
            writer.writerows(rows)
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[: n // 2], '77,"never closed\n', *lines[n // 2 :]]))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)
    return path


def job(bundle: Path, inputs: object, output: object, *more: str) -> int:
    given = ["--input", str(inputs), "--output", str(output), "--engine", "processes", "--shard-rows", "1024"]
    return main(["predict", str(bundle), *given, *(more or ("--workers", "1"))])


def refused(capsys, *arguments: object) -> str:
    """The one line of a job that is refused."""
    capsys.readouterr()
    assert job(*arguments) == 2
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("labelwright: error: ")]
    return line.removeprefix("labelwright: error: ")


# ------------------------------------------------------------------ the plain command's bytes


@pytest.mark.parametrize(("ending", "more"), [("jsonl", []), ("csv", ["--top", "2"]), ("parquet", [])])
def test_parts_are_the_bytes_of_the_plain_command(bundle, tmp_path, ending, more, capsys):
    rows = rows_of(tmp_path / f"rows.{ending}")
    expected = bulk.plain(bundle, [rows], tmp_path, *more)
    said = capsys.readouterr().err
    assert job(bundle, rows, tmp_path / "answers", "--workers", "2", *more) == 1
    assert bulk.parts(tmp_path / "answers") == expected
    assert expected.count(b'"error"') == (4 if ending == "parquet" else 5)
    assert len(list((tmp_path / "answers").glob("part-*.jsonl"))) == 3
    faults = [line for line in said.splitlines() if "left unanswered" in line or ", row" in line or ", line" in line]
    assert faults == [line for line in capsys.readouterr().err.splitlines() if line in faults]
    assert len(faults) == expected.count(b'"error"') + 1


@pytest.fixture
def model_bundle(tmp_path, monkeypatch) -> Path:
    """A bundle of a tiny language model, of whose labels rows get different ones."""
    weights = Base(str(tiny_model_folder(tmp_path / "model")))
    monkeypatch.setenv("LABELWRIGHT_LOCAL_MODELS", weights.base)
    engine = open_engine(weights, EngineSettings(device="cpu", dtype="float32"))
    prompt = Prompt.for_task(toy_task(), engine.template)
    save(Bundle(toy_task(), prompt, weights, Calibration(1.7, (0.1, 0.0, -0.1))), tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_language_models_parts_are_the_bytes_of_the_plain_command(model_bundle, tmp_path):
    """Of as many threads: sums of others differ in their last digits."""
    texts = bulk.texts(2300)
    texts[1500] = "water " * 600  # more than the model takes
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"id": i, "text": text} for i, text in enumerate(texts)])
    computed = ["--device", "cpu", "--dtype", "float32"]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = bulk.plain(model_bundle, [rows], tmp_path, *computed)
    finally:
        torch.set_num_threads(n_threads)
    given = ["--workers", "2", "--threads", "1", *computed]
    assert job(model_bundle, rows, tmp_path / "answers", *given) == 1
    assert len(list((tmp_path / "answers").glob("part-*.jsonl"))) == 3
    assert bulk.parts(tmp_path / "answers") == expected
    labels = {json.loads(line)["label"] for line in expected.splitlines()}
    assert {"pool", "hvac", None} <= labels, "several labels, and none where a row has no answer"


def test_a_worker_has_a_vllm_of_its_own_which_goes_with_it(model_bundle, tmp_path, monkeypatch):
    """A stand-in answers in vLLM's place, with the model's own probabilities (tests/vllm_stand_in.py)."""
    monkeypatch.setenv("LABELWRIGHT_VLLM_PYTHON", str(vllm_stand_in.python_with(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(bulk.ROOT), str(bulk.ROOT / "tests")]))
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in bulk.texts(12)])
    expected = bulk.plain(model_bundle, [rows], tmp_path, "--device", "cpu", "--dtype", "float32")
    given = ["--workers", "1", "--backend", "vllm-local"]
    assert job(model_bundle, rows, tmp_path / "answers", *given) == 0
    for line, other in zip(bulk.parts(tmp_path / "answers").splitlines(), expected.splitlines(), strict=True):
        one, same = json.loads(line), json.loads(other)
        assert one["label"] == same["label"]
        assert one["probabilities"] == pytest.approx(same["probabilities"], abs=1e-4)
    # The worker was killed when all was answered; what the server had started is gone as well.
    child = int((tmp_path / "model" / "processes").read_text())
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=15)
    assert not psutil.pid_exists(child), "the server outlives its worker"


def test_several_files_are_answered_in_order_into_one(bundle, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    files = [rows_of(folder / name, n, seed) for seed, (name, n) in enumerate({"a.csv": 1500, "b.csv": 40}.items())]
    expected = bulk.plain(bundle, files, tmp_path)
    assert job(bundle, folder / "*.csv", tmp_path / "all.jsonl") == 1
    assert (tmp_path / "all.jsonl").read_bytes() == expected
    assert not (tmp_path / "all.jsonl.parts").exists()
    assert main(["predict", str(bundle), "--input", f"{folder}/*.csv", "--output", f"{tmp_path}/same.jsonl"]) == 1
    assert (tmp_path / "same.jsonl").read_bytes() == expected
    assert "3 parts of 2 files" in capsys.readouterr().err


def test_a_file_without_faults_ends_with_0(bundle, tmp_path):
    rows = bulk.write_jsonl(tmp_path / "rows.jsonl", [{"text": "a pool"}] * 3)
    assert job(bundle, rows, tmp_path / "answers") == 0
    assert job(bundle, rows, tmp_path / "answers") == 0


@pytest.mark.parametrize("option", [["--text-column", "nope"], ["--max-error", "0.1"], ["--backend", "vllm"]])
def test_what_the_plain_command_refuses_is_refused_in_its_words(bundle, tmp_path, option, capsys):
    rows = rows_of(tmp_path / "rows.jsonl", 5000)
    capsys.readouterr()
    assert main(["predict", str(bundle), "--input", str(rows), "--output", f"{tmp_path}/x.jsonl", *option]) == 2
    said = capsys.readouterr().err.splitlines()[-1].removeprefix("labelwright: error: ")
    assert refused(capsys, bundle, rows, tmp_path / "answers", "--workers", "2", *option) == said
    # Nothing that was answered in vain stands in the way of the right command.
    assert job(bundle, rows, tmp_path / "answers") == 1


def test_parts_without_an_answer_are_not_kept_however_many_came_before_the_refusal(
    bundle, tmp_path, capsys, monkeypatch
):
    def last_first(shards, settings, asked):
        answerer = answering.Answerer(settings)
        for shard in reversed(shards):
            yield answerer.answer(shard.as_json())

    rows = rows_of(tmp_path / "rows.jsonl", 5000)
    with monkeypatch.context() as patched:
        patched.setattr(on_processes, "answered", last_first)
        refused(capsys, bundle, rows, tmp_path / "answers", "--workers", "1", "--text-column", "nope")
    assert job(bundle, rows, tmp_path / "answers") == 1


def test_an_input_that_is_not_there_is_said_as_the_plain_command_says_it(bundle, tmp_path, capsys):
    assert refused(capsys, bundle, tmp_path / "no.csv", tmp_path / "answers").startswith(
        f"{tmp_path}/no.csv: no such file;"
    )
    assert "no file is called like that" in refused(capsys, bundle, tmp_path / "*.csv", tmp_path / "answers")
    assert not (tmp_path / "answers").exists()


def test_a_folder_that_is_somebodys_keeps_what_is_in_it(bundle, tmp_path, capsys):
    rows = rows_of(tmp_path / "rows.jsonl", 3000)
    before = rows.read_bytes()
    refused(capsys, bundle, rows, tmp_path, "--text-column", "nope", "--workers", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert rows.read_bytes() == before


# ------------------------------------------------------------------ deaths of all kinds


def test_a_driver_killed_half_way_is_gone_on_with(bundle, tmp_path):
    rows = rows_of(tmp_path / "rows.jsonl", 12_000)
    given = ["--input", rows, "--output", tmp_path / "answers", "--engine", "processes", "--workers", "1"]
    driver = bulk.command("predict", bundle, *given, "--shard-rows", "1024")
    answers, until = tmp_path / "answers", time.monotonic() + 120
    while len(list(answers.glob("part-*.jsonl"))) < 2 and time.monotonic() < until and driver.poll() is None:
        time.sleep(0.02)
    driver.kill()
    driver.communicate()
    time.sleep(0.5)  # its worker notices
    there = {path: path.stat().st_mtime_ns for path in answers.glob("part-*.jsonl")}
    assert 2 <= len(there) < 12
    assert job(bundle, rows, answers, "--workers", "2") == 1
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert bulk.parts(answers) == bulk.plain(bundle, [rows], tmp_path)


def test_a_worker_killed_gives_its_shard_to_another(bundle, tmp_path, monkeypatch):
    rows = rows_of(tmp_path / "rows.jsonl", 5200)
    killed = []

    def asked(self, shard, ask=on_processes._Worker._asked):
        if shard.number in (1, 4) and shard.number not in killed:
            killed.append(shard.number)
            self._process = self._process or self._started()
            os.kill(self._process.pid, signal.SIGKILL)
        return ask(self, shard)

    monkeypatch.setattr(on_processes._Worker, "_asked", asked)
    assert job(bundle, rows, tmp_path / "answers", "--workers", "2") == 1
    assert sorted(killed) == [1, 4]
    assert bulk.parts(tmp_path / "answers") == bulk.plain(bundle, [rows], tmp_path)


def test_a_shard_that_ends_every_worker_ends_the_job_in_one_line(bundle, tmp_path, monkeypatch, capsys):
    rows = rows_of(tmp_path / "rows.jsonl", 4000)

    def asked(self, shard, ask=on_processes._Worker._asked):
        if shard.number == 2:
            self._process = self._process or self._started()
            os.kill(self._process.pid, signal.SIGKILL)
        return ask(self, shard)

    monkeypatch.setattr(on_processes._Worker, "_asked", asked)
    said = refused(capsys, bundle, rows, tmp_path / "answers", "--workers", "2")
    assert said.startswith(
        f"{rows}, rows from 2049: 3 workers ended with signal 9 while they answered them (out of memory?"
    )
    monkeypatch.undo()
    assert job(bundle, rows, tmp_path / "answers") == 1
    assert bulk.parts(tmp_path / "answers") == bulk.plain(bundle, [rows], tmp_path)


def test_two_drivers_at_once_write_the_same(bundle, tmp_path):
    rows = rows_of(tmp_path / "rows.jsonl", 5000)
    given = ["--input", rows, "--output", tmp_path / "answers", "--engine", "processes", "--workers", "1"]
    drivers = [bulk.command("predict", bundle, *given, "--shard-rows", "1024") for _ in range(2)]
    assert [driver.wait(300) for driver in drivers] == [1, 1]
    assert bulk.parts(tmp_path / "answers") == bulk.plain(bundle, [rows], tmp_path)
    assert {path.name for path in (tmp_path / "answers").iterdir()} == {
        "_manifest.json",
        "_parts",
        *(f"part-{n:05d}.jsonl" for n in range(5)),
    }


def test_a_part_cut_short_is_answered_again(bundle, tmp_path):
    rows = rows_of(tmp_path / "rows.jsonl")
    answers = tmp_path / "answers"
    assert job(bundle, rows, answers) == 1
    expected = bulk.parts(answers)
    (answers / "part-00001.jsonl").write_bytes(b"half")
    (answers / "_parts" / "part-00002.json").write_text("{")
    assert job(bundle, rows, answers) == 1
    assert bulk.parts(answers) == expected


# ------------------------------------------------------------------ the manifest


def test_another_bundle_other_rows_or_other_options_are_refused_and_named(bundle, tmp_path, capsys, monkeypatch):
    rows, answers = rows_of(tmp_path / "rows.jsonl"), tmp_path / "answers"
    assert job(bundle, rows, answers) == 1
    other = bulk.small_bundle(tmp_path, seed=1)
    begun = f"{answers}: was begun with something else ("
    said = refused(capsys, other, rows, answers)
    assert said.startswith(
        begun + "the bundle is another one): give the same again to go on with it, or choose another"
    )
    said = refused(capsys, bundle, rows, answers, "--text-column", "id", "--choices-column", "x")
    assert said.startswith(
        begun + '--choices-column was "choices" and is "x"; --text-column was not given and is ["id"])'
    )
    (tmp_path / "new").mkdir()
    said = refused(capsys, bundle, rows_of(tmp_path / "new" / "rows.jsonl"), answers)
    assert f"{rows}: no longer an input; {tmp_path}/new/rows.jsonl: a new input" in said
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "version", lambda name: "99")
        was = version("labelwright")
        assert f"(labelwright was {was} and is 99)" in refused(capsys, bundle, rows, answers)
    os.utime(rows, ns=(1, 1))
    assert f"({rows}: changed since)" in refused(capsys, bundle, rows, answers)


def test_parts_of_nobody_are_not_taken_for_ours(bundle, tmp_path, capsys):
    rows, answers = rows_of(tmp_path / "rows.jsonl"), tmp_path / "answers"
    answers.mkdir()
    (answers / "part-00000.jsonl").write_text("{}\n")
    assert "holds parts without a _manifest.json" in refused(capsys, bundle, rows, answers)


def test_a_folder_taken_over_meanwhile_gets_no_part(bundle, tmp_path, capsys, monkeypatch):
    rows, answers = rows_of(tmp_path / "rows.jsonl"), tmp_path / "answers"

    def answered(shards, *rest, real=on_processes.answered):
        manifest = answers / "_manifest.json"
        manifest.write_text(manifest.read_text().replace('"rows_a_shard": 1024', '"rows_a_shard": 2048'))
        yield from real(shards, *rest)

    monkeypatch.setattr(on_processes, "answered", answered)
    assert "another command has begun something else there" in refused(capsys, bundle, rows, answers)
    # The other command's manifest. What a worker was writing as it was ended may lie there, as behind a killed one; who
    # joins the parts removes it.
    there = {path.name for path in answers.iterdir() if not parts._UNFINISHED.fullmatch(path.name)}
    assert there == {"_manifest.json"}


@pytest.mark.parametrize("url", [None, "http://me:dont-tell@127.0.0.1:1/v1"])
def test_an_error_that_nobody_foresaw_is_one_line(tmp_path, monkeypatch, url):
    answerer = answering.Answerer({"options": {"url": url}, "folder": ""})

    def fails(shard):
        raise ZeroDivisionError("dont-tell" if url else "by nought")

    monkeypatch.setattr(answerer, "_answered", fails)
    said = answerer.answer(Shard(3, "rows.csv", Start(1024)).as_json())
    assert (said["number"], said["kind"], said["of_the_input"]) == (3, "ModelError", False)
    assert said["refused"].startswith("rows.csv, rows from 1025: a worker on ")
    named = "ZeroDivisionError" if url else "ZeroDivisionError: by nought"
    assert said["refused"].endswith(f" failed ({named}); what is answered is kept")


@pytest.mark.parametrize("when", ["before the second part", "before the join"])
def test_an_input_that_changes_meanwhile_is_refused(bundle, tmp_path, capsys, monkeypatch, when):
    rows, answers = rows_of(tmp_path / "rows.jsonl", 2000), tmp_path / "answers.jsonl"

    def answered(shards, settings, *rest):
        answerer = answering.Answerer(settings)
        yield answerer.answer(shards[0].as_json())
        if when == "before the second part":
            os.utime(rows, ns=(1, 1))
        yield answerer.answer(shards[1].as_json())
        os.utime(rows, ns=(1, 1))

    monkeypatch.setattr(on_processes, "answered", answered)
    assert f"{rows}: changed since the job was begun;" in refused(capsys, bundle, rows, answers)
    assert not answers.exists()
    assert len(list((tmp_path / "answers.jsonl.parts").glob("part-*"))) == 1 + (when == "before the join")


@pytest.mark.parametrize("error", [ModelError("x: out of memory"), BundleError("x: is gone"), DataError("x: no space")])
def test_what_is_no_fault_of_the_input_keeps_what_is_answered(bundle, tmp_path, monkeypatch, error):
    rows, answers = rows_of(tmp_path / "rows.jsonl", 4000), tmp_path / "answers"
    if isinstance(error, DataError):
        error.__cause__ = OSError("no space left")

    def answered(shards, settings, *rest):
        answerer = answering.Answerer(settings)
        yield answerer.answer(shards[0].as_json())

        def fails(shard):
            raise error

        monkeypatch.setattr(answerer, "_answered", fails)
        yield answerer.answer(shards[1].as_json())

    monkeypatch.setattr(on_processes, "answered", answered)
    given = ["--input", str(rows), "--output", str(answers), "--engine", "processes", "--shard-rows", "1024"]
    with pytest.raises(type(error), match=str(error)):
        bulk_job.run(_arguments(["predict", str(bundle), *given]))
    assert [path.name for path in answers.glob("part-*")] == ["part-00000.jsonl"]
    monkeypatch.undo()
    assert job(bundle, rows, answers) == 1
    assert bulk.parts(answers) == bulk.plain(bundle, [rows], tmp_path)


def test_no_key_is_written_down(tmp_path, bundle, monkeypatch, capsys):
    from labelwright.bulk import options

    arguments = dict.fromkeys(options._OF_ANSWERS) | {"url": "http://me:secret@127.0.0.1:1/v1?key=secret"}
    given = type("Arguments", (), arguments | {"bundle": bundle})
    assert options.for_manifest(given) == {"--url": "http://127.0.0.1:1/v1"}
    assert "secret" in json.dumps(options.for_workers(given))


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--workers", "2"], "--workers: of --engine processes or ray; name one, or leave them out"),
        (["--engine", "processes"], "it takes files as --input, and as --output a folder"),
        (["--engine", "processes", "--output", "a", "--ray-address", "x:1"], "--ray-address: of --engine ray"),
        (["--engine", "processes", "--output", "a", "--workers", "0"], "--workers 0: expected more than 0"),
        (["--engine", "processes", "--output", "a", "--shard-rows", "5"], "expected a multiple of 1024"),
        (["--output", "s3://bucket/a.jsonl"], "a URL is written by --engine processes or ray"),
    ],
)
def test_options_that_do_not_go_together(bundle, tmp_path, given, said, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(bundle), "--input", "rows.jsonl", *given]) == 2
    assert said in capsys.readouterr().err


def test_many_parts_keep_their_order():
    few, many = Parts(None, 7), Parts(None, 123_456)
    assert (few.name(3), many.name(3), many.name(123_455)) == (
        "part-00003.jsonl",
        "part-000003.jsonl",
        "part-123455.jsonl",
    )
