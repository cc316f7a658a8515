"""The command line: what it prints, writes and refuses. Engines are fakes; one test starts the real program."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_examples

import labelwright.engines.opening
from labelwright import labelling
from labelwright.bundle.store import load, save
from labelwright.bundle.types import Bundle
from labelwright.cli import main
from labelwright.data.asked.questions import Question
from labelwright.data.records import Row
from labelwright.data.task import Label, Task
from labelwright.decide import probabilities
from labelwright.decisions import answered
from labelwright.decisions.promise import Promise
from labelwright.engines.one_hot import one_hot
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.label_sets import SET_METRICS
from labelwright.statistics.risk import Counts


@pytest.fixture
def opened(monkeypatch) -> list[dict]:
    """Settings of every engine that is opened."""
    calls: list[dict] = []

    def open_fake(weights, settings, **_):
        calls.append({"device": settings.device, "dtype": settings.dtype})
        return FakeEngine()

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", open_fake)
    return calls


@pytest.fixture
def bundle(tmp_path, opened) -> str:
    save(toy_bundle(), tmp_path / "bundle", engine=FakeEngine(), golden=toy_examples(2))
    return str(tmp_path / "bundle")


@pytest.fixture
def stdin(monkeypatch):
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def write_rows(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def refused(arguments, capsys) -> str:
    """The one line on stderr of a command that is refused."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("labelwright: error: ")
    assert err.count("\n") == 1
    return err


# ------------------------------------------------------------------------------------------------- predict, texts


def test_a_text_is_answered_with_bars(bundle, capsys):
    assert main(["predict", bundle, "the pool liner"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the pool liner"
    assert [line.split()[0] for line in lines[1:]] == ["pool", "fence", "hvac"]
    assert lines[1].split()[1] == f"{probabilities(toy_bundle(), FakeEngine(), ['the pool liner'])[0, 0]:.3f}"
    assert lines[1].count("#") > lines[2].count("#") > 0


def test_json_has_every_probability_in_label_order(bundle, capsys):
    assert main(["predict", bundle, "the fence", "hvac é", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == ["fence", "hvac"]
    assert rows[1]["text"] == "hvac é"
    for row, probs in zip(rows, probabilities(toy_bundle(), FakeEngine(), ["the fence", "hvac é"]), strict=True):
        assert list(row["probabilities"]) == ["pool", "fence", "hvac"]
        assert list(row["probabilities"].values()) == probs.tolist()
        assert row["confidence"] == max(row["probabilities"].values())


def test_the_likeliest_labels_alone_where_nobody_asks_for_all(bundle, tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "the fence"}, {"text": " "}, {"text": "hvac or pool"}])
    whole, some = tmp_path / "whole.jsonl", tmp_path / "some.jsonl"
    assert main(["predict", bundle, "--input", rows, "--output", str(whole)]) == 1
    assert main(["predict", bundle, "--input", rows, "--output", str(some), "--top", "2"]) == 1
    for line, other in zip(whole.read_text().splitlines(), some.read_text().splitlines(), strict=True):
        one, less = json.loads(line), json.loads(other)
        if "probabilities" in one:
            ranked = sorted(one["probabilities"].items(), key=lambda item: -item[1])
            assert list(less.pop("probabilities").items()) == ranked[:2]
            assert list(one.pop("probabilities")) == ["pool", "fence", "hvac"]
        assert one == less
    capsys.readouterr()
    assert main(["predict", bundle, "the pool liner", "--top", "1"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["the", "pool"]


def test_stdin_is_read_by_line(bundle, capsys, stdin):
    stdin(b"a fence\n\nsome pool\n")
    assert main(["predict", bundle, "-", "--json"]) == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["fence", "pool"]


def test_device_and_dtype_reach_the_engine(bundle, opened, capsys):
    main(["predict", bundle, "x", "--device", "cuda:1", "--dtype", "bfloat16"])
    assert opened == [{"device": "cuda:1", "dtype": "bfloat16"}]


@pytest.mark.parametrize(("given", "wanted"), [([], 0.02), (["--unexpanded-mass", "0"], 0.0)])
@pytest.mark.parametrize("command", ["predict", "evaluate", "check"])
def test_what_may_stay_unexpanded_is_the_bundles_unless_told_otherwise(
    command, given, wanted, tmp_path, monkeypatch, capsys
):
    opened = []
    monkeypatch.setattr(
        labelwright.engines.opening, "open_engine", lambda weights, s, **_: opened.append(s) or FakeEngine()
    )
    bundle = tmp_path / "bundle"
    save(replace(toy_bundle(), unexpanded_mass=0.02), bundle, engine=FakeEngine(), golden=toy_examples(2))
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "pool", "label": "pool"}, {"text": "x", "label": "fence"}])
    more = {"predict": ["x"], "evaluate": ["--input", rows], "check": []}[command]
    assert main([command, str(bundle), *more, *given]) == 0
    assert [settings.unexpanded_mass for settings in opened] == [wanted]


def test_a_share_that_is_none_is_refused(bundle, monkeypatch, capsys):
    assert "unexpanded_mass = 1.5: expected 0 or more, and less than 1" in refused(
        ["predict", bundle, "x", "--unexpanded-mass", "1.5"], capsys
    )


# --------------------------------------------------------------------------------------------------- predict, rows


def test_rows_keep_their_columns_and_get_answers(bundle, tmp_path, capsys):
    rows = [{"n": 1, "text": " my pool "}, {"n": 2, "text": "fence", "label": "right", "confidence": 0.1}]
    output = tmp_path / "out.jsonl"
    assert main(["predict", bundle, "--input", write_rows(tmp_path / "in.jsonl", rows), "--output", str(output)]) == 0
    first, second = [json.loads(line) for line in output.read_text().splitlines()]
    assert list(first) == ["n", "text", "label", "confidence", "probabilities"]
    assert (first["n"], first["text"], first["label"]) == (1, " my pool ", "pool")
    assert (second["input_label"], second["input_confidence"], second["label"]) == ("right", 0.1, "fence")
    assert second["confidence"] == second["probabilities"]["fence"]
    assert "2 rows in" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_every_format_is_read_and_many_rows_keep_their_order(bundle, tmp_path, suffix):
    rows = [{"n": n, "message": ("pool", "fence", "hvac")[n % 3]} for n in range(30)]
    path = tmp_path / f"in{suffix}"
    if suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["n", "message"])
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pyarrow.parquet = pytest.importorskip("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        write_rows(path, rows)
    output = tmp_path / "out.jsonl"
    arguments = ["predict", bundle, "--input", str(path), "--output", str(output), "--text-column", "message"]
    assert main(arguments) == 0
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(str(row["n"]), row["label"]) for row in written] == [(str(row["n"]), row["message"]) for row in rows]


def test_rows_pass_from_stdin_to_stdout(bundle, capsys, stdin):
    stdin(b'{"text": "pool"}\n{"text": "hvac"}\n')
    assert main(["predict", bundle, "--input", "-"]) == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["pool", "hvac"]


def test_rows_are_scored_in_chunks_and_never_held_at_once():
    held = 0

    def rows():
        nonlocal held
        for number in range(1, 101):
            held += 1
            yield Row(number, {"text": "pool"})

    engine = FakeEngine()
    for done, _ in enumerate(labelling.label_rows(rows(), toy_bundle(), engine, chunk_rows=8), start=1):
        assert held - done < 8
    assert {n_rows for n_rows, _ in engine.calls} == {8, 4}


def test_a_bad_row_costs_no_other_row_its_answer(bundle, tmp_path, capsys):
    rows = [{"text": ("pool", "fence", "hvac")[n % 3], "n": n} for n in range(1200)]
    rows[700] = {"text": "  ", "n": 700}
    rows[701] = {"message": "pool", "n": 701}
    rows[702] = {"text": "half \ud83d", "n": 702}
    source, output = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    assert main(["predict", bundle, "--input", source, "--output", str(output)]) == 1
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["n"] for row in written] == list(range(1200))
    bad = [row for row in written if row["label"] is None]
    assert [row["n"] for row in bad] == [700, 701, 702]
    assert bad[0]["error"] == f"{source}, row 701: the text is empty; fill it in or remove the row"
    assert all(row["label"] == row["text"] for row in written if row["label"] is not None)
    err = capsys.readouterr().err
    assert f"{source}, row 702: no column 'text'" in err
    assert "3 of 1200 rows are left unanswered" in err


def test_a_row_that_the_engine_refuses_costs_no_other_row_its_answer(bundle, tmp_path, monkeypatch, capsys):
    class Short(FakeEngine):
        def score(self, prompts, options):
            for number, prompt in enumerate(prompts, start=1):
                if "endless" in prompt.user:
                    raise DataError(f"row {number} ({prompt.user[:9]!r}…): 9000 tokens, but toy reads at most 2048")
            return super().score(prompts, options)

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: Short())
    rows = [{"text": "pool endless: …" if n in (3, 97) else "pool"} for n in range(100)]
    source = write_rows(tmp_path / "in.jsonl", rows)
    assert main(["predict", bundle, "--input", source]) == 1
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [n for n, row in enumerate(written) if row["label"] is None] == [3, 97]
    assert written[97]["error"] == f"{source}, row 98: 9000 tokens, but toy reads at most 2048"


def test_a_bad_beginning_costs_the_rest_nothing(bundle, tmp_path, capsys):
    rows = [{"text": " " if n % 2 else ["no text"]} for n in range(600)] + [{"text": "pool"}]
    assert main(["predict", bundle, "--input", write_rows(tmp_path / "in.jsonl", rows)]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["label"] == "pool"


def test_what_was_predicted_can_be_predicted_again(bundle, tmp_path, capsys):
    old = {"label": "pool", "confidence": 0.9, "probabilities": {"pool": 0.9}, "error": "none"}
    source = write_rows(tmp_path / "in.jsonl", [{"text": "fence", **old}, {"text": " ", **old}])
    assert main(["predict", bundle, "--input", source]) == 1
    good, bad = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {name for name in good if name.startswith("input_")} == {f"input_{name}" for name in old}
    assert {name for name in bad if name.startswith("input_")} == {f"input_{name}" for name in old}
    assert "error" not in good
    assert set(bad) & set(old) == {"label", "error"}


def test_where_no_row_can_be_answered_the_older_output_stays(bundle, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    output.write_text("older\n")
    source = write_rows(tmp_path / "in.jsonl", [{"message": "pool"}, {"message": "fence"}])
    error = refused(["predict", bundle, "--input", source, "--output", str(output)], capsys)
    assert f"{source}, rows 1 and 2: no column 'text' for text" in error
    assert output.read_text() == "older\n"
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


@pytest.mark.parametrize(
    "arguments",
    [["--json", "a pool", "a fence"], ["a pool", "--json", "a fence"], ["a pool", "a fence", "--json"]],
)
def test_options_may_stand_anywhere(bundle, arguments, capsys):
    assert main(["predict", bundle, *arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["a pool", "a fence"]
    assert main(["predict", *arguments[:1], bundle, *arguments[1:]]) == (0 if arguments[0] == "--json" else 2)


def test_texts_that_begin_with_a_dash_are_texts(bundle, capsys):
    assert main(["predict", bundle, "-5 degrees by the pool", "--json"]) == 0
    assert main(["predict", bundle, "--json", "--", "--pool", "-p"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["-5 degrees by the pool", "--pool", "-p"]


TERMINAL = "pool \x1b]0;owned\x07 \x1b[2J \x9b31m \u202e red\rgone"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_no_row_drives_the_terminal(bundle, tmp_path, arguments, capsys):
    assert main(["predict", bundle, TERMINAL, *arguments]) == 0
    assert (
        main(["predict", bundle, "--input", write_rows(tmp_path / "in.jsonl", [{"text": TERMINAL}, {"text": ""}])]) == 1
    )
    out, err = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e\x7f") & set(out + err)
    assert "\r" not in out
    if arguments:
        assert all(json.loads(line)["text"] in (TERMINAL, "") for line in out.splitlines())


def test_a_console_of_another_encoding_is_no_traceback(bundle, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    assert main(["predict", bundle, "pool 👍"]) == 0
    assert main(["predict", bundle, "pool 👍", "--json"]) == 0
    shown = console.buffer.getvalue().decode("cp1252").splitlines()
    assert shown[0] == "pool \\U0001f44d"
    assert json.loads(shown[-1])["text"] == "pool 👍"


def test_half_characters_in_other_columns_survive(bundle, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "pool", "note": "\\ud83d"}\n')
    assert main(["predict", bundle, "--input", str(path), "--output", str(tmp_path / "out.jsonl")]) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["note"] == "\ud83d"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either texts or --input FILE"),
        (["text", "--input", "rows.jsonl"], "expected either texts or --input FILE"),
        (["text", "--output", "out.jsonl"], "--output goes with --input"),
        (["--input", "rows.jsonl", "--output", "out.csv"], "out.csv: expected an output file ending in .jsonl"),
        (["--input", "absent.jsonl"], "absent.jsonl: no such file"),
        (["--input", "rows.xlsx"], "rows.xlsx: no such file"),
        (["  "], "texts, row 1: the text is empty"),
        (["text", "--top", "0"], "--top 0: expected 1 or more labels"),
    ],
)
def test_predict_refuses(bundle, arguments, message, capsys):
    assert message in refused(["predict", bundle, *arguments], capsys)


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (b"", ["-"], "stdin: nothing to label"),
        (b"\xff\n", ["-"], "stdin, line 1: not UTF-8"),
        (b"plain\n", ["--input", "-"], "stdin, line 1: not JSON"),
        (b"[1]\n", ["--input", "-"], "stdin, line 1: expected a JSON object, found list"),
        (b'{"message": "x"}\n', ["--input", "-"], "stdin, row 1: no column 'text' for text; the row has ['message']"),
    ],
)
def test_bad_stdin_is_refused(bundle, data, arguments, message, capsys, stdin):
    stdin(data)
    assert main(["predict", bundle, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_one_bad_line_of_stdin_costs_no_other_its_answer(bundle, capsys, stdin):
    stdin(b"pool\nr\xe9d fence\nhvac\n")
    assert main(["predict", bundle, "-", "--json"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["pool", None, "hvac"]
    assert "stdin, line 2: not UTF-8" in err


def test_no_model_is_opened_for_what_cannot_be_read_or_written(bundle, tmp_path, opened, capsys):
    refused(["predict", bundle, "--input", str(tmp_path / "absent.jsonl")], capsys)
    source = write_rows(tmp_path / "in.jsonl", [{"text": "pool"}])
    error = refused(["predict", bundle, "--input", source, "--output", str(tmp_path / "no" / "out.jsonl")], capsys)
    assert "out.jsonl: cannot be written" in error
    (tmp_path / "folder.jsonl").mkdir()
    error = refused(["predict", bundle, "--input", source, "--output", str(tmp_path / "folder.jsonl")], capsys)
    assert "folder.jsonl: cannot be written (it is a folder)" in error
    assert "expected one written by `make export`" in refused(["predict", str(tmp_path / "absent"), "text"], capsys)
    assert opened == []


# ------------------------------------------------------------------------------------------------ evaluate, check


def test_evaluate_prints_metrics_with_intervals(bundle, tmp_path, capsys):
    rows = [{"m": e.text, "right": e.label, "family": e.group} for e in toy_examples()]
    columns = ["--text-column", "m", "--label-column", "right", "--group-column", "family"]
    source = write_rows(tmp_path / "in.jsonl", rows)
    assert main(["evaluate", bundle, "--input", source, *columns, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    probs = probabilities(toy_bundle(), FakeEngine(), [row["m"] for row in rows])
    names = toy_bundle().task.names
    right = sum(names[row.argmax()] == given["right"] for row, given in zip(probs, rows, strict=True))
    assert found["n_rows"] == len(rows)
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx(right / len(rows))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert main(["evaluate", bundle, "--input", source, *columns]) == 0
    assert f"accuracy   {accuracy['value']:7.3f}" in capsys.readouterr().out


def test_evaluate_refuses_labels_that_the_bundle_does_not_have(bundle, tmp_path, opened, capsys):
    source = write_rows(tmp_path / "in.jsonl", [{"text": "a", "label": "pool"}, {"text": "b", "label": "cat"}])
    error = refused(["evaluate", bundle, "--input", source], capsys)
    assert "in.jsonl, row 2: label 'cat' is not one of the bundle's 3 labels" in error
    assert opened == []


def test_evaluate_names_the_rows_of_the_file_that_do_not_fit(bundle, tmp_path, monkeypatch, capsys):
    class Short(FakeEngine):
        def score(self, prompts, options, calibration=None):
            for number, prompt in enumerate(prompts, start=1):
                if "endless" in prompt.user:
                    raise DataError(f"row {number} ({prompt.user[:9]!r}…): 9000 tokens")
            return super().score(prompts, options)

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: Short())
    rows = [{"text": "endless" if n in (1, 599) else "pool", "label": "pool"} for n in range(600)]
    assert main(["evaluate", bundle, "--input", write_rows(tmp_path / "in.jsonl", rows)]) == 2
    assert "in.jsonl, rows 2 and 600: 9000 tokens" in capsys.readouterr().err


def test_check_passes_a_bundle_as_exported(bundle, capsys, opened):
    assert main(["check", bundle]) == 0
    assert "ok: 3 files as exported; golden rows: 12 answered as recorded" in capsys.readouterr().out
    assert main(["check", bundle, "--files-only"]) == 0
    assert "golden rows: not scored" in capsys.readouterr().out
    assert len(opened) == 1


def test_check_names_what_differs_and_exits_1(bundle, tmp_path, capsys, opened):
    (tmp_path / "bundle" / "README.md").write_text("altered")
    (tmp_path / "bundle" / "new.txt").write_text("extra")
    assert main(["check", bundle]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "README.md: altered" in err
    assert "new.txt: extra" in err
    assert opened == [], "an altered bundle is not run"


def test_check_notices_another_model(bundle, monkeypatch, capsys):
    class OtherEngine(FakeEngine):
        def score(self, prompts, options):
            return super().score(prompts, options)[:, ::-1]

    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: OtherEngine())
    assert main(["check", bundle]) == 1
    assert "golden.jsonl, row 1" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- the program


def test_help_needs_nothing_heavy():
    """Help of every command works and imports neither torch nor numpy nor scikit-learn."""
    program = (
        "import sys\nfrom labelwright.cli import main\n"
        "for command in ([], ['predict'], ['evaluate'], ['check']):\n"
        "    try: main([*command, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy', 'transformers', 'sklearn'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("labelwright predict bundle --input rows.jsonl --output out.jsonl") == 4


def test_no_traceback_from_the_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "labelwright.cli", "check", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("labelwright: error: ")
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------------- no answer


class Mute(FakeEngine):
    """A server's engine: names winners only, and of rows with a question mark says nothing usable."""

    has_probabilities = False

    def score(self, prompts, options):
        winners = super().score(prompts, options).argmax(axis=1)
        return one_hot(np.where(["?" in prompt.user for prompt in prompts], -1, winners), len(options))


@pytest.fixture
def mute(bundle, monkeypatch) -> str:
    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda weights, settings, **_: Mute())
    return bundle


def test_a_text_without_an_answer_gets_none_and_the_exit_status_says_so(mute, capsys):
    assert main(["predict", mute, "pool", "what?", "--json"]) == 1
    out, err = capsys.readouterr()
    first, second = map(json.loads, out.splitlines())
    assert (first["label"], second["label"]) == ("pool", None)
    assert second == {"text": "what?", "label": None, "error": "texts, row 2: " + answered.NO_ANSWER}
    assert "error" not in first
    assert "texts, row 2: what the model answered is none of the labels" in err
    assert "1 of 2 rows are left unanswered" in err
    assert main(["predict", mute, "what?"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "texts, row 1: what the model answered is none of the labels" in err
    assert main(["predict", mute, "pool"]) == 0


def test_rows_without_an_answer_are_written_and_counted(mute, tmp_path, capsys):
    path = write_rows(tmp_path / "in.jsonl", [{"text": text, "label": "pool"} for text in ("pool", "a?", "b?")])
    assert main(["predict", mute, "--input", path, "--output", str(tmp_path / "out.jsonl")]) == 1
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["label"] for row in written] == ["pool", None, None]
    assert written[1]["error"] == f"{path}, row 2: what the model answered is none of the labels"
    assert "2 of 3 rows are left unanswered" in capsys.readouterr().err
    # Pool is the first label: a guess would be right.
    assert main(["evaluate", mute, "--input", path, "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["n_invalid"] == 2
    assert told["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert "2 rows have no answer" in err


# ------------------------------------------------------------------------------------------------------- promises


@pytest.fixture
def promising(tmp_path, opened) -> str:
    """Every row above a probability of 0.9 was right, and 60 of 200 in all were wrong."""
    counts = Counts((0.9, 0.0), ((100, 0), (200, 60)), ((100, 0), (200, 60)))
    promise = Promise(200, 200, counts, gold=(0,) * 200, at_gold=(0.9,) * 200)
    save(replace(toy_bundle(), promise=promise), tmp_path / "promising")
    return str(tmp_path / "promising")


def test_it_abstains_where_the_promise_would_be_broken_and_that_is_no_fault(promising, tmp_path, capsys):
    texts = ["pool chlorine swim", "nothing known"]
    assert main(["predict", promising, *texts, "--json"]) == 0
    assert "abstained" not in capsys.readouterr().out
    assert main(["predict", promising, *texts, "--max-error", "0.05", "--sets", "0.9"]) == 0
    out, err = capsys.readouterr()
    assert "  (no label: unsure; it would be pool)" in out.splitlines()
    # No row kept apart had another label than pool, so that every set must hold the others.
    assert out.count("\n  (the set: pool, fence, hvac)\n") == 2
    assert "2 of 2 rows are abstained on" in err
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "pool", "label": "pool"}, {"text": "x", "label": "fence"}])
    assert main(["evaluate", promising, "--input", rows, "--max-error", "0.05", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["answered"]["value"] == 0.0


def test_what_cannot_be_promised_is_refused_before_a_model_is_opened(promising, bundle, opened, capsys):
    said = refused(["predict", promising, "x", "--max-error", "0.01"], capsys)
    assert (
        "at most 1 % of the answered rows wrong, with 95 % confidence cannot be promised from 200 independent" in said
    )
    assert re.search(r"about \d{4} independent calib rows would do \(there are 400\)", said)
    assert "made without rows kept apart for it" in refused(["predict", bundle, "x", "--max-error", "0.1"], capsys)
    assert "sets = 1.0: expected a share" in refused(["predict", promising, "x", "--sets", "1"], capsys)
    assert not opened


# ------------------------------------------------------------------------------------------------- several columns

PARTS = [
    {"subject": "Green water", "message": "the skimmer", "label": "pool"},
    {"subject": "", "message": "a loose board", "label": "fence"},
    {"subject": "airflow", "message": None, "label": "hvac"},
]
WHOLE = ["Green water\nthe skimmer", "a loose board", "airflow"]


@pytest.fixture
def of_parts(tmp_path, opened) -> str:
    bundle = replace(toy_bundle(), task=replace(toy_bundle().task, text_columns=("subject", "message")))
    save(bundle, tmp_path / "of_parts")
    return str(tmp_path / "of_parts")


@pytest.mark.parametrize("columns", [[], ["--text-column", "subject", "--text-column", "message"]])
def test_a_bundles_columns_are_read_from_files_without_being_told(of_parts, tmp_path, capsys, columns):
    path = write_rows(tmp_path / "rows.jsonl", PARTS)
    assert main(["predict", of_parts, "--input", path, *columns]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = probabilities(toy_bundle(), FakeEngine(), WHOLE)
    assert [list(row["probabilities"].values()) for row in rows] == expected.tolist()
    assert [row["message"] for row in rows] == [row["message"] for row in PARTS]
    assert main(["evaluate", of_parts, "--input", path, "--json", *columns]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert (evaluated["n_rows"], evaluated["metrics"]["accuracy"]["value"]) == (3, pytest.approx(1 / 3))


def test_whole_texts_are_answered_too(of_parts, tmp_path, capsys):
    path = write_rows(tmp_path / "whole.jsonl", [{"text": text} for text in WHOLE])
    assert main(["predict", of_parts, "--input", path]) == 0
    found = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    assert main(["predict", of_parts, *WHOLE, "--json"]) == 0
    assert [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()] == found


def test_a_column_that_is_named_twice_is_refused(of_parts, tmp_path, capsys):
    path = write_rows(tmp_path / "rows.jsonl", PARTS)
    twice = ["--text-column", "subject", "--text-column", "subject"]
    said = refused(["predict", of_parts, "--input", path, *twice], capsys)
    assert "the text columns are ['subject', 'subject']: name one or more, each once" in said


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_column_that_is_missing_is_named_with_the_others(command, of_parts, tmp_path, capsys):
    path = write_rows(tmp_path / "rows.jsonl", [{"subject": "a", "label": "pool"}, {"subject": "b", "label": "pool"}])
    said = refused([command, of_parts, "--input", path], capsys)
    assert "no column 'message' for text, which is made of 'subject' and 'message'; the row has" in said
    path = write_rows(tmp_path / "rows.jsonl", [{"texts": "a", "label": "pool"}] * 2)
    assert "no columns 'subject' and 'message' for text; " in refused([command, of_parts, "--input", path], capsys)


# ------------------------------------------------------------------------------------- rows with several answers

MAIL = [
    {"mail": "green water, a loose board", "about": "pool;fence", "now": "yes", "who": "a"},
    {"mail": "skimmer", "about": "pool", "now": "no", "who": "a"},
    {"mail": "airflow", "about": "", "now": "no", "who": "b"},
]


@pytest.fixture
def of_questions(tmp_path, opened) -> str:
    topics = Question("topics", "labels", tuple(map(Label, ("pool", "fence"))))
    asked = {"answers_in": (("about",), ("now",)), "separator": ";"}
    task = Task.asking("mail", "Read it.", [topics, Question("now", "yes_no")], ("mail",), **asked)
    bundle = Bundle(task, Prompt.for_task(task, FakeEngine().template), Base("fake"), Calibration())
    save(bundle, tmp_path / "of_questions")
    assert load(tmp_path / "of_questions").task == task
    return str(tmp_path / "of_questions")


def test_evaluate_knows_where_the_answers_are_and_tells_rows_from_answers(of_questions, tmp_path, capsys):
    path = write_rows(tmp_path / "rows.jsonl", MAIL)
    assert main(["evaluate", of_questions, "--input", path, "--group-column", "who", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_rows"], found["n_answers"]) == (3, 7)
    assert list(found["rows"]["questions"]) == ["topics", "now"]
    assert set(found["rows"]["questions"]["topics"]) == set(SET_METRICS)
    exact = found["rows"]["exact_match"]
    assert 0 <= exact["low"] <= exact["value"] <= exact["high"] <= 1
    assert main(["evaluate", of_questions, "--input", path, "--group-column", "who"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("7 answers to 3 rows; value and 95 % interval\nanswers\n  accuracy")
    assert "rows, all answers right\n  exact_match" in said
    assert "rows, topics (2 with an answer)\n  micro_f1" in said


def test_evaluate_takes_another_column_or_separator_for_one_question(of_questions, tmp_path, capsys):
    path = write_rows(tmp_path / "rows.jsonl", MAIL)
    said = refused(["evaluate", of_questions, "--input", path, "--label-column", "about"], capsys)
    assert "one column, 'about', for the answers to several questions, 'topics' and 'now': leave it out" in said
    said = refused(["evaluate", of_questions, "--input", path, "--separator", "+"], capsys)
    assert "rows.jsonl, row 1: question 'topics': label 'pool;fence' is not one of 'pool' and 'fence'" in said
    bundle = load(of_questions)
    task = replace(Task.asking("mail", "Read it.", bundle.task.questions[:1], ("mail",)), separator=";")
    save(replace(bundle, task=task, prompt=Prompt.for_task(task, FakeEngine().template)), tmp_path / "of_one")
    path = write_rows(tmp_path / "rows.jsonl", MAIL[:2])
    one = ["evaluate", str(tmp_path / "of_one"), "--input", path, "--label-column", "about", "--json"]
    assert "no column 'topics'" in refused(one[:4], capsys)
    assert main(one) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 2
