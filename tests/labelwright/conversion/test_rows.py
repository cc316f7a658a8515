from __future__ import annotations

import json

import pytest
from fakes import FakeEngine, toy_bundle, toy_splits, toy_task

from labelwright.bundle.store import save
from labelwright.conversion.rows import golden_rows, of_examples, rows_of_file
from labelwright.errors import DataError

NAMES = toy_task().names
COLUMNS = {"text": "text", "label": "label", "group": ""}


def written(tmp_path, *records) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return str(path)


def test_golden_rows_are_those_of_the_export_with_their_labels(tmp_path):
    dev = toy_splits().dev
    save(toy_bundle(), tmp_path / "b", engine=FakeEngine(), golden=dev)
    found = golden_rows(tmp_path / "b", NAMES)
    assert list(found.texts) == [one.text for one in dev]
    assert [NAMES[gold] for gold in found.gold] == [one.label for one in dev]


def test_a_bundle_without_golden_rows_needs_others(tmp_path):
    save(toy_bundle(), tmp_path / "b")
    with pytest.raises(DataError, match="--input"):
        golden_rows(tmp_path / "b", NAMES)


def test_rows_of_a_file_may_have_labels_or_not(tmp_path):
    path = written(tmp_path, {"text": "a", "label": "fence"}, {"text": "b"}, {"text": "c", "label": None})
    found = rows_of_file(path, NAMES, COLUMNS)
    assert (list(found.texts), found.gold.tolist(), found.groups) == (["a", "b", "c"], [1, -1, -1], None)
    assert found.source == "rows.jsonl"


def test_groups_count_where_their_column_is_named(tmp_path):
    path = written(tmp_path, {"text": "a", "who": "x"}, {"text": "b", "who": "x"})
    found = rows_of_file(path, NAMES, COLUMNS | {"group": "who"})
    assert found.groups is not None
    assert len(set(found.groups)) == 1


def test_everything_that_is_wrong_with_rows_is_said_at_once(tmp_path):
    with pytest.raises(DataError, match=r"rows 1 and 3: the text is empty"):
        rows_of_file(written(tmp_path, {"text": ""}, {"text": "b"}, {"text": " "}), NAMES, COLUMNS)
    with pytest.raises(DataError, match=r"row 2: label 'gate' is not one of the bundle's 3 labels"):
        rows_of_file(written(tmp_path, {"text": "a"}, {"text": "b", "label": "gate"}), NAMES, COLUMNS)
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match="none"):
        rows_of_file(str(tmp_path / "none.jsonl"), NAMES, COLUMNS)


def test_the_hash_is_of_texts_and_labels():
    dev = list(toy_splits().dev)
    one, same, less = (of_examples(rows, NAMES, "x").sha256 for rows in (dev, dev[:], dev[1:]))
    assert one == same != less
    relabelled = [*dev[:-1], type(dev[0])(dev[-1].id, dev[-1].text, "pool" if dev[-1].label != "pool" else "fence")]
    assert of_examples(relabelled, NAMES, "x").sha256 != one
