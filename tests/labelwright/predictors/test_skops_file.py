"""Files of scikit-learn estimators: only trusted types are loaded, and nothing that a file holds is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from labelwright.errors import BundleError, MissingExtraError
from labelwright.predictors import skops_file
from labelwright.predictors.pipeline import TextPipeline
from labelwright.predictors.store import load_predictor, save_predictor

X, GOLD = np.eye(4), [0, 1, 0, 1]


class Foreign(LogisticRegression):
    """A type of neither scikit-learn nor numpy."""


class Runs:
    """What a pickle can do: make the folder that is named, on loading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(X, GOLD)
    skops_file.dump(fitted, tmp_path)
    np.testing.assert_array_equal(skops_file.load(tmp_path).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (Foreign().fit(X, GOLD), "Foreign"),
        (make_pipeline(Foreign()).fit(X, GOLD), "Foreign"),
        (FunctionTransformer(os.system), "system"),
        (FunctionTransformer(eval), "eval"),
    ],
)
def test_a_foreign_type_is_refused_wherever_it_is(estimator: Any, named: str, tmp_path: Path) -> None:
    skops_file.dump(estimator, tmp_path)
    with pytest.raises(BundleError, match=f"{named}, which is not scikit-learn's or numpy's: not loaded"):
        skops_file.load(tmp_path)


def test_a_pickle_under_its_name_is_not_run(tmp_path: Path) -> None:
    payload = pickle.dumps(Runs(tmp_path / "made"))
    (tmp_path / skops_file.FILE).write_bytes(payload)
    with pytest.raises(BundleError, match="not readable"):
        skops_file.load(tmp_path)
    # Nor as a member of the archive, in the place of an array.
    skops_file.dump(LogisticRegression().fit(X, GOLD), tmp_path)
    with zipfile.ZipFile(tmp_path / skops_file.FILE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert any(name.endswith(".npy") for name in members)
    objects = io.BytesIO()
    np.save(objects, np.array([Runs(tmp_path / "made")], dtype=object), allow_pickle=True)
    for harm in (payload, objects.getvalue()):
        with zipfile.ZipFile(tmp_path / skops_file.FILE, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, harm if name.endswith(".npy") else content)
        with pytest.raises(BundleError):
            skops_file.load(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("change", ["half", "no schema", "schema of another shape", "no file"])
def test_a_damaged_file_is_named(change: str, tmp_path: Path) -> None:
    skops_file.dump(LogisticRegression().fit(X, GOLD), tmp_path)
    path = tmp_path / skops_file.FILE
    if change == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif change == "no file":
        path.unlink()
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(*(("other", "x") if change == "no schema" else ("schema.json", json.dumps({"a": 1}))))
    with pytest.raises(BundleError, match=r"estimator\.skops"):
        skops_file.load(tmp_path)


def test_without_skops_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    with pytest.raises(MissingExtraError, match=r"labelwright\[sklearn\]"):
        skops_file.load(tmp_path)


def test_a_pipeline_ships_as_a_predictor(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["red pool", "blue fence", "red swim", "blue gate"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, GOLD)
    save_predictor(TextPipeline(pipeline), ["p", "f"], tmp_path)
    loaded, labels = load_predictor(tmp_path)
    assert labels == ["p", "f"]
    np.testing.assert_array_equal(loaded.probabilities(texts), pipeline.predict_proba(texts))
