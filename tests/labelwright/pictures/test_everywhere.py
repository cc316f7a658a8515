"""Rows with images are the same texts for every command, the estimator, the server and a run; one OCR answers all."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeEngine, toy_bundle, toy_splits, toy_task
from pictures import FakeOcr, data_address, folder_of_images, png
from starlette.testclient import TestClient

import baselines
import labelwright.engines.opening
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.classifier import Classifier
from labelwright.cli import main
from labelwright.data.task import texts_and_labels
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.errors import BundleError, DataError, MissingExtraError, RecipeError
from labelwright.pictures import kept, sent
from labelwright.pictures.ocr import Ocr
from labelwright.serve.application import application
from labelwright.serve.limits import Limits
from labelwright.serve.served import Served
from labelwright.statistics.calibration import Calibration
from workbench.recipe.files import read_files
from workbench.recipe.rows import load_rows
from workbench.recipe.tables.data import DataTable

WRITTEN = {"shots/a.png": "the skimmer", "shots/b.png": "a loose panel\non the gate", "shots/c.png": "airflow"}
ROWS = [
    {"note": "urgent", "shot": "shots/a.png", "label": "pool"},
    {"note": "", "shot": "shots/b.png", "label": "fence"},
    {"note": "late", "shot": "shots/c.png", "label": "hvac"},
]
TEXTS = ["urgent\nthe skimmer", "a loose panel\non the gate", "late\nairflow"]
TASK = replace(toy_task(), text_columns=("note", "shot_text"), image_column="shot")


@pytest.fixture(autouse=True)
def ocr(monkeypatch):
    made = FakeOcr()
    monkeypatch.setattr(kept, "Ocr", lambda: made)
    monkeypatch.setattr(labelwright.engines.opening, "open_engine", lambda *_, **__: FakeEngine())
    sent._reader.cache_clear()
    return made


@pytest.fixture
def folder(tmp_path):
    folder_of_images(tmp_path, WRITTEN)
    save(replace(toy_bundle(), task=TASK), tmp_path / "bundle")
    write(tmp_path, ROWS)
    return tmp_path


def write(folder, rows) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def predicted(arguments, capsys) -> list[dict]:
    main(["predict", *map(str, arguments)])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def expected(texts=TEXTS) -> np.ndarray:
    return probabilities(toy_bundle(), FakeEngine(), texts)


def test_a_bundle_names_its_images_and_every_command_reads_them(folder, capsys):
    assert load(folder / "bundle").task == TASK
    rows = predicted([folder / "bundle", "--input", folder / "rows.jsonl"], capsys)
    assert [list(row["probabilities"].values()) for row in rows] == expected().tolist()
    assert [(row["shot"], row["shot_text"]) for row in rows] == list(WRITTEN.items())
    assert main(["evaluate", str(folder / "bundle"), "--input", str(folder / "rows.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 3
    estimator = Classifier.from_bundle(folder / "bundle", engine=FakeEngine())
    found = estimator.predict_proba([{**row, "shot": folder / row["shot"]} for row in ROWS])
    assert found.tolist() == expected().tolist()


def test_images_are_read_once_by_a_run_that_goes_on(folder, capsys, ocr):
    for _ in range(2):
        predicted([folder / "bundle", "--input", folder / "rows.jsonl"], capsys)
    assert ocr.n_read == 3


def test_a_bundle_of_texts_reads_a_column_of_images_that_is_named(folder, capsys):
    save(toy_bundle(), folder / "of_texts")
    options = ["--input", folder / "rows.jsonl", "--image-column", "shot"]
    alone = predicted([folder / "of_texts", *options], capsys)
    assert [list(row["probabilities"].values()) for row in alone] == expected(list(WRITTEN.values())).tolist()
    both = predicted([folder / "of_texts", *options, "--text-column", "note"], capsys)
    assert [list(row["probabilities"].values()) for row in both] == expected().tolist()


def test_rows_behind_a_bad_image_are_answered(folder, capsys):
    bad = {"note": "", "shot": "../../etc/passwd", "id": 9}
    path = write(folder, [ROWS[0], bad, {"shot": "none.png", "note": ""}, ROWS[2]])
    assert main(["predict", str(folder / "bundle"), "--input", path]) == 1
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["label"] is None for row in rows] == [False, True, True, False]
    assert rows[1]["id"] == 9
    assert "row 2: the image's path leads out of the folder" in rows[1]["error"]
    assert "row 3: the image is missing" in err


def test_measured_rows_are_refused_all_at_once(folder, capsys):
    path = write(folder, [ROWS[0], *[{"note": "", "shot": "none.png", "label": "pool"}] * 2])
    assert main(["evaluate", str(folder / "bundle"), "--input", path]) == 2
    assert "rows 2 and 3: the image is missing" in capsys.readouterr().err


def test_images_on_stdin_come_with_their_rows(folder, capsys, monkeypatch):
    import io
    import sys

    sent_row = {"note": "urgent", "shot": data_address(png("the skimmer"))}
    lines = "".join(json.dumps(row) + "\n" for row in (sent_row, ROWS[1]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    first, second = predicted([folder / "bundle", "--input", "-"], capsys)
    assert list(first["probabilities"].values()) == expected()[0].tolist()
    assert "no files are read here" in second["error"]


@pytest.fixture
def client(tmp_path):
    baselines.make("sgd-ngrams", toy_task(), 0).fit(*texts_and_labels(toy_splits().train)).save(tmp_path / "estimator")
    save(predictor_bundle(TASK, "sgd-ngrams", tmp_path / "estimator", Calibration()), tmp_path / "served")

    def opened(folder):
        bundle = load(folder)
        return bundle, open_engine(bundle.weights)

    served = Served.open("toy", tmp_path / "served", opened)
    with TestClient(application({"toy": served}, Limits(rows=40))) as client:
        yield client
    served.close()


def test_the_server_reads_images_that_come_in_base64(client, ocr):
    rows = [{"note": "", "shot": data_address(png("the skimmer"))}, {"note": "", "shot_text": "the skimmer"}]
    for row in rows:
        row["note"] = "urgent"
    found = client.post("/invocations", json={"dataframe_records": rows}).json()["predictions"]
    whole = client.post("/invocations", json={"inputs": ["urgent\nthe skimmer"]}).json()["predictions"]
    assert found == [whole[0], whole[0]]
    client.post("/invocations", json={"dataframe_records": rows})
    assert ocr.n_read == 2  # nothing that was sent is kept


@pytest.mark.parametrize(
    ("shot", "said"),
    [
        ("/etc/passwd", "row 1: the image is a path, and no files are read here"),
        ("data:image/png;base64,AAAA", "row 1: the image is of no known kind"),
        (data_address(png("", (4000, 4000))), "row 1: the image is 4000 by 4000 pixels, more than 10000000"),
    ],
)
def test_the_server_refuses_other_images_in_a_line(client, shot, said):
    answer = client.post("/invocations", json={"dataframe_records": [{"note": "x", "shot": shot}]})
    assert (answer.status_code, said in answer.json()["message"]) == (400, True)


def test_a_bundle_with_images_is_not_served_without_what_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "Ocr", Ocr)
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    for name, task in (("images", TASK), ("texts", toy_task())):
        save(replace(toy_bundle(), task=task), tmp_path / name)
    Served.open("texts", tmp_path / "texts", lambda folder: (load(folder), FakeEngine())).close()
    with pytest.raises(MissingExtraError, match=r"pip install \"labelwright\[ocr\]\""):
        Served.open("images", tmp_path / "images", lambda folder: (load(folder), FakeEngine()))


def test_a_request_may_have_some_images(client):
    rows = [{"note": "x", "shot": data_address(png("a"))}] * 17
    answer = client.post("/invocations", json={"dataframe_records": rows})
    assert "17 images; a request may have 16" in answer.json()["message"]


def test_a_recipe_reads_its_images(folder, ocr):
    path = str(folder / "rows.jsonl")
    (rows,) = read_files(DataTable(path=path, image="shot", text=("note",))).rows.values()
    assert [row.text for row in rows] == TEXTS
    (rows,) = read_files(DataTable(path=path, image="shot")).rows.values()
    assert [row.text for row in rows] == list(WRITTEN.values())
    assert ocr.n_read == 3
    write(folder, [*ROWS, {"note": "", "shot": "gone.png", "label": "pool"}])
    with pytest.raises(DataError, match="row 4: the image is missing"):
        load_rows(DataTable(path=path, image="shot"))


def test_images_in_parquet_files_are_read_from_their_cells(folder):
    import pyarrow
    import pyarrow.parquet

    path = str(folder / "rows.parquet")
    cells = [{"bytes": png("the skimmer"), "path": "a.png"}, {"bytes": png("a gate"), "path": None}]
    pyarrow.parquet.write_table(pyarrow.table({"shot": cells, "label": ["pool", "fence"]}), path)
    (rows,) = read_files(DataTable(path=path, image="shot")).rows.values()
    assert [row.text for row in rows] == ["the skimmer", "a gate"]


def test_a_datasets_images_are_decoded_here(monkeypatch):
    import datasets

    features = datasets.Features({"shot": datasets.Image(), "label": datasets.Value("string")})
    rows = {"shot": [{"bytes": png("the skimmer"), "path": None}], "label": ["pool"]}
    made = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
    (found,) = read_files(DataTable(hub="owner/name", image="shot")).rows.values()
    assert [row.text for row in found] == ["the skimmer"]


def test_rows_without_any_text_can_be_left_out(folder):
    folder_of_images(folder, {"blank.png": ""})
    path = write(folder, [*ROWS, {"note": "", "shot": "blank.png", "label": "pool"}])
    with pytest.raises(DataError, match="row 4: the text is empty, as OCR finds none in the image"):
        read_files(DataTable(path=path, image="shot"))
    files = read_files(DataTable(path=path, image="shot", leave_out=("empty",)))
    assert files.n_empty == {path: 1}


def test_an_image_is_a_column_of_its_own():
    with pytest.raises(RecipeError, match="image = 'label' names a column of another kind"):
        DataTable(path="rows.csv", image="label")
    with pytest.raises(DataError, match="expected 'shot_text' among its texts"):
        replace(TASK, text_columns=("note",))


def test_a_card_says_where_images_are_and_what_reads_them(folder):
    from labelwright.bundle.card import needed_package

    assert "ocr" in needed_package(load(folder / "bundle"))
    assert "OCR reads shot\\_text in the image in shot." in (folder / "bundle" / "README.md").read_text().replace(
        "shot_text", "shot\\_text"
    )


def test_a_bundle_that_names_no_such_column_is_refused(folder):
    place = folder / "bundle" / "bundle.json"
    content = json.loads(place.read_text())
    content["task"]["image_column"] = ["shot"]
    place.write_text(json.dumps(content))
    with pytest.raises(BundleError):
        load(folder / "bundle")
