from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import find_leaks

from labelwright.data.task import Example
from labelwright.errors import DataError, RecipeError
from workbench.recipe.beside.outside import all_out_of_scope
from workbench.recipe.read import read_recipe
from workbench.recipe.rows import (
    load_rows,
    make_splits,
    read_rows,
    split_remarks,
)
from workbench.recipe.splits import SIDES, read_splits, split_digest, splits_document
from workbench.recipe.tables.data import DataTable, SplitTable
from workbench.run.folder import write_json

SHARES = SplitTable()


@st.composite
def rows(draw: st.DrawFn) -> list[Example]:
    """Rows in groups of 1 to 4, at least 4 groups a label; texts may repeat across further groups."""
    made = []
    for label in "abc"[: draw(st.integers(2, 3))]:
        for g in range(draw(st.integers(4, 12))):
            grouped = draw(st.booleans())
            for i in range(draw(st.integers(1, 4))):
                twin = g >= 4 and draw(st.integers(0, 4)) == 0
                text = f"{label} twin!" if twin else f"{label} text {g} {i}"
                made.append(Example(f"{label}-{g}-{i}", text, label, group=f"{label}{g}" if grouped else None))
    return made


@settings(max_examples=60, deadline=None)
@given(rows(), st.integers(0, 3))
def test_no_row_is_lost_and_no_family_is_parted(examples: list[Example], seed: int) -> None:
    splits = make_splits(examples, SHARES, seed)
    dealt = [row.id for side in SIDES for row in getattr(splits, side)]
    assert sorted(dealt) == sorted(row.id for row in examples)
    assert find_leaks(splits) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 14), st.integers(1, 4), st.integers(0, 5))
def test_every_label_stands_on_every_side(n_groups: int, size: int, seed: int) -> None:
    examples = [
        Example(f"{label}{g}{i}", f"{label} {g} {i}", label, group=f"{label}{g}")
        for label in "xyz"
        for g in range(n_groups)
        for i in range(size)
    ]
    splits = make_splits(examples, SHARES, seed)
    for side in SIDES:
        assert {row.label for row in getattr(splits, side)} == set("xyz")


def test_shares_are_kept_label_by_label() -> None:
    examples = [Example(f"{k}-{i}", f"{k} {i}", k) for k in "ab" for i in range(200)]
    splits = make_splits(examples, SHARES, 0)
    for side, share in (("train", 0.56), ("dev", 0.12), ("calib", 0.12), ("test", 0.2)):
        for label, n in Counter(row.label for row in getattr(splits, side)).items():
            assert n == pytest.approx(200 * share, abs=1), (side, label)


def test_the_seed_decides() -> None:
    examples = toy_examples()
    one, same, other = (split_digest(make_splits(examples, SHARES, seed)) for seed in (0, 0, 1))
    assert one == same != other


def test_too_few_families_are_refused() -> None:
    examples = [Example(str(i), f"text {i}", "ab"[i % 2], group="one") for i in range(20)]
    with pytest.raises(DataError, match=r"20 rows in 1 separate groups leave \w+ empty"):
        make_splits(examples, SHARES, 0)


def test_splits_are_read_back(tmp_path: Path) -> None:
    examples = toy_examples()
    splits = make_splits(examples, SHARES, 0)
    write_json(tmp_path / "splits.json", splits_document(splits))
    assert read_splits(tmp_path / "splits.json", examples[::-1]) == splits


@pytest.mark.parametrize("change", ["text", "fewer", "more"])
def test_changed_rows_are_noticed(tmp_path: Path, change: str) -> None:
    examples = toy_examples()
    write_json(tmp_path / "splits.json", splits_document(make_splits(examples, SHARES, 0)))
    if change == "text":
        examples[0] = Example(examples[0].id, "another text", examples[0].label, group=examples[0].group)
    elif change == "fewer":
        examples.pop()
    else:
        examples.append(Example("new", "a new text", "pool"))
    with pytest.raises(DataError, match="the data changed since the run began"):
        read_splits(tmp_path / "splits.json", examples)


def test_rows_are_checked_against_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": k}) + "\n" for t, k in [("one", "a"), ("two", "b")] * 1))
    with pytest.raises(DataError, match="label 'b' is not one of the task's 1 labels"):
        load_rows(DataTable(path=str(path)), ["a"])


def test_rows_out_of_scope_are_no_part_of_the_splits(tmp_path: Path) -> None:
    rows = [{"text": f"row {i}", "label": "ab"[i % 2]} for i in range(20)]
    path, test_path = tmp_path / "rows.jsonl", tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outside = [{"text": f"outside {i}", "label": "none"} for i in range(3)]
    test_path.write_text("".join(json.dumps({**row, "text": f"test {row['text']}"}) + "\n" for row in rows[:4]))
    with test_path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in outside))
    table = DataTable(path=str(path), test_path=str(test_path), out_of_scope="none")
    assert {row.label for row in load_rows(table)} == {"a", "b"}
    found = all_out_of_scope(table)
    assert [row.text for row in found[str(test_path)]] == [row["text"] for row in outside]
    assert all_out_of_scope(DataTable(path=str(path))) == {}


def test_a_dataset_id_is_read_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    names = ["ham", "spam"]

    class Part(list):
        features = {"label": SimpleNamespace(int2str=lambda k: names[k])}  # noqa: RUF012

    loaded = {
        "train": Part({"text": f"train {i}", "label": i % 2} for i in range(4)),
        "test": Part({"text": f"test {i}", "label": i % 2} for i in range(4)),
    }
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or loaded)
    table = DataTable(hub="owner/name", config="plain", read_splits=("test",), revision="abc")
    rows = load_rows(table)
    assert [(row.text, row.label) for row in rows] == [(f"test {i}", names[i % 2]) for i in range(4)]
    assert asked == [(("owner/name", "plain"), {"revision": "abc"})]
    with pytest.raises(DataError, match="has no split 'dev'; it has train, test"):
        load_rows(DataTable(hub="owner/name", read_splits=("dev",)))


def test_an_unreachable_dataset_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*arguments: object, **settings: object) -> None:
        raise ConnectionError("no route to hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match="dataset 'owner/name' cannot be read: no route to hub; ") as error:
        load_rows(DataTable(hub="owner/name"))
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------------------- labels of several sources


def write_rows(path: Path, *rows: tuple[str, object] | tuple[str, object, str]) -> str:
    lines = [dict(zip(("text", "label", "id"), row, strict=False)) for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def labelled(prefix: str, *labels: object, each: int = 4) -> list[tuple[str, object]]:
    return [(f"{prefix} {label} {i}", label) for label in labels for i in range(each)]


@pytest.mark.parametrize(
    ("in_train", "in_test"),
    [
        ((0, 1), (0.0, 1.0)),
        (("0", "1"), ("0.0", "1.0")),
        ((True, False), ("true", "false")),
        (("Pool", "Fence"), ("pool", "fence")),
        (("water heater", "gate"), ("water  heater", "ga te")),
        (("caf\u00e9", "na\u00efve"), ("cafe\u0301", "nai\u0308ve")),
    ],
)
def test_labels_of_train_and_test_are_reconciled(tmp_path: Path, in_train: tuple, in_test: tuple) -> None:
    path = write_rows(tmp_path / "train.jsonl", *labelled("train", *in_train))
    test_path = write_rows(tmp_path / "test.jsonl", *labelled("test", *in_test, each=2))
    with pytest.raises(DataError) as caught:
        load_rows(DataTable(path=path, test_path=test_path))
    for one, other in zip(in_train, in_test, strict=True):
        one, other = " ".join(str(one).split(" ")), str(other)
        assert f"{one!r} (4 rows of {path}) and {other!r} (2 rows of {test_path})" in str(caught.value)
    rows = load_rows(DataTable(path=path, test_path=test_path, similar_labels="merge"))
    assert {row.label for row in rows} == set(map(str, in_train))
    assert "labels read as similar_labels says" in rows.remarks[0]


def test_labels_of_the_recipe_are_reconciled_too(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", *labelled("row", "pool", "FENCE "), ("odd", " Pool"), ("odder", "pool"))
    with pytest.raises(DataError, match=r"'Pool' \(in the recipe's labels, 1 row of .*\) and 'pool' \(5 rows of "):
        load_rows(DataTable(path=path), ["Pool", "fence"])
    rows = load_rows(DataTable(path=path, similar_labels="merge"), ["Pool", "fence"])
    assert Counter(row.label for row in rows) == {"Pool": 6, "fence": 4}
    with pytest.raises(DataError, match="is not one of the task's 2 labels"):
        load_rows(DataTable(path=path, similar_labels="keep"), ["Pool", "fence"])


def test_out_of_scope_is_reconciled_too(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", *labelled("row", "a", "b", "None"))
    with pytest.raises(DataError, match=r"'none' \(in the recipe's out_of_scope\) and 'None' \(4 rows of "):
        load_rows(DataTable(path=path, out_of_scope="none"))
    merged = DataTable(path=path, out_of_scope="none", similar_labels="merge")
    assert {row.label for row in load_rows(merged)} == {"a", "b"}
    assert len(all_out_of_scope(merged)[str(path)]) == 4
    assert "no row has the label 'oos'" in load_rows(DataTable(path=path, out_of_scope="oos")).remarks[0]


def test_labels_that_only_test_has_are_refused_with_counts(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.jsonl", *labelled("train", "a", "b"))
    test_path = write_rows(tmp_path / "test.jsonl", *labelled("test", "a", "c", "d", each=3), ("one", "d"))
    table = DataTable(path=path, test_path=test_path)
    for labels in (None, ["a", "b", "c", "d"]):
        with pytest.raises(
            DataError, match=r"test.jsonl: labels that no row of .* teaches .*: 'd' \(4 rows\) and 'c' \(3"
        ):
            load_rows(table, labels)


# -------------------------------------------------------------------------------------------- a test file of its own


def test_ids_of_users_move_no_row_to_test(tmp_path: Path) -> None:
    rows = [(*row, f"test:{n}") for n, row in enumerate(labelled("row", "a", "b", each=20), start=1)]
    path = write_rows(tmp_path / "rows.jsonl", *rows)
    splits = make_splits(load_rows(DataTable(path=path, id="id")), SHARES, 0)
    assert [len(getattr(splits, side)) for side in SIDES] == [22, 6, 4, 8]
    # And with a test file: the ids of the one may look like those of the other.
    test_path = write_rows(tmp_path / "test.jsonl", *[(f"new {n}", "ab"[n % 2], str(n)) for n in range(1, 7)])
    loaded = load_rows(DataTable(path=path, test_path=test_path, id="id"))
    assert len({row.id for row in loaded}) == len(loaded)
    splits = make_splits(loaded, SHARES, 0)
    assert [row.text for row in splits.test] == [f"new {n}" for n in range(1, 7)]


def test_rows_that_test_has_are_left_out_and_said(tmp_path: Path) -> None:
    train = [
        *labelled("train", "up", "down"),
        ("OK  👍!", "up"),
        ("ok 👎", "down"),
        ("won?", "up"),
        ("It failed", "down"),
    ]
    path = write_rows(tmp_path / "train.jsonl", *train)
    test_path = write_rows(
        tmp_path / "test.jsonl", ("ok 👍", "up"), ("won!", "down"), ("it failed", "up"), ("x", "down")
    )
    rows = load_rows(DataTable(path=path, test_path=test_path))
    left = [row.text for row in rows if row.side is None]
    # Neither the other emoji nor the other label's nearly equal text is the same text.
    assert left == [text for text, _ in train if text not in ("OK  👍!", "It failed")]
    [remark] = rows.remarks
    assert f"2 rows of {path} are left out: 2 have the text of a row of {test_path}, 0 belong to its groups" in remark
    assert "'OK  👍!' is row test:1 'ok 👍' of the test; 1 of them are labelled otherwise there" in remark


def test_groups_of_test_rows_are_left_out_whole(tmp_path: Path) -> None:
    rows = [{"text": f"row {i}", "label": "ab"[i % 2], "group": f"g{i // 2}"} for i in range(20)]
    path, test_path = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The text is row 0's; row 1 is a paraphrase of it.
    test = [{"text": "Row 0.", "label": "a", "group": "other"}, {"text": "new", "label": "b", "group": "g9"}]
    test_path.write_text("".join(json.dumps(row) + "\n" for row in test))
    loaded = load_rows(DataTable(path=str(path), test_path=str(test_path), group="group"))
    assert [row.text for row in loaded if row.side is None] == [f"row {i}" for i in range(2, 18)]
    assert "4 rows of" in loaded.remarks[0]
    assert "1 have the text" in loaded.remarks[0]
    assert find_leaks(make_splits(loaded, SHARES, 0)) == []


def test_a_test_file_need_not_be_splittable(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.jsonl", *labelled("train", "a", "b"), ("only one", "rare"))
    test = [("one", "a"), ("twice", "a"), ("Twice", "b"), ("r", "rare")]
    test_path = write_rows(tmp_path / "test.jsonl", *test)
    rows = load_rows(DataTable(path=path, test_path=test_path))
    splits = make_splits(rows, SHARES, 0)
    assert [(row.text, row.label) for row in splits.test] == test
    assert "rare" in {row.label for row in splits.train}
    assert "no answer is right for texts with several labels, which are kept: rows 2 and 3" in rows.remarks[0]
    one_class = load_rows(DataTable(path=path, test_path=write_rows(tmp_path / "one.jsonl", ("x", "a"), ("y", "a"))))
    assert "all rows have the label 'a': this measures one label only" in one_class.remarks[0]


# -------------------------------------------------------------------------------------------------- few rows a label


@pytest.mark.parametrize(("n_labels", "each"), [(20, 3), (60, 3), (20, 2), (3, 3), (7, 2), (2, 4)])
def test_few_rows_a_label_fill_every_side(n_labels: int, each: int) -> None:
    examples = [Example(f"{k}-{i}", f"{k} text {i}", f"label {k:02}") for k in range(n_labels) for i in range(each)]
    splits = make_splits(examples, SHARES, 0)
    n = {side: len(getattr(splits, side)) for side in SIDES}
    assert {row.label for row in splits.train} == {row.label for row in examples}
    assert min(n.values()) > 0
    assert n["test"] >= max(n["dev"], n["calib"])
    if n_labels == 20 and each == 3:
        assert n == {"train": 20, "dev": 11, "calib": 11, "test": 18}
    remarks = split_remarks(splits, SHARES)
    assert remarks[0].startswith("the shares that came out: train ")
    assert each == 4 or any(remark.startswith("calib has no row of ") for remark in remarks)


def test_splits_that_came_out_as_asked_need_no_word() -> None:
    examples = [Example(f"{k}-{i}", f"{k} {i}", k) for k in "ab" for i in range(100)]
    assert split_remarks(make_splits(examples, SHARES, 0), SHARES) == []


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 3))
def test_every_label_is_taught_and_no_family_is_parted(data: st.DataObject, seed: int) -> None:
    """Whatever the groups and the labels in them; shares are near those asked where rows are plenty."""
    labels = st.sampled_from("abcdef"[: data.draw(st.integers(2, 6))])
    groups = data.draw(st.lists(st.lists(labels, min_size=1, max_size=3), min_size=16, max_size=60))
    examples = [
        Example(f"{g}-{i}", f"text {g} {i}", label, group=f"group {g}")
        for g, members in enumerate(groups)
        for i, label in enumerate(members)
    ]
    try:
        splits = make_splits(examples, SHARES, seed)
    except DataError:
        return  # too few families of this shape for four sides
    assert find_leaks(splits) == []
    assert {row.label for row in splits.train} == {row.label for row in examples}
    assert sorted(row.id for side in SIDES for row in getattr(splits, side)) == sorted(row.id for row in examples)


def test_max_rows_keeps_every_label(tmp_path: Path) -> None:
    rare = [(f"rare {k} {i}", f"rare {k}") for k in range(10) for i in range(5)]
    path = write_rows(tmp_path / "rows.jsonl", *labelled("row", "often", each=950), *rare)
    rows = load_rows(DataTable(path=path, max_rows=60))
    counts = Counter(row.label for row in rows)
    assert len(rows) == 60
    assert len(counts) == 11
    assert min(counts.values()) == 4
    for side in SIDES:
        assert len({row.label for row in getattr(make_splits(rows, SHARES, 0), side)}) == 11
    assert load_rows(DataTable(path=path, max_rows=60)) == rows
    with pytest.raises(DataError, match="max_rows = 10: the rows have 11 labels"):
        load_rows(DataTable(path=path, max_rows=10))


def test_the_split_of_the_shipped_recipe_stays() -> None:
    """The published numbers rest on it."""
    recipe = read_recipe(Path(__file__).parents[3] / "runs" / "homeowner.toml")
    path = str(Path(__file__).parents[3] / recipe.data.path)
    rows = load_rows(replace(recipe.data, path=path), [label.name for label in recipe.task.labels], recipe.seed)
    assert split_digest(make_splits(rows, recipe.splits, 0)) == "267e40ead402862f"
    assert rows.remarks == []
    # Keys that came after a run began do not end it.
    assert recipe.fingerprints()["data"] == "7b0ec8d0a0aece05"


# ------------------------------------------------------------------------------------------------------- dataset ids


def test_class_numbers_of_a_dataset_that_are_none_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["ham", "spam"]),
            "when": datasets.Value("timestamp[us]"),
        }
    )
    arrow = pytest.importorskip("pyarrow")
    far = arrow.array([2**60] * 6, arrow.timestamp("us"))
    table = arrow.table({"text": list("abcdef"), "label": arrow.array([0, 1, -1, 1, 0, -1]), "when": far})
    part = datasets.Dataset(table.cast(features.arrow_schema))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: {"train": part.cast(features)})
    with pytest.raises(
        DataError, match=r"owner/name \(train\), rows 3 and 6: the label is -1, which stands for a row without one"
    ):
        load_rows(DataTable(hub="owner/name"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: {"train": part.cast(features).select([0, 1, 3, 4])})
    assert [row.label for row in load_rows(DataTable(hub="owner/name"))] == ["ham", "spam", "spam", "ham"]


def test_choices_of_train_and_test_are_read_alike(tmp_path: Path) -> None:
    def write_quiz(name: str, answers: list[int]) -> str:
        rows = [{"q": f"{name} {i}", "c": ["x", "y", "z"], "label": answer} for i, answer in enumerate(answers)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    table = DataTable(
        path=write_quiz("train.jsonl", [0, 1, 2] * 4),
        test_path=write_quiz("test.jsonl", [1, 2, 1]),
        text="q",
        choices="c",
    )
    assert "".join(row.label for row in load_rows(table) if row.side == "test") == "BCB"
    with pytest.raises(DataError, match="rows 1, 4, 7 and 10: the label '0' is none"):
        load_rows(replace(table, choice_label="index1"))


def test_a_label_that_only_stands_in_others_families_is_taught() -> None:
    mixed = [Example(f"m{i}", f"mixed {i}", "aac"[i], group="mixed") for i in range(3)]
    others = [Example(f"{k}{i}", f"{k} {i}", k, group=f"{k}{i // 3}") for k in "ab" for i in range(36)]
    for seed in range(8):
        splits = make_splits([*mixed, *others], SHARES, seed)
        assert "c" in {row.label for row in splits.train}


def later_table(tmp_path: Path, *later: tuple[str, str], **more: Any) -> DataTable:
    path = write_rows(tmp_path / "rows.jsonl", *((f"row {n} of {label}", label) for label in "ab" for n in range(20)))
    return DataTable(path=path, train_path=write_rows(tmp_path / "later.jsonl", *later), **more)


def test_rows_labelled_later_are_taught_and_change_no_other_side(tmp_path):
    table = later_table(tmp_path, ("a new text", "a"), ("another text", "b"))
    before = make_splits(load_rows(replace(table, train_path="")), SHARES, 0)
    rows = load_rows(table)
    after = make_splits(rows, SHARES, 0)
    assert (after.dev, after.calib, after.test) == (before.dev, before.calib, before.test)
    assert after.train[: len(before.train)] == before.train
    assert [(row.id, row.text) for row in after.train[len(before.train) :]] == [
        ("train:1", "a new text"),
        ("train:2", "another text"),
    ]
    assert split_remarks(after, SHARES) == split_remarks(before, SHARES)


def test_a_row_labelled_later_that_is_measured_on_already_is_not_taught(tmp_path):
    """Whatever seed deals the others: a repeat with another split must not be taught its own test rows."""
    table = later_table(tmp_path, *((f"Row {n} of a!", "a") for n in range(20)))
    rows = load_rows(table)
    for seed in (0, 1):
        splits = make_splits(rows, SHARES, seed)
        assert find_leaks(splits) == []
        assert sum(row.side == "train" for row in splits.train) == sum(
            row.side is None and row.label == "a" for row in splits.train
        )
    recipe = read_recipe(Path(__file__).parents[3] / "runs" / "homeowner.toml")
    recipe = replace(recipe, data=table, task=replace(recipe.task, labels=()), splits=SHARES)
    read = read_rows(recipe)
    assert "rows of" in read.remarks[-1]
    assert "dev, calib or test has their text" in read.remarks[-1]
    ids = {row.id for row in read}
    assert ids == {row.id for side in SIDES for row in getattr(make_splits(read, SHARES, recipe.seed), side)}


def test_a_row_labelled_later_that_contradicts_another_is_named(tmp_path):
    table = later_table(tmp_path, ("row 3 of a", "b"), ("x", "a"), ("x", "b"))
    with pytest.raises(DataError, match="rows 1 and 3: another row, there or in "):
        load_rows(table)
    rows = load_rows(replace(table, leave_out=("conflicting",)))
    assert [row.text for row in rows if row.side == "train"] == ["x"]
    with pytest.raises(RecipeError, match="expected a file of its own"):
        DataTable(path="a.csv", train_path="a.csv")
