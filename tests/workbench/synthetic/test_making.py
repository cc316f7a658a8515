"""The verb from end to end, over a model that says what it is told to: what is asked, dropped, checked and written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chat_server import ChatServer, serving_chat
from sklearn.feature_extraction.text import TfidfVectorizer
from small_comparison import edit_recipe

from labelwright.errors import LabelwrightError, ModelError, RecipeError
from programs.asking import Answer, Question, RefusedError
from workbench.cli import main
from workbench.progress import Display
from workbench.recipe.beside.near_copies import NearCopies
from workbench.recipe.beside.synthetic import place_of
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.synthetic import making
from workbench.synthetic.making import Asked, synthesize

TOPICS = {"pool": "water", "fence": "planks", "hvac": "air"}
# No two of them are alike, and none is like a row of the fakes'.
WORDS = [
    "amber",
    "bucket",
    "cobalt",
    "dizzy",
    "ember",
    "fjord",
    "gravel",
    "hinge",
    "ivory",
    "jumble",
    "kettle",
    "lumpy",
]


def vectors(texts):
    return TfidfVectorizer().fit_transform(list(texts))


class Model:
    """Writes two rows a question, each with a word of its own; labels them by the topic's word in them.

    Attributes
    ----------
    says : dict of str to callable
        What is said in place of that to the how many-th question of a kind, "rows" or "labels".
    """

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.n = {"rows": 0, "labels": 0}
        self.says: dict[tuple[str, int], str] = {}

    def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        kind = "labels" if question.system.startswith("You label") else "rows"
        number = self.n[kind]
        self.n[kind] += 1
        if (kind, number) in self.says:
            return Answer(self.says[kind, number], 10, 5, 0.001)
        if kind == "labels":
            text = json.loads(question.turns[0].rpartition("The message: ")[2].partition("\nThe label:")[0])
            return Answer(next(label for label, word in TOPICS.items() if word in text), 10, 1, 0.001)
        label = json.loads(re.search(r"whose right label is (\".*?\")", question.turns[0])[1])
        words = [WORDS[(2 * number + n) % len(WORDS)] * (1 + number // 6) for n in range(2)]
        return Answer(json.dumps([f"{word} {word} and {TOPICS[label]}" for word in words]), 10, 5, 0.001)


@pytest.fixture
def model(workspace: Path) -> Model:
    edit_recipe("[ensemble]\n", "[splits]\ndev = 0.2\ncalib = 0.2\n[ensemble]\n")
    edit_recipe(
        "[compare]\n", "[synthetic]\nrows_per_label = 2\nrows_per_call = 2\nnear_copy = 0.9\nat_once = 1\n[compare]\n"
    )
    return Model()


def made(model: Model, capsys: pytest.CaptureFixture[str], force: bool = False) -> tuple[list[dict[str, str]], str]:
    place = synthesize(read_recipe("toy.toml"), force, Display(), Asked(model, model, "big", "judge"), vectors)
    return [json.loads(line) for line in place.read_text().splitlines()], capsys.readouterr().out


def test_every_row_says_where_it_comes_from_and_no_question_holds_a_row_that_is_measured(model, capsys):
    rows, said = made(model, capsys)
    recipe = read_recipe("toy.toml")
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    assert [row["label"] for row in rows] == ["pool"] * 2 + ["fence"] * 2 + ["hvac"] * 2
    train = {row.id: row for row in splits.train}
    for row in rows:
        assert train[row["seed"]].text == row["seed_text"]
        assert train[row["seed"]].label == row["label"]
        shown = row["shown"].splitlines()
        assert len(shown) == 2
        assert {one.text for one in splits.train if one.label != row["label"]} >= set(shown)
        assert row["persona"] in recipe.synthetic.personas
        assert row["length"] in recipe.synthetic.lengths
        assert (row["model"], row["checked_by"]) == ("big", "judge")
    words = "\n".join(turn for one in model.asked for turn in one.turns)
    assert rows[0]["seed_text"] in words
    assert not [row for side in (splits.dev, splits.calib, splits.test) for row in side if row.text in words]
    # Who checks is not told what the answer should be.
    checks = [one for one in model.asked if one.system.startswith("You label")]
    assert len(checks) == 6
    assert all(one.turns[0].count('"pool"') == one.turns[0].count('"fence"') == 1 for one in checks)
    assert "6 rows of 6 written are kept: runs/toy/synthetic.jsonl" in said
    assert "9 answers, 9 of them asked for now; 90 tokens read, 21 written, $0.0090" in said
    summary = json.loads(Path("runs/toy/synthetic/summary.json").read_text())
    assert summary["diversity"]["written"]["distinct_1"] < 1
    assert summary["tokens"] == {"read": 90, "written": 21}


def test_what_is_dropped_is_counted_and_asked_for_again(model, capsys):
    recipe = read_recipe("toy.toml")
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed)
    of = {"measured": splits.test[0].text.upper(), "taught": f"{splits.train[0].text}!", "unusable": "red \x1b[31m"}
    model.says["rows", 0] = json.dumps(["clear water in amber", of["measured"]])
    model.says["rows", 1] = json.dumps([of["taught"], of["unusable"]])
    model.says["rows", 2] = json.dumps(["air of jade and topaz", "AIR of jade and topaz."])
    model.says["labels", 0] = "fence"  # for the pool's row
    model.says["labels", 1] = "I cannot say"  # for the hvac's, and then, mended:
    model.says["labels", 2] = "hvac"
    rows, said = made(model, capsys)
    assert {label: sum(row["label"] == label for row in rows) for label in TOPICS} == {"pool": 2, "fence": 2, "hvac": 3}
    summary = json.loads(Path("runs/toy/synthetic/summary.json").read_text())
    assert summary["dropped"] == {
        "unusable": 1, "measured": 1, "taught": 1, "repeated": 1, "unanswered": 0, "disagreed": 1,
    }  # fmt: skip
    assert summary["labels"]["n_repaired"] == 1
    assert "1 nearly a row of dev, calib or test" in said
    copies = NearCopies((row.text for side in (splits.dev, splits.calib, splits.test) for row in side), 0.9)
    assert all(copies.find(row["text"]) is None for row in rows)
    assert "\x1b" not in place_of(recipe).read_text()


def test_a_kill_costs_no_answer_and_the_rows_are_the_same(model, capsys):
    whole, _ = made(model, capsys)
    place_of(read_recipe("toy.toml")).unlink()
    answers = Path("runs/toy/synthetic/answers.jsonl")
    lines = answers.read_text().splitlines()
    # As if it had been killed behind the fourth answer.
    answers.write_text("\n".join(lines[:4]) + '\n{"key": "ha')
    again = Model()
    again.n = {"rows": 3, "labels": 1}
    rows, said = made(again, capsys)
    assert rows == whole
    assert len(again.asked) == len(lines) - 4
    assert "9 answers, 5 of them asked for now" in said
    # Asked anew where that is wanted; what was paid for is kept.
    fresh = Model()
    made(fresh, capsys, force=True)
    assert len(fresh.asked) == 9
    assert Path("runs/toy/synthetic/answers-1.jsonl").is_file()


def test_rows_are_written_once_and_whole_beside_what_people_chose(model, capsys):
    rows, _ = made(Model(), capsys)
    place, chosen = Path("runs/toy/synthetic.jsonl"), Path("mine.jsonl")
    edited = place.read_text().replace("water", "clear water")
    place.write_text(edited)
    chosen.write_text("mine")
    edit_recipe("[synthetic]\n", '[synthetic]\npath = "./mine.jsonl"\n')
    # Who checks is of no use: nothing is written over.
    broken = Model()
    broken.says = {("labels", n): "?" for n in range(99)}
    with pytest.raises(LabelwrightError, match=r"none of \d+ written rows can be used"):
        made(broken, capsys, force=True)
    # Nor where a command ends after a round, with some rows kept.
    gone = Model()
    gone.says["labels", 0] = "fence"

    def ask(question: Question) -> Answer:
        if len(gone.asked) == 9:
            raise ModelError("gone")
        return gone(question)

    with pytest.raises(ModelError, match="gone"):
        synthesize(read_recipe("toy.toml"), True, Display(), Asked(ask, ask, "big", "judge"), vectors)
    assert place.read_text() == edited
    # What is in its place when there are rows is kept.
    again = synthesize(read_recipe("toy.toml"), True, Display(), Asked(model, model, "big", "judge"), vectors)
    said = capsys.readouterr().out
    assert again == place
    assert [json.loads(line) for line in place.read_text().splitlines()] == rows
    assert Path("runs/toy/synthetic/rows-1.jsonl").read_text() == edited
    assert "are kept in runs/toy/synthetic/rows-1.jsonl" in said
    assert "candidates learn mine.jsonl" in said
    assert chosen.read_text() == "mine"


def test_answers_that_are_kept_take_no_others_place(model, capsys):
    folder = Path("runs/toy/synthetic")
    for name in ("answers", "answers-2"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text(name)
    made(model, capsys, force=True)
    assert (folder / "answers-1.jsonl").read_text() == "answers"
    assert (folder / "answers-2.jsonl").read_text() == "answers-2"
    made(Model(), capsys, force=True)
    assert (folder / "answers-2.jsonl").read_text() == "answers-2"
    assert (folder / "answers-3.jsonl").is_file()


def test_no_more_is_asked_than_max_calls_and_who_lacks_rows_is_said(model, capsys):
    edit_recipe("rows_per_label = 2", "rows_per_label = 4\nmax_calls = 8")
    rows, said = made(model, capsys)
    assert len(model.asked) == 8
    assert len(rows) == 2
    assert "max_calls = 8 is reached" in said


def test_a_label_whose_rows_are_always_dropped_is_given_up(model, capsys, monkeypatch):
    monkeypatch.setattr(making, "_MOST_ROUNDS", 2)
    model.says |= {("rows", n): "no list" for n in (1, 3)} | {("rows", n): "none" for n in (4, 5, 6, 7)}
    rows, said = made(model, capsys)
    assert "too much was dropped" in said
    assert len(rows) < 6


def test_what_is_lacking_since_questions_were_refused_is_not_said_to_be_dropped(model, capsys):
    def ask(question: Question) -> Answer:
        if 'right label is "hvac"' in question.turns[0]:
            raise RefusedError("not that")
        return model(question)

    synthesize(read_recipe("toy.toml"), False, Display(), Asked(ask, ask, "big", "judge"), vectors)
    assert "for 1 label (hvac 0): 6 questions were refused" in capsys.readouterr().out


def test_rows_of_the_pool_are_seeds_where_there_are_some(model, capsys):
    edit_recipe('path = "rows.jsonl"', 'path = "rows.jsonl"\nunlabelled = "pool.jsonl"')
    pool = ["liner torn near the skimmer", "picket broken at the gate", "furnace and duct rattle"]
    Path("pool.jsonl").write_text("".join(json.dumps({"text": text, "group": None}) + "\n" for text in pool))
    rows, _ = made(model, capsys)
    assert {(row["label"], row["seed_text"]) for row in rows} == set(zip(TOPICS, pool, strict=True))
    assert {row["seed"] for row in rows} == {""}


def test_over_a_server_from_the_command_line(model, workspace, capsys, monkeypatch):
    server = ChatServer(lambda system, turns: model(Question(system, tuple(turns))).text)
    monkeypatch.setattr(making, "text_vectors", vectors)
    with serving_chat(server) as url:
        edit_recipe("[synthetic]\n", f'[synthetic]\nmodel = "qwen"\nurl = "{url}"\n')
        assert main(["synthesize", "toy.toml"]) == 0
    assert len(server.requests) == 9
    assert len(place_of(read_recipe("toy.toml")).read_text().splitlines()) == 6
    assert "99 tokens read, 27 written, price unknown" in capsys.readouterr().out


def test_without_a_model_it_says_what_to_set(model):
    with pytest.raises(RecipeError, match=r"\[synthetic\]: no model: expected the name of one that DSPy knows"):
        synthesize(read_recipe("toy.toml"), False, Display())
