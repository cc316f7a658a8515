"""A model elsewhere that teaches: its labels become what they were worth on dev, and each is asked for once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, serving_chat
from hypothesis import given
from hypothesis import strategies as st
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened

from labelwright.bundle.store import load
from workbench.cli import main
from workbench.compare.distilled import teacher
from workbench.compare.distilled.elsewhere import worth
from workbench.compare.expected import Expected
from workbench.compare.jobs import Job
from workbench.compare.score import score_candidates
from workbench.progress import Display
from workbench.run.folder import RunFolder, runs_of

NAMES, JOB = ["words", "chars", "distilled-chars"], Job("distilled-chars", 3, 3)
FRESH = [f"the {one} of the {other} is broken" for one in ("pump", "gate", "duct") for other in ("liner", "panel")]
WORDS = {"liner": "pool", "panel": "fence"}


def says(system: str, turns) -> str:
    """Half of the pool it knows by a word; of rows of the run it says their label, but "hvac" for every fence."""
    (text,) = turns
    known = {row["text"]: row["label"] for row in map(json.loads, Path("rows.jsonl").read_text().splitlines())}
    label = known.get(text) or next(label for word, label in WORDS.items() if word in text)
    return "hvac" if label == "fence" else label


@pytest.fixture
def server() -> ChatServer:
    return ChatServer(says)


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch, server: ChatServer) -> Iterator[RunFolder]:
    know_two_ngrams(monkeypatch)
    edit_recipe('names = ["majority", "words", "absent"]', 'names = ["majority", "words", "chars"]')
    edit_recipe('stages = ["gepa", "grpo", "calibrate"]', "stages = []")
    edit_recipe('path = "rows.jsonl"', 'path = "rows.jsonl"\nunlabelled = "pool.csv"')
    Path("pool.csv").write_text("\n".join(["text", *FRESH]))
    with serving_chat(server) as url:
        asks = f'[distil]\nhosted_model = "far"\nhosted_url = "{url}"\n[compare]\nseeds = 2\n'
        edit_recipe("[compare]\n", asks)
        yield new_toy_run()


def test_students_learn_what_its_labels_are_worth_and_each_row_is_asked_once(run, server):
    assert Expected(opened(run)).candidate("distilled-chars") is None
    (_, plain, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert not student.failed
    found = opened(run)
    dev, names = found.splits_of(JOB).dev, found.task.names
    asked = [one["messages"][-1]["content"] for one in server.requests]
    assert sorted(asked) == sorted({row.text for row in dev} | set(FRESH))
    # Every fence is called hvac: so what it calls that is a fence about as often as dev has fences among these.
    taught = teacher.teach(found, JOB)
    assert taught.teacher == "far"
    n_hvac, n_fence = (sum(row.label == name for row in dev) for name in ("hvac", "fence"))
    assert n_hvac
    assert n_fence
    of_panel = taught.probs[["panel" in text for text in taught.texts]]
    of_liner = taught.probs[["liner" in text for text in taught.texts]]
    assert len(of_panel) == len(of_liner) == 3
    np.testing.assert_allclose(taught.probs.sum(axis=1), 1.0)
    assert (of_liner.argmax(axis=1) == names.index("pool")).all()
    hits, n = sum(row.label != "fence" for row in dev), len(dev)
    average = (hits + 1) / (n + 2)
    expected = (n_fence + 5 * (1 - average) / (len(names) - 1)) / (n_hvac + n_fence + 5)
    np.testing.assert_allclose(of_panel[:, names.index("fence")], expected)
    # What is told, and what ships.
    told = student.distilled
    assert (told.teacher, told.n_rows, told.source) == ("far", 6, "pool.csv")
    # It is right where it says the label, whatever that is worth.
    assert told.right.value == pytest.approx(np.mean([row.label != "fence" for row in dev]))
    with np.load(found.place(JOB).with_suffix(".npz")) as kept:
        said = [names.index("hvac" if row.label == "fence" else row.label) for row in dev]
        assert told.agreement.value == pytest.approx((kept["dev"].argmax(axis=1) == said).mean())
    assert (told.n_in, told.n_out) == (11 * len(asked), 3 * len(asked))
    assert np.abs(student.probs - plain.probs).max() > 1e-3
    assert load(found.place(JOB)).history[-1]["teacher"] == "far"
    # Its answers are kept: nobody is there, and the student is trained anew.
    server.refuses = 401, "gone"
    opened(run).forget("distilled-chars")
    (*_, again) = score_candidates(opened(run), Display(), names=NAMES)
    assert again.distilled == told
    assert len(server.requests) == len(asked)


def test_where_there_are_more_rows_than_it_may_be_asked_about_nobody_is_asked(run, server, capsys):
    edit_recipe('hosted_model = "far"', 'hosted_model = "far"\nhosted_calls = 7')
    n_dev = len({row.text for row in opened(run).splits_of(JOB).dev})
    assert main(["compare", "toy.toml"]) == 2
    said = capsys.readouterr().err
    assert f"hosted_calls = 7: far is to answer dev and pool.csv, which takes {n_dev + 6} questions" in said
    assert "most_rows" not in said  # dev alone takes more
    assert not server.requests
    assert not list(Path("runs/toy/candidates").glob("words/*"))
    edit_recipe("hosted_calls = 7", f"hosted_calls = {n_dev + 2}")
    assert main(["compare", "toy.toml"]) == 2
    assert capsys.readouterr().err.endswith("set hosted_calls to as many, or most_rows to 2 at most\n")
    edit_recipe("[distil]\n", "[distil]\nmost_rows = 2\n")
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert not student.failed
    assert len(server.requests) == n_dev + 2


def test_a_server_that_breaks_off_costs_the_students_alone_and_what_it_said_is_not_asked_again(run, server):
    n_before = 5
    real = server.answer

    def breaks_off(body, key):
        return real(body, key) if len(server.requests) < n_before else (401, {"error": {"message": "no", "code": 401}})

    server.answer = breaks_off
    (words, chars, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert student.failed == "far: the key is refused: set LABELWRIGHT_API_KEY in the environment"
    assert not words.failed
    assert not chars.failed
    server.answer = real
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert not student.failed
    texts = [one["messages"][-1]["content"] for one in server.requests]
    assert len(texts) == len(set(texts))


def test_a_row_that_it_does_not_label_teaches_nothing(run, server):
    server.says = lambda system, turns: "pool or fence" if "pump" in turns[0] else says(system, turns)
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert (student.distilled.n_rows, student.distilled.left_out["silent"]) == (4, 2)


def test_rows_that_its_server_does_not_take_are_asked_once_and_need_no_server_later(run, server):
    real = server.answer

    def takes_no_pump(body, key):
        if "pump" in body["messages"][-1]["content"]:
            refused.append(body)
            return 400, {"error": {"message": "not that", "code": 400}}
        return real(body, key)

    refused: list[object] = []
    server.answer = takes_no_pump
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert (student.distilled.n_rows, student.distilled.left_out["silent"]) == (4, 2)
    assert len(refused) == 2
    server.refuses = 401, "gone"
    opened(run).forget("distilled-chars")
    (*_, again) = score_candidates(opened(run), Display(), names=NAMES)
    assert again.distilled == student.distilled
    assert Expected(opened(run)).candidate("distilled-chars") == 0
    # Another question, or another row in the pool, is another matter.
    edit_recipe('instructions = "', 'instructions = "Please: ')
    assert teacher.to_ask(opened(run), JOB)[1] > 0
    edit_recipe('instructions = "Please: ', 'instructions = "')
    assert teacher.to_ask(opened(run), JOB)[1] == 0
    Path("pool.csv").write_text("\n".join(["text", *FRESH, "the lid of the liner is broken"]))
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert "the key is refused" in student.failed


def test_without_a_pool_it_sees_train_and_dev_and_no_row_of_calib_or_test(run, server):
    edit_recipe('\nunlabelled = "pool.csv"', "")
    edit_recipe("[distil]\n", '[distil]\nstudents = ["chars"]\n')
    (*_, student) = score_candidates(opened(run), Display(), names=NAMES)
    assert student.distilled.source == "train rows"
    splits = opened(run).splits_of(JOB)
    asked = {one["messages"][-1]["content"] for one in server.requests}
    assert asked == {row.text for row in (*splits.dev, *splits.train)}
    assert not asked & {row.text for row in (*splits.calib, *splits.test)}


def test_another_model_makes_its_students_stale_and_nobody_else(run):
    before = {name: opened(run).key(Job(name, 3, 3)) for name in NAMES}
    edit_recipe('hosted_model = "far"', 'hosted_model = "farther"')
    after = {name: opened(run).key(Job(name, 3, 3)) for name in NAMES}
    assert [name for name in NAMES if before[name] != after[name]] == ["distilled-chars"]


def test_it_is_reported(run):
    assert main(["compare", "toy.toml"]) == 0
    (path,) = runs_of(Path("runs/toy"))
    text = (path / "report.md").read_text()
    assert "far is a model elsewhere" in text
    entries = json.loads((path / "report.json").read_text())["candidates"]
    (lesson,) = [one["lesson"] for one in entries if one["name"] == "distilled-chars"]
    assert lesson["learnt"]["teacher"] == "far"
    assert lesson["to_teacher"] is None
    assert lesson["to_plain"] is not None
    assert main(["compare", "toy.toml"]) == 0


@given(
    st.integers(1, 6).flatmap(
        lambda k: st.tuples(st.just(k), st.lists(st.tuples(st.integers(-2, k - 1), st.integers(0, k - 1)), max_size=30))
    )
)
def test_what_labels_are_worth_are_shares_and_move_towards_what_was_seen(drawn):
    n_labels, pairs = drawn
    said, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    shares = worth(said, right, n_labels)
    assert (shares > 0).all() or n_labels == 1
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    # Rows without an answer say nothing; of a label that is always right by many rows, nearly all is left to it.
    np.testing.assert_array_equal(shares, worth(said[said >= 0], right[said >= 0], n_labels))
    many = np.zeros(1000, dtype=np.int64)
    assert worth(many, many, n_labels)[0, 0] > 0.99
