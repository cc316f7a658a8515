"""Splits that a file, a folder or a dataset says, and rows that a recipe leaves out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelwright.errors import DataError, RecipeError
from workbench.recipe.beside.outside import all_out_of_scope
from workbench.recipe.rows import load_rows, make_splits
from workbench.recipe.tables.data import DataTable, SplitTable


def rows(n: int, tag: str, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"{tag} row {i}", "label": "ab"[i % 2], **more} for i in range(n)]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_column_says_which_rows_are_the_test_split(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [*rows(20, "train", set="train"), *rows(4, "test", set="test")][::-1])
    table = DataTable(path=path, split="set", test_split="test")
    read = load_rows(table)
    assert Counter((row.side, row.text.split()[0]) for row in read) == {(None, "train"): 20, ("test", "test"): 4}
    # Numbers are those of the file, so ids are unique.
    assert len({row.id for row in read}) == 24
    assert {row.text for row in make_splits(read, SplitTable(), 0).test} == {f"test row {i}" for i in range(4)}
    assert len(load_rows(replace(table, test_split="", read_splits=("train",)))) == 20


def test_a_folder_says_it_too(tmp_path: Path) -> None:
    for split, n in (("train", 20), ("dev", 6), ("test", 4)):
        write(tmp_path / f"{split}.jsonl", rows(n, split))
    read = load_rows(DataTable(path=str(tmp_path), test_split="test"))
    assert Counter(row.side for row in read) == {None: 26, "test": 4}
    assert len({row.id for row in read}) == 30
    with pytest.raises(DataError, match="has no split 'eval'; it has validation, test, train"):
        load_rows(DataTable(path=str(tmp_path), test_split="eval"))


def test_so_does_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    class Part(list):
        features = {"label": SimpleNamespace(int2str=lambda k: "ab"[k])}  # noqa: RUF012

    loaded = {
        split: Part({"text": f"{split} {i}", "label": i % 2} for i in range(n))
        for split, n in (("train", 20), ("test", 4))
    }
    monkeypatch.setattr(datasets, "load_dataset", lambda *arguments, **settings: loaded)
    read = load_rows(DataTable(hub="owner/name", test_split="test"))
    assert Counter((row.side, row.text.split()[0]) for row in read) == {(None, "train"): 20, ("test", "test"): 4}


def test_a_dataset_of_several_configurations_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*arguments: object, **settings: object) -> None:
        raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['de', 'en']\nExample")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"Config name is missing. Please pick one .*\['de', 'en'\]; check") as error:
        load_rows(DataTable(hub="owner/name"))
    assert "\n" not in str(error.value)


def test_out_of_scope_rows_are_those_of_the_test_split(tmp_path: Path) -> None:
    outside = [{"text": "what", "label": "none", "set": "test"}, {"text": "eh", "label": "none", "set": "train"}]
    path = write(tmp_path / "r.jsonl", [*rows(20, "train", set="train"), *rows(4, "test", set="test"), *outside])
    table = DataTable(path=path, split="set", test_split="test", out_of_scope="none")
    assert [row.text for row in all_out_of_scope(table)[table.test_source]] == ["what"]
    assert {row.label for row in load_rows(table)} == {"a", "b"}


# -------------------------------------------------------------------------------------------------- rows left out


BAD = [
    {"text": " ", "label": "a"},
    {"text": "no label", "label": None},
    {"text": "Train ROW 0", "label": "b"},
    {"text": "alone", "label": "c"},
]


@pytest.mark.parametrize(
    ("left", "refused"),
    [
        ((), "the text is empty"),
        (("empty",), "the same text is labelled"),
        (("empty", "conflicting"), "label 'c' has one row"),
    ],
)
def test_what_is_not_left_out_is_refused(tmp_path: Path, left: tuple[Any, ...], refused: str) -> None:
    path = write(tmp_path / "r.jsonl", [*rows(20, "train"), *BAD])
    with pytest.raises(DataError, match=refused):
        load_rows(DataTable(path=path, leave_out=left))


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [*rows(20, "train"), *BAD])
    read = load_rows(DataTable(path=path, leave_out=("empty", "conflicting", "rare")))
    assert {row.text for row in read} == {f"train row {i}" for i in range(1, 20)}
    assert read.remarks == [
        f"2 rows of {path} are left out: no text or no label",
        f"2 rows of {path} are left out: texts with several labels, 1 of them",
        "rows of labels with too few rows to learn are left out: 'c'",
    ]


def test_a_given_test_split_keeps_its_conflicts_and_loses_labels_that_nobody_teaches(tmp_path: Path) -> None:
    test = [*rows(4, "test"), {"text": "test row 0", "label": "b"}, {"text": "new", "label": "d"}]
    paths = {"path": write(tmp_path / "r.jsonl", rows(20, "train")), "test_path": write(tmp_path / "t.jsonl", test)}
    with pytest.raises(DataError, match=r"labels that no row of .* teaches .*'d' \(1 row\)"):
        load_rows(DataTable(**paths, leave_out=("empty", "conflicting")))
    read = load_rows(DataTable(**paths, leave_out=("conflicting", "rare")))
    assert [row.text for row in read if row.side] == [*(f"test row {i}" for i in range(4)), "test row 0"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"test_path": "t.csv", "test_split": "test"}, "test_path and test_split: expected one of them"),
        ({"split": "label"}, "split and label = 'label': expected two columns"),
        ({"read_splits": ("train",), "test_split": "test"}, "'test', which test_split names, is not among them"),
    ],
)
def test_tables_that_contradict_themselves(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        DataTable(path="r.csv", **given)


def test_labels_are_called_as_the_recipe_says(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", rows(20, "train"))
    test_path = write(tmp_path / "t.jsonl", rows(4, "test"))
    table = DataTable(path=path, test_path=test_path, rename={"a": "first > a"})
    assert Counter(row.label for row in load_rows(table, ["first > a", "b"])) == {"first > a": 12, "b": 12}
    with pytest.raises(DataError, match=r"rename names the label 'c', which no row has; the rows have 'a' and 'b'"):
        load_rows(replace(table, rename={"a": "x", "c": "y"}))
