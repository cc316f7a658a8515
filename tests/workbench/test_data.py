from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import toy_examples
from hypothesis import given, settings
from hypothesis import strategies as st

from labelwright.errors import DataError
from labelwright.task import Example, find_leaks
from workbench.data import SIDES, load_out_of_scope, load_rows, make_splits, read_splits, split_digest, splits_document
from workbench.folder import write_json
from workbench.recipe import DataTable, SplitTable

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
    assert [row.text for row in load_out_of_scope(table)] == [row["text"] for row in outside]
    assert load_out_of_scope(DataTable(path=str(path))) == []


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
    table = DataTable(hub="owner/name", config="plain", hub_splits=("test",), revision="abc")
    rows = load_rows(table)
    assert [(row.text, row.label) for row in rows] == [(f"test {i}", names[i % 2]) for i in range(4)]
    assert asked == [(("owner/name", "plain"), {"revision": "abc"})]
    with pytest.raises(DataError, match="has no split 'dev'; it has train, test"):
        load_rows(DataTable(hub="owner/name", hub_splits=("dev",)))


def test_an_unreachable_dataset_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*arguments: object, **settings: object) -> None:
        raise ConnectionError("no route to hub\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match="dataset 'owner/name' cannot be read: no route to hub; ") as error:
        load_rows(DataTable(hub="owner/name"))
    assert "\n" not in str(error.value)
