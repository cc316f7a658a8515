"""Folders and splits: what `datasets` saves, files of a hub, texts in folders of their labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labelwright.data.formats.dialect import Dialect
from labelwright.data.records import Fault, Row
from labelwright.data.sources import chosen, parted_by, parts_of
from labelwright.errors import DataError


def csv(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text,label\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")


def texts(path: Path) -> dict[str, list[str]]:
    """Texts by split of all rows of a source."""
    found: dict[str, list[str]] = {}
    for part in parts_of(path):
        found.setdefault(part.split, []).extend(row.record["text"] for row in part.scan() if isinstance(row, Row))
    return found


def test_files_of_a_hub(tmp_path: Path) -> None:
    for name in ("train-00001-of-00002", "train-00000-of-00002", "dev", "test-00000-of-00001"):
        csv(tmp_path / "data" / f"{name}.csv", f"{name},a")
    (tmp_path / "README.md").write_text("text")
    (tmp_path / ".cache").mkdir()
    csv(tmp_path / ".cache" / "train.csv", "hidden,a")
    found = texts(tmp_path)
    assert found["train"] == ["train-00000-of-00002", "train-00001-of-00002"]
    assert set(found) == {"train", "validation", "test"}


def test_a_file_that_names_no_split_is_a_split_of_its_own(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", "taught,a")
    csv(tmp_path / "sample_submission.csv", "guess,a")
    assert texts(tmp_path) == {"train": ["taught"], "sample_submission": ["guess"]}


def test_files_that_name_none_are_one(tmp_path: Path) -> None:
    csv(tmp_path / "a.csv", "one,a")
    csv(tmp_path / "b.csv", "two,a")
    assert texts(tmp_path) == {"": ["one", "two"]}


@pytest.mark.parametrize("above", ["", "train", "20news-bydate-test"])
def test_texts_in_folders_of_their_labels(tmp_path: Path, above: str) -> None:
    for label, name, text in [("pos", "1.txt", "fine"), ("neg", "2", "dull\nbad")]:
        (tmp_path / above / label).mkdir(parents=True)
        (tmp_path / above / label / name).write_text(text)
    (part,) = parts_of(tmp_path)
    assert part.split == {"": "", "train": "train", "20news-bydate-test": "test"}[above]
    rows = [row.record for row in part.scan() if isinstance(row, Row)]
    assert rows == [
        {"text": "dull\nbad", "label": "neg", "id": "neg/2"},
        {"text": "fine", "label": "pos", "id": "pos/1.txt"},
    ]


def test_a_text_in_another_encoding_is_named(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.txt").write_bytes("é".encode("cp1252"))
    (part,) = parts_of(tmp_path)
    faults = [row for row in part.scan() if isinstance(row, Fault)]
    assert faults[0] == Fault(1, "neg/1.txt is not UTF-8; save it as UTF-8, or say its encoding", "file")
    (part,) = parts_of(tmp_path, Dialect(encoding="cp1252"))
    assert [row.record["text"] for row in part.scan() if isinstance(row, Row)] == ["é", "é"]


def test_what_datasets_saves(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    made = {
        split: datasets.Dataset.from_dict({"text": [f"{split} {i}" for i in range(4)], "label": [0, 1, 1, 0]}, features)
        for split in ("train", "test")
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "all")
    assert texts(tmp_path / "all") == {split: [f"{split} {i}" for i in range(4)] for split in ("train", "test")}
    (train, _) = parts_of(tmp_path / "all")
    assert [row.record["label"] for row in train.scan() if isinstance(row, Row)] == ["ham", "spam", "spam", "ham"]
    made["train"].select([1, 3]).save_to_disk(tmp_path / "one")
    assert texts(tmp_path / "one") == {"": ["train 1", "train 3"]}


def test_a_saved_dataset_names_no_file_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    csv(secret, "secret,a")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.csv"}]}))
    with pytest.raises(DataError, match="no such file"):
        texts(saved)
    (saved / "state.json").write_text("[]")
    with pytest.raises(DataError, match="not as `datasets` writes it"):
        texts(saved)


def test_a_folder_without_rows(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match="a folder without rows"):
        parts_of(tmp_path)


def test_a_column_that_says_the_split(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,set\na,train\nb,Test\nc,train\nd,\n")
    parts = parted_by(parts_of(path)[0], "set")
    numbers = {part.split: [row.number for row in part.scan()] for part in parts}
    assert numbers == {"train": [1, 3], "Test": [2], "": [4]}
    assert [part.split for part in chosen(parts, ["Test"], "rows.csv")] == ["Test"]
    with pytest.raises(DataError, match=r"rows.csv has no split 'dev'; it has train, Test"):
        chosen(parts, ["dev"], "rows.csv")
    with pytest.raises(DataError, match="no column 'fold' that says the split"):
        parted_by(parts_of(path)[0], "fold")
