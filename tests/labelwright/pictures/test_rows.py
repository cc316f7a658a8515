"""A column of images becomes a column of text; an image that cannot be read costs its own row."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import FakeOcr, data_address, folder_of_images, png

from labelwright.data.columns import TextColumns
from labelwright.data.records import Fault, Row
from labelwright.data.task import examples_from_rows
from labelwright.errors import DataError
from labelwright.pictures import rows as pictures
from labelwright.pictures.kept import Reader

ALONE = TextColumns.of("shot_text")
BOTH = TextColumns.of(["note", "shot_text"])


@pytest.fixture
def folder(tmp_path):
    folder_of_images(tmp_path, {"a.png": "the pool is green", "b.png": "no heat", "blank.png": ""})
    return tmp_path


def read(records, columns, folder, reader=None):
    rows = [Row(number, record) for number, record in enumerate(records, start=1)]
    return list(pictures.with_texts(rows, columns, "shot", folder, reader or Reader(FakeOcr())))


def test_text_of_an_image_joins_that_of_other_columns(folder):
    rows = read([{"shot": "a.png", "note": "urgent"}, {"shot": "", "note": "words alone"}], BOTH, folder)
    assert [BOTH.need(row.record) for row in rows] == ["urgent\nthe pool is green", "words alone"]
    assert rows[0].record == {"shot": "a.png", "note": "urgent", "shot_text": "the pool is green"}


def test_rows_go_on_behind_one_that_cannot_be_read(folder):
    (folder / "bad.png").write_bytes(png("x")[:40])
    records = [{"shot": name, "id": 7} for name in ("a.png", "bad.png", "gone.png", "../b.png", "b.png")]
    first, *faults, last = read(records, ALONE, folder)
    assert (first.record["shot_text"], last.record["shot_text"]) == ("the pool is green", "no heat")
    assert all(isinstance(one, Fault) and one.record["id"] == 7 for one in faults)
    assert ["damaged" in faults[0].reason, "missing" in faults[1].reason, "leads out" in faults[2].reason] == [True] * 3


def test_where_rows_are_taught_all_faults_are_told_at_once(folder):
    records = [{"shot": name, "label": "x"} for name in ("gone.png", "a.png", "none.png", "blank.png")]
    columns = {"text": ALONE, "label": "label"}
    with pytest.raises(DataError) as raised:
        examples_from_rows(read(records, ALONE, folder), columns, "rows.csv")
    said = str(raised.value)
    assert "rows 1 and 3: the image is missing" in said
    assert "row 4: the text is empty, as OCR finds none in the image" in said


def test_an_image_without_text_counts_only_where_it_is_alone(folder):
    (row,) = read([{"shot": "blank.png", "note": "words"}], BOTH, folder)
    assert BOTH.need(row.record) == "words"
    (row,) = read([{"shot": "blank.png", "note": ""}], BOTH, folder)
    assert BOTH.is_empty_in(row.record)
    with pytest.raises(DataError, match="OCR finds none"):
        BOTH.need(row.record)


def test_what_has_its_text_is_not_read_again(folder):
    ocr = FakeOcr()
    whole = TextColumns(("shot_text",), or_whole=True)
    rows = read([{"shot": "gone.png", "shot_text": "as read before"}, {"text": "typed"}], whole, folder, Reader(ocr))
    assert [whole.need(row.record) for row in rows] == ["as read before", "typed"]
    assert ocr.n_read == 0


def test_rows_without_the_column_are_told_what_they_have(folder):
    (fault,) = read([{"picture": "a.png"}], ALONE, folder)
    assert "no column 'shot' for image; the row has ['picture']" in fault.reason


def test_bytes_are_not_kept_beside_the_answer(folder):
    records = [{"shot": png("one")}, {"shot": {"bytes": png("two"), "path": "two.png"}}, {"shot": b"no image"}]
    first, second, fault = read(records, ALONE, folder)
    assert first.record == {"shot": f"{len(png('one'))} bytes", "shot_text": "one"}
    assert second.record == {"shot": "two.png", "shot_text": "two"}
    assert fault.record == {"shot": "8 bytes"}


def test_without_images_rows_come_as_they_are():
    given = [Row(1, {"text": "a"}), Fault(2, "bad")]
    assert list(pictures.with_texts(given, TextColumns(), "")) == given


def test_an_estimator_takes_paths_bytes_and_rows(folder, monkeypatch):
    monkeypatch.setattr(pictures, "Reader", lambda folder: Reader(FakeOcr(), folder))
    monkeypatch.chdir(folder)
    given = [folder / "a.png", png("no heat"), {"shot": "a.png"}, {"shot": data_address(png("sent"))}, "typed"]
    whole = TextColumns(("shot_text",), or_whole=True)
    found = pictures.texts_of_images(given, whole, "shot")
    assert found == ["the pool is green", "no heat", "the pool is green", "sent", "typed"]
    with pytest.raises(DataError, match="row 2 of X: the image is missing"):
        pictures.texts_of_images(["typed", Path("gone.png")], whole, "shot")


def test_how_far_it_is_is_told_once_it_takes_a_while(folder, monkeypatch, capsys):
    monkeypatch.setattr(pictures, "_PATIENCE_S", -1.0)
    monkeypatch.setattr(pictures, "_TOLD_EVERY_S", -1.0)
    read([{"shot": "a.png"}, {"shot": "b.png"}], ALONE, folder)
    assert "2 images read" in capsys.readouterr().err


def test_a_text_that_names_an_image_is_not_classified_as_text(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "shot").write_bytes(png("x"))
    for text in ("a.png", "gone.JPEG", "shot"):
        with pytest.raises(DataError, match=r"row 2 of X: .* is a text and would not be opened: give pathlib\.Path"):
            pictures.texts_of_images(["typed", text], ALONE, "shot")
    typed = ["see my photo.png", "", "x" * 5000, "a\0b"]
    assert pictures.texts_of_images(typed, ALONE, "shot") == typed
