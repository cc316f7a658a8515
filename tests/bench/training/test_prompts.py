"""Methods that search for instructions: on the same rows, counted in the same unit, and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from chat_server import ChatServer
from fakes import FakeEngine, toy_bundle
from json_server import serving_json

from bench.training import prompts
from bench.training.prompts import Bench, about, main, model_at, runs_of, search_missing, table
from labelwright.data.task import group_keys
from labelwright.errors import LabelwrightError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(prompts, "MINIBATCH", 6)
    monkeypatch.setattr(prompts, "DEMOS", 2)


def test_within_a_seed_methods_see_the_same_rows_and_families_stay_whole(setting):
    runs = runs_of(setting, ("evidence", "random", "reflection"), 2, "http://127.0.0.1:1/v1")
    assert [(run.method, run.seed) for run in runs][:4] == [
        ("evidence", 0), ("random", 0), ("reflection", 0), ("evidence", 1)]  # fmt: skip
    for first, second in zip(runs[::3], runs[1::3], strict=True):
        assert (first.splits, first.held_out) == (second.splits, second.held_out)
        sides = [set(group_keys(rows)) for rows in (first.splits.train, first.splits.dev, first.held_out)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert sum(map(len, (first.splits.train, first.splits.dev, first.held_out))) == len(setting.examples)
    assert not {*runs[0].held_out} & {*runs[-1].held_out}
    assert [run.url for run in runs[:3]] == ["", "", "http://127.0.0.1:1/v1"]
    assert len({run.key("about") for run in runs}) == len(runs)


def test_who_is_out_of_time_says_how_much_there_was():
    bundle = toy_bundle()
    with pytest.raises(TimeoutError, match=r"^0 minutes are over"):
        prompts.Bounded(FakeEngine(), bundle.prompt, 0)({}, {})


def test_a_run_is_another_one_under_another_prompt_or_writer(setting, monkeypatch):
    monkeypatch.setattr(prompts, "content_of", lambda base: "")
    other = replace(setting, prompt=setting.prompt.with_instructions("Otherwise asked."))
    (random,) = runs_of(setting, ("random",), 1)
    assert random.key(about(setting)) == random.key(about(setting)) != random.key(about(other))
    url = "http://127.0.0.1:1/v1"
    small, large = (runs_of(setting, ("random", "reflection"), 1, url, writer) for writer in ("small", "large"))
    assert [one.key(0) == other.key(0) for one, other in zip(small, large, strict=True)] == [True, False]


def test_the_writer_is_the_model_that_the_server_names():
    with serving_json(lambda path, key, body: (200, {"object": "list", "data": [{"id": "qwen"}]})) as url:
        assert model_at(url) == "qwen"


def test_every_method_ends_and_what_was_done_is_not_done_again(setting, tmp_path, small):
    runs = runs_of(setting, ("evidence", "random", "bootstrap"), 1)
    bench = Bench(setting, tmp_path / "scores", 40)
    out = tmp_path / "prompts.jsonl"
    found = search_missing(runs, bench.measured, "about", out)
    assert [one["method"] for one in found] == ["evidence", "random", "bootstrap"]
    for one in found:
        assert len(one["held_out_first"]) == len(one["held_out_best"]) == len(runs[0].held_out) == len(one["families"])
        assert one["calls"] > 0
    # A step that is begun is finished: three proposals and a kept one's dev rows at most.
    assert found[0]["calls"] < 40 + 4 * 6 + len(runs[0].splits.dev)
    assert found[1]["calls"] <= 40
    # Until two rows were right, each asked once; its demonstrations are in the tokens, and once.
    assert 2 <= found[2]["calls"] <= len(runs[0].splits.train)
    assert found[2]["in_time"]
    assert " kept" in found[0]["proposals"]
    bare = setting.engine.count_tokens(setting.prompt.system)
    assert bare < found[2]["tokens"] <= bare + 2 * max(setting.engine.count_tokens(f"{row.text}Label: pool Examples:")
                                                       for row in setting.examples)  # fmt: skip
    out.write_text(out.read_text() + '{"key": "half', encoding="utf-8")

    def refuse(run):
        raise AssertionError(f"{run.method} again")

    assert search_missing(runs, refuse, "about", out) == found
    assert len([line for line in out.read_text().splitlines() if line.startswith("{") and line.endswith("}")]) == 3


def test_the_table_has_paired_gains_over_all_seeds():
    def one(method, seed, dev, held, taken):
        first = {"dev_first": [0.5] * 4, "held_out_first": [0.4] * 6, "held_out_first_right": [True, False] * 3}
        return {**first, "method": method, "seed": seed, "calls": 300, "in_time": seed == 0, "tokens": 90 + seed,
                "was_taken": taken, "proposals": "1 of 2 kept" if seed else "",
                "families": list("aabbcc"), "dev_best": [0.5 + dev] * 4,
                "held_out_best": [0.4 + held] * 6,
                "held_out_best_right": [True] * 6, "held_out_taken": [0.4 + held * taken] * 6}  # fmt: skip

    lines = table(
        [one("evidence", 0, 0.1, 0.06, True), one("evidence", 1, 0.1, 0.06, False), one("random", 0, 0, 0, True)]
    )
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1:6] == ["evidence", "2", "300, 1 cut short", "90", "+10.0"]
    assert cells[6:10] == ["+6.0 [+6.0, +6.0]", "60 %", "+50.0 [+50.0, +50.0]", "1 of 2"]
    assert cells[10].startswith("+3.0 [")
    assert lines[3].split("|")[7].strip() == "–"
    assert lines[-2] == "evidence, seed 1: 1 of 2 kept."
    assert lines[-1] == "Points; the untuned prompt, calibrated, has 50.0 % of 12 rows."


def test_the_command_holds_methods_against_each_other_by_what_they_found(setting, monkeypatch, tmp_path, capsys):
    def measured(run):
        more = 0.25 if run.method == "evidence" else 0.0
        rows = {"held_out_first": 0.25, "held_out_best": 0.25 + more, "held_out_taken": 0.25}
        told = {key: [value] * len(run.held_out) for key, value in rows.items()}
        told |= {f"{key}_right": [value > 0.25] * len(run.held_out) for key, value in rows.items()}
        told |= {"dev_first": [0.5], "dev_best": [0.75], "families": group_keys(run.held_out), "proposals": ""}
        return {**told, "calls": 1, "in_time": True, "tokens": 1, "was_taken": True}

    monkeypatch.setattr(prompts, "open_setting", lambda path: setting)
    monkeypatch.setattr(prompts, "read_recipe", lambda path: SimpleNamespace(name="toy"))
    monkeypatch.setattr(prompts, "Bench", lambda *given: SimpleNamespace(measured=measured))
    assert main(["--methods", "random", "evidence", "--seeds", "2", "--out", str(tmp_path / "out.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "| evidence | random | +25.0 [+25.0, +25.0] | +100.0 [+100.0, +100.0] |" in said


@pytest.mark.parametrize(
    "given",
    [
        ["--seeds", "0"],
        ["--calls", "0"],
        ["--minutes", "0"],
        ["--minutes", "nan"],
        ["--methods", "reflection"],
        ["--methods", "mipro"],
        ["--methods", "gepa"],
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(given, capsys):
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_results_are_written_in_whole_lines(setting, tmp_path):
    (run,) = runs_of(setting, ("random",), 1)
    search_missing([run], lambda run: {"n": 1}, "a", tmp_path / "o.jsonl")
    assert json.loads(tmp_path.joinpath("o.jsonl").read_text().split("\n")[1])["n"] == 1


WRITES = """[[ ## observations ## ]]
COMPLETE

[[ ## summary ## ]]
Short messages about houses.

[[ ## program_description ## ]]
It names topics.

[[ ## module_description ## ]]
It names a topic.

[[ ## proposed_instruction ## ]]
Say which topic, number {n}.

[[ ## completed ## ]]"""


def test_mipro_is_given_what_a_language_model_writes_and_the_same_budget(setting, tmp_path, small, monkeypatch):
    monkeypatch.setattr(prompts, "TRIALS", 2)
    asked = []

    def says(system, turns):
        asked.append(system)
        return WRITES.format(n=len(asked))

    chat = ChatServer(says)

    def answer(path, key, body):
        return chat.answer(body, key) if body else (200, {"object": "list", "data": [{"id": f"m{tmp_path.name}"}]})

    with serving_json(answer) as url:
        (run,) = runs_of(setting, ("mipro",), 1, f"{url}/v1")
        bench = Bench(setting, tmp_path / "scores", 40)
        found = bench.found(run)
    assert found.in_time
    assert asked
    assert all(request["max_completion_tokens"] == prompts.REPLY_TOKENS for request in chat.requests)
    n_dev = len(run.splits.dev)
    n_looks = max((40 - n_dev) // (2 * 6 + n_dev), 1)
    full = n_dev + n_looks * (2 * 6 + n_dev)
    # Beside trials and looks, rows that were answered to have some to show.
    assert full <= found.n_calls <= full + len(run.splits.train)


def test_the_time_is_bounded_and_what_comes_after_costs_nothing(setting, tmp_path, small):
    (run,) = runs_of(setting, ("bootstrap",), 1, minutes=0.0)
    found = Bench(setting, tmp_path / "scores", 40).found(run)
    assert (found.n_calls, found.in_time) == (0, False)
    assert len(found.best.demos) == 2, "rows with their labels, which nobody was asked about"


def test_a_run_that_was_cut_short_is_another_one_with_more_time(setting):
    (short,), (long,), (searched,) = (
        runs_of(setting, (method,), 1, minutes=minutes)
        for method, minutes in (("bootstrap", 1.0), ("bootstrap", 2.0), ("random", 2.0))
    )
    assert short.key("a") != long.key("a")
    assert searched.minutes == 0.0, "what has no time of its own is not searched again for one"


def test_without_a_url_what_needs_one_is_left_out_and_that_is_said(monkeypatch, capsys, tmp_path):
    def stop(path):
        raise LabelwrightError("stop here")

    monkeypatch.setattr(prompts, "read_recipe", stop)
    assert main([]) == 2
    assert "left out without --reflection-url: reflection, mipro\n" in capsys.readouterr().err
    monkeypatch.setattr(prompts, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["--methods", "mipro", "--reflection-url", "http://127.0.0.1:1/v1"])
    assert 'pip install "labelwright[bench]"' in capsys.readouterr().err
