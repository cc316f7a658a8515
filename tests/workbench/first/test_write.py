"""Files of different make become recipes that are read, whose rows are read, and whose splits are dealt."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import workbench_fakes
from rich.console import Console
from rows import workbook

from labelwright.errors import DataError, LabelwrightError, RecipeError
from workbench.cli import main
from workbench.compare.processes.pool import Processes
from workbench.first import write
from workbench.first.named import Named
from workbench.first.write import new_recipe
from workbench.progress import Display
from workbench.recipe.read import read_recipe
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import Rows, make_splits, read_rows
from workbench.recipe.splits import SIDES
from workbench.run.folder import RunFolder

WORDS = {
    "billing": ["invoice", "refund", "charge", "card", "payment", "receipt"],
    "login": ["password", "reset", "account", "locked", "email", "code"],
    "shipping": ["parcel", "courier", "address", "tracking", "delivery", "late"],
}


GERMAN = {
    "billing": ["die Rechnung", "eine Gebühr", "meine Karte", "den Beleg"],
    "login": ["mein Passwort", "das Konto", "den Zugang", "den Schlüssel"],
    "shipping": ["das Paket", "den Boten", "meine Anschrift", "die Lieferung"],
}


def messages(n: int = 60, labels: int = 0) -> list[tuple[str, str]]:
    """Texts with labels; ``labels`` of them that have no words of their own."""
    chance = random.Random(0)
    names = [f"topic {i}" for i in range(labels)] or list(WORDS)
    made = []
    for i in range(n):
        label = names[i % len(names)]
        one, other = chance.sample(WORDS.get(label, WORDS["billing"]), 2)
        made.append((f"My {one} has a problem with the {other}, it is number {i} of {label.split()[-1]}.", label))
    return made


def write_csv(path: Path, header: list[str], rows: list[list[Any]], encoding: str = "utf-8", **how: Any) -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, **how)
        writer.writerows([header, *rows] if header else rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes go to ``runs`` under the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Made:
    """A recipe that was written, with what it reads as and what was said."""

    def __init__(self, data: str, ask: Any = None, force: bool = False, **named: str) -> None:
        self.console = Console(width=2000, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        self.path = new_recipe(Named(data, **named), force, Display(self.console), ask)
        self.text = self.path.read_text(encoding="utf-8")
        self.recipe: Recipe = read_recipe(self.path)
        self.rows: Rows = read_rows(self.recipe)
        self.splits = make_splits(self.rows, self.recipe.splits, self.recipe.seed)
        self.said = self.console.export_text()
        assert all(getattr(self.splits, side) for side in SIDES)

    @property
    def data(self) -> Any:
        return self.recipe.data


# ------------------------------------------------------------------------------------------- ten files, and some more


def semicolons_in_german(folder: Path) -> None:
    rows = [
        [f"Ich möchte über {GERMAN[label][i % 4]} und {GERMAN[label][i // 3 % 4]} sprechen, das ist Nummer {i}", label]
        for i, (_, label) in enumerate(messages())
    ]
    write_csv(folder / "d.csv", ["Nachricht", "Kategorie"], rows, "cp1252", delimiter=";")


def a_workbook(folder: Path) -> None:
    table = [["label", "message"], *([label, text] for text, label in messages())]
    workbook(folder / "d.xlsx", {"notes": [["made by", "hand"], ["on", "Monday"]], "rows": table})


def a_workbook_with_titles(folder: Path) -> None:
    table = [["Report of 2026", "", ""], ["all branches", "", "draft"], ["no", "topic", "message"]]
    workbook(folder / "d.xlsx", {"rows": [*table, *([i, label, text] for i, (text, label) in enumerate(messages()))]})


def lines_for_fasttext(folder: Path) -> None:
    (folder / "d.txt").write_text("".join(f"__label__{label} {text}, he said\n" for text, label in messages()))


def a_hub_folder(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(WORDS))})
    for split, n in (("train", 60), ("validation", 12), ("test", 18)):
        rows = [{"text": f"{split}: {text}", "label": list(WORDS).index(label)} for text, label in messages(n)]
        (folder / "d" / "data").mkdir(parents=True, exist_ok=True)
        place = folder / "d" / "data" / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_list(rows, features).to_parquet(place)
    (folder / "d" / "README.md").write_text("# d")


def texts_in_folders(folder: Path) -> None:
    for split, n in (("train", 60), ("test", 18)):
        for i, (text, label) in enumerate(messages(n)):
            place = folder / "d" / split / label
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i}.txt").write_text(f"{split}. {text}")


def an_official_test_file(folder: Path) -> None:
    for split, n in (("train", 60), ("test", 18)):
        rows = [[f"{split}{i}", f"{split}: {text}", label] for i, (text, label) in enumerate(messages(n))]
        write_csv(folder / f"{split}.tsv", ["uid", "utterance", "intent"], rows, delimiter="\t")


def a_split_column(folder: Path) -> None:
    rows = [{"set": "Test" if i % 5 == 4 else "Train", "q": t, "y": k} for i, (t, k) in enumerate(messages(90))]
    write_jsonl(folder / "d.jsonl", rows)


def ids_groups_and_dates(folder: Path) -> None:
    rows = [
        [f"T-{i:04}", f"2025-01-{i % 28 + 1:02}", f"c{i % 40}", text, ("low", "high")[i % 7 > 3], label]
        for i, (text, label) in enumerate(messages(120))
    ]
    write_csv(folder / "d.csv", ["ticket_id", "created_at", "customer_id", "body", "priority", "category"], rows)


def several_languages(folder: Path) -> None:
    says = {
        "en": "Where is my parcel? I have been waiting for the {} since Monday, please help me with the {}.",
        "de": "Wo bleibt mein Paket? Ich warte seit Montag auf {} und brauche bitte Hilfe mit {}.",
        "fr": "Où est mon colis ? J'attends {} depuis lundi, aidez-moi s'il vous plaît avec {}.",
        "ru": "Где моя посылка? Я жду {} с понедельника, помогите мне пожалуйста с {}.",
    }
    rows = [
        {"text": list(says.values())[i % 4].format(text, i), "lang": list(says)[i % 4], "label": label}
        for i, (text, label) in enumerate(messages(120))
    ]
    write_jsonl(folder / "d.jsonl", rows)


def two_columns_of_text(folder: Path) -> None:
    rows = [[f"About the matter {i} of {text.split()[1]}", text, label] for i, (text, label) in enumerate(messages())]
    write_csv(folder / "d.csv", ["title", "body", "label"], rows)


def two_columns_of_no_clear_name(folder: Path) -> None:
    two_columns_of_text(folder)
    path = folder / "d.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("title,", "remarks,", 1), encoding="utf-8")


def many_labels(folder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in messages(900, labels=150)]
    write_jsonl(folder / "d.jsonl", rows)


def no_header_and_bare_quotes(folder: Path) -> None:
    text = "".join(f'"{text} he said "so"\t{int(label == "login")}\n' for text, label in messages())
    (folder / "d.txt").write_text(text, encoding="utf-8")


def utf16_with_quoted_lines(folder: Path) -> None:
    rows = [[text.replace(", ", ',\n"so", '), label] for text, label in messages()]
    write_csv(folder / "d.csv", ["comment", "topic"], rows, "utf-16")


def a_packed_list_of_objects(folder: Path) -> None:
    rows = [
        {"idx": i, "sentence": text, "label": list(WORDS).index(label), "label_text": label, "prob_a": i / 60}
        for i, (text, label) in enumerate(messages())
    ]
    with gzip.open(folder / "d.json.gz", "wt", encoding="utf-8") as file:
        json.dump(rows, file)


def numbers_in_parquet(folder: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"stars": [len(label) % 3 for _, label in messages()], "review": [text for text, _ in messages()]}
    parquet.write_table(arrow.table(columns), folder / "d.parquet")


def a_row_brings_choices(folder: Path) -> None:
    rows = [{"question": text, "choices": [*WORDS], "answer": label} for text, label in messages()]
    write_jsonl(folder / "d.jsonl", rows)


KINDS: dict[Callable[[Path], None], tuple[str, dict[str, Any]]] = {
    semicolons_in_german: ("d.csv", {"text": "Nachricht", "label": "Kategorie", "encoding": "cp1252"}),
    a_workbook: ("d.xlsx", {"text": "message", "sheet": "rows"}),
    a_workbook_with_titles: ("d.xlsx", {"text": "message", "label": "topic", "title_rows": 2}),
    lines_for_fasttext: ("d.txt", {"label_prefix": "__label__", "text": "text", "label": "label"}),
    a_hub_folder: ("d", {"text": "text", "test_split": "test", "read_splits": ()}),
    texts_in_folders: ("d", {"id": "id", "test_split": "test"}),
    an_official_test_file: (
        "train.tsv",
        {"text": "utterance", "label": "intent", "id": "uid", "test_path": "test.tsv"},
    ),
    a_split_column: ("d.jsonl", {"text": "q", "label": "y", "split": "set", "test_split": "Test"}),
    ids_groups_and_dates: (
        "d.csv",
        {"text": "body", "label": "category", "id": "ticket_id", "group": "customer_id"},
    ),
    several_languages: ("d.jsonl", {"text": "text", "label": "label"}),
    two_columns_of_text: ("d.csv", {"text": ("title", "body")}),
    two_columns_of_no_clear_name: ("d.csv", {"text": "body"}),
    many_labels: ("d.jsonl", {}),
    no_header_and_bare_quotes: ("d.txt", {"header": False, "quotes": False, "text": "1", "label": "2"}),
    utf16_with_quoted_lines: ("d.csv", {"text": "comment", "label": "topic", "encoding": ""}),
    a_packed_list_of_objects: ("d.json.gz", {"text": "sentence", "label": "label_text", "id": "idx"}),
    numbers_in_parquet: ("d.parquet", {"text": "review", "label": "stars"}),
    a_row_brings_choices: ("d.jsonl", {"text": "question", "label": "answer", "choices": "choices"}),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_files_of_different_make_give_recipes_that_run(here: Path, kind: Callable[[Path], None]) -> None:
    kind(here)
    data, expected = KINDS[kind]
    made = Made(data)
    assert {key: getattr(made.data, key) for key in expected} == expected
    assert len(made.rows) >= 60
    # Nothing that is a default is written.
    assert len(made.text.splitlines()) < 40


def test_an_official_test_split_is_kept_whole(here: Path) -> None:
    an_official_test_file(here)
    made = Made("train.tsv")
    assert {row.text.split(":")[0] for row in made.splits.test} == {"test"}
    assert len(made.splits.test) == 18
    assert "test.tsv lies beside: its 18 rows are the test split, whole" in made.said


def test_a_test_file_without_labels_is_none(here: Path) -> None:
    write_csv(here / "train.csv", ["text", "label"], [list(row) for row in messages()])
    write_csv(here / "test.csv", ["text"], [[f"test: {text}"] for text, _ in messages(9)])
    write_csv(here / "sample_submission.csv", ["id", "label"], [[i, "billing"] for i in range(90)])
    assert Made("train.csv").data.test_path == ""
    folder = Made(".", name="all")
    assert (folder.data.read_splits, folder.data.test_split) == (("train",), "")


def test_a_test_file_that_is_named(here: Path) -> None:
    write_csv(here / "mine.csv", ["id", "text", "label"], [[i, *row] for i, row in enumerate(messages())])
    write_csv(here / "theirs.csv", ["text", "label"], [[f"their {text}", label] for text, label in messages(9)])
    made = Made("mine.csv", test="theirs.csv")
    assert (made.data.test_path, made.data.id) == ("theirs.csv", "")
    assert len(made.splits.test) == 9


def test_a_dataset_with_hidden_test_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    names = list(WORDS)

    class Part(list):
        features = {"label": SimpleNamespace(int2str=lambda k: names[k])}  # noqa: RUF012

    loaded = {
        split: Part({"idx": i, "sentence": f"{split} {t}", "label": k} for i, (t, k) in enumerate(rows))
        for split, rows in {
            "train": [(text, names.index(label)) for text, label in messages()],
            "validation": [(text, names.index(label)) for text, label in messages(12)],
            "test": [(text, -1) for text, _ in messages(12)],
        }.items()
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **settings: loaded)
    made = Made("owner/tickets", config="en")
    assert (made.path.name, made.data.hub, made.data.config) == ("tickets.toml", "owner/tickets", "en")
    assert (made.data.read_splits, made.data.test_split) == (("train", "validation"), "")
    assert {row.label for row in made.rows} == set(WORDS)
    assert "not read, for want of texts with labels or of a split's name: 'test'" in made.said


# ----------------------------------------------------------------------------------------------- what is to be mended


def messy(folder: Path) -> list[list[str]]:
    rows = [[text, label.upper() if i % 7 == 0 else label] for i, (text, label) in enumerate(messages())]
    more = [["", "billing"], ["no label", ""], [messages()[1][0], "shipping"], ["=lonely(1)", "alone"]]
    more += [["=twice(1)", "billing"], ["=twice(1)", "login"]]
    write_csv(folder / "d.csv", ["text", "label"], [*rows, *more])
    return rows


def test_what_is_wrong_is_said_and_left_out(here: Path) -> None:
    messy(here)
    before = (here / "d.csv").read_bytes()
    made = Made("d.csv")
    assert made.data.leave_out == ("empty", "conflicting", "rare")
    assert made.data.similar_labels == "merge"
    assert {row.label for row in made.rows} == set(WORDS)
    assert "labels that differ only in how they are written: 'BILLING' and 'billing'" in made.said
    assert "'alone' (1)" in made.said
    assert (here / "d.csv").read_bytes() == before


def test_texts_with_several_labels_go_into_a_file_to_mend(here: Path) -> None:
    messy(here)
    made = Made("d.csv")
    assert "runs/d-conflicts.csv" in made.said
    with (here / "runs" / "d-conflicts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["text_number"], row["row"], row["label"]) for row in rows] == [
        ("1", "2", "login"),
        ("1", "63", "shipping"),
        ("2", "65", "billing"),
        ("2", "66", "login"),
    ]
    # A spreadsheet would take a text that begins with "=" for a formula.
    assert rows[2]["text"] == "'=twice(1)"


def test_too_few_rows_say_which_labels_need_how_many(here: Path) -> None:
    write_csv(here / "d.csv", ["text", "label"], [["one way", "a"], ["two ways", "a"], ["three", "b"], ["four", "b"]])
    console = Console(width=2000, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with pytest.raises(DataError, match=r"no recipe can be written that would run: .*leave \w+ empty: add rows"):
        new_recipe(Named("d.csv"), False, Display(console))
    assert "labels with fewer than 4 independent rows, one a side: 'a' (2) and 'b' (2); add 4 rows in all" in (
        console.export_text()
    )
    assert not (here / "runs").exists()


def test_labels_that_only_the_test_has(here: Path) -> None:
    write_csv(here / "train.csv", ["text", "label"], [list(row) for row in messages()])
    outside = [["what is love", "out_of_scope"], ["sing a song", "out_of_scope"]]
    rows = [[f"test {text}", label] for text, label in messages(9)]
    write_csv(here / "test.csv", ["text", "label"], [*rows, *outside])
    made = Made("train.csv")
    assert made.data.out_of_scope == "out_of_scope"
    write_csv(here / "test.csv", ["text", "label"], [*rows, *outside, ["hm", "new"]])
    made = Made("train.csv", force=True)
    assert (made.data.out_of_scope, made.data.leave_out) == ("out_of_scope", ("rare",))


def test_language_decides_what_is_proposed(here: Path) -> None:
    semicolons_in_german(here)
    made = Made("d.csv")
    assert made.recipe.baselines.names == ("majority", "sgd-ngrams", "sgd-chars")
    assert (made.recipe.stages, made.recipe.export.candidate) == ((), "ship")
    assert "the shipped MiniLM reads English" in made.text
    write_csv(here / "e.csv", ["text", "label"], [list(row) for row in messages()])
    english = Made("e.csv").recipe
    assert "minilm-logreg" in english.baselines.names
    assert english.stages == ("gepa", "grpo", "calibrate")


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[f"text of row {i}", f"L{i}"] for i in range(20)], r"no column holds labels.*'label' \(20 different values"),
        ([[f"text of row {i}", "a"] for i in range(20)], "no column holds labels"),
        ([[i, "ab"[i % 2]] for i in range(20)], "no column holds texts"),
    ],
)
def test_columns_that_are_none(here: Path, rows: list[list[Any]], said: str) -> None:
    write_csv(here / "d.csv", ["text", "label"], rows)
    with pytest.raises(DataError, match=f"^d.csv: {said}") as caught:
        new_recipe(Named("d.csv"), False, Display(Console(quiet=True)))
    assert "\n" not in str(caught.value)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"label": "no such"}, "no column 'no such' for label; the columns are"),
        ({"label": "id"}, "column 'id' cannot be the label: it has 60 different values in 60 rows; labels come again"),
        ({"text": "id"}, "column 'id' cannot be the text: it holds numbers"),
        ({"name": "a/b"}, "NAME=a/b: it names a folder"),
        ({"data": "none.csv"}, "none.csv: no such file or folder; check the path"),
        ({"data": "tickts"}, r"tickts: no such file or folder; \. has 'tickets\.csv'; check the path"),
        ({"data": "folder/d"}, "folder/d: no such file or folder; check the path"),
    ],
)
def test_what_was_named_and_cannot_be(here: Path, named: dict[str, str], said: str) -> None:
    write_csv(here / "d.csv", ["id", "text", "label"], [[i, *row] for i, row in enumerate(messages())])
    (here / "tickets.csv").touch()
    (here / "folder").mkdir()
    with pytest.raises(LabelwrightError, match=said):
        new_recipe(Named(**{"data": "d.csv", **named}), False, Display(Console(quiet=True)))


def test_a_recipe_that_is_there_is_not_replaced_unasked(here: Path) -> None:
    two_columns_of_text(here)
    made = Made("d.csv")
    with pytest.raises(RecipeError, match=r"runs/d.toml is there already"):
        Made("d.csv", text="title")
    assert made.path.read_text(encoding="utf-8") == made.text
    assert Made("d.csv", text="title", force=True).data.text == "title"


def test_conflicts_that_somebody_may_be_mending_stay(here: Path) -> None:
    messy(here)
    made = Made("d.csv")
    mended = here / "runs" / "d-conflicts.csv"
    mended.write_text("half mended")
    made.path.unlink()
    with pytest.raises(RecipeError, match=r"runs/d-conflicts.csv is there already"):
        Made("d.csv")
    assert mended.read_text() == "half mended"


def test_rows_that_cannot_be_read_are_all_named(here: Path) -> None:
    (here / "d.jsonl").write_text('{"text": "a", "label": "b"}\nno json\n{"text": "a", "label": "b"}\n{\n')
    with pytest.raises(DataError, match=r"d\.jsonl, line 2: not JSON .*; line 4: not JSON"):
        Made("d.jsonl")


# --------------------------------------------------------------------------------------------- asking, and running


@pytest.mark.parametrize(("answer", "text"), [("remarks", "remarks"), ("remarks, body", ("remarks", "body"))])
def test_a_person_is_asked_which_of_two(here: Path, answer: str, text: str) -> None:
    two_columns_of_no_clear_name(here)
    asked = []

    def ask(question: str, answers: Any) -> str:
        asked.append((question, list(answers)))
        return answer

    made = Made("d.csv", ask=ask)
    assert made.data.text == text
    assert asked == [("which column is the text?", ["body", "remarks", "remarks, body"])]
    assert made.rows[0].text.startswith("About the matter 0")
    assert ("\nMy " in made.rows[0].text) == isinstance(text, tuple)
    said = "text is 'body'; it might be 'remarks': then give TEXT=, or several with commas between, and FORCE=1"
    assert said in Made("d.csv", force=True).said
    assert Made("d.csv", force=True, text="remarks,body").data.text == ("remarks", "body")


def test_a_title_and_its_body_are_one_text_unasked(here: Path) -> None:
    two_columns_of_text(here)
    made = Made("d.csv", ask=lambda question, answers: pytest.fail(f"asked: {question}"))
    head, body = made.rows[0].text.splitlines()
    assert head.startswith("About the matter 0 of ")
    assert body == messages()[0][0]
    assert 'text = ["title", "body"]' in made.text
    assert "text is 'title' and 'body', one below the other; TEXT=body and FORCE=1 take one alone" in made.said
    assert "columns: text 'title' and 'body', label 'label'" in made.said
    assert Made("d.csv", text="body", force=True).data.text == "body"


@pytest.mark.parametrize(("typed", "answer"), [(["2"], "b"), ([""], "a"), (["9", "x", "1"], "a"), ([], "a")])
def test_answers_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: list[str], answer: str
) -> None:
    left = iter(typed)

    def said(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", said)
    assert write.ask_on_terminal("which?", ["a", "b"]) == answer
    assert "  2  b" in capsys.readouterr().out


def test_the_command_line_says_what_it_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids_groups_and_dates(here)
    assert main(["new", "d.csv", "--name", "mine"]) == 0
    said = capsys.readouterr().out
    assert "120 rows, 3 labels" in said
    assert "40 groups, none of which is parted by the splits" in said
    assert said.endswith("recipe: runs/mine.toml\nnext: make demo RECIPE=runs/mine.toml\n")
    assert main(["new", "d.csv", "--name", "mine"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_written_runs_to_a_bundle(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recipe as it is, with the real n-grams, in this process and without MLflow; nobody opens a language model."""
    workbench_fakes.without_plots(monkeypatch.setattr)
    workbench_fakes.without_tracking(monkeypatch.setattr)
    monkeypatch.setattr(Processes, "run", workbench_fakes.run_candidate_here)
    monkeypatch.setattr("workbench.run.engines.open_engine", workbench_fakes._open_fake)
    semicolons_in_german(here)
    made = Made("d.csv")
    assert main(["demo", str(made.path)]) == 0
    (bundle,) = (here / "runs" / "d").glob("*/bundle/bundle.json")
    assert "sgd" in bundle.read_text(encoding="utf-8")
    assert RunFolder(bundle.parents[1]).done_steps() == []
