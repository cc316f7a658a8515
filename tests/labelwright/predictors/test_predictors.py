"""The folder of a predictor: kinds, labels, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from labelwright.errors import BundleError
from labelwright.files import folder_bytes
from labelwright.predictors.asked.choices import Choices
from labelwright.predictors.prior import Prior
from labelwright.predictors.protocol import softmax
from labelwright.predictors.store import KINDS, kind_and_labels, load_predictor, save_predictor

PRIOR = Prior(np.array([0.25, 0.75]))


@pytest.mark.parametrize(
    "labels",
    [["pool", "fence"], ["水池", 'a "b"'], [1, 2], [0.5, 1.5], [False, True], np.array([3, 4]), np.array(["a", "b"])],
)
def test_labels_come_back_as_they_were(labels: list[object], tmp_path: Path) -> None:
    save_predictor(PRIOR, labels, tmp_path / "new" / "folder")
    predictor, found = load_predictor(tmp_path / "new" / "folder")
    assert found == list(labels)
    np.testing.assert_array_equal(predictor.probabilities(["x", "y"]), [[0.25, 0.75]] * 2)


def test_labels_that_json_has_no_form_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected text or numbers"):
        save_predictor(PRIOR, [("a",), ("b",)], tmp_path)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, r"no predictor\.json"),
        ("{", "not as save_predictor writes it"),
        ('{"kind": "prior"}', "not as save_predictor writes it"),
        ('{"kind": "os.system", "labels": []}', "kind 'os.system'; this version knows prior"),
    ],
)
def test_a_folder_that_holds_no_predictor_is_refused(written: str | None, message: str, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / "predictor.json").write_text(written)
    with pytest.raises(BundleError, match=message):
        load_predictor(tmp_path)


def test_every_kind_is_where_the_list_says() -> None:
    import importlib

    for name, kind in KINDS.items():
        assert getattr(importlib.import_module(kind.module), kind.predictor).kind == name
        assert kind.what


def test_what_a_folder_says_of_itself_and_weighs(tmp_path: Path) -> None:
    save_predictor(PRIOR, ["a", "b"], tmp_path)
    assert kind_and_labels(tmp_path) == ("prior", ["a", "b"])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(b"x" * 100)
    assert folder_bytes(tmp_path) == 100 + sum((tmp_path / n).stat().st_size for n in ("predictor.json", "prior.json"))


def test_softmax_of_large_and_impossible_logits() -> None:
    np.testing.assert_allclose(
        softmax(np.array([[1000.0, 1000.0, -np.inf], [0.0, -1e9, 0.0]])), [[0.5, 0.5, 0], [0.5, 0, 0.5]]
    )


def test_choices_remember_their_encoder(tmp_path: Path) -> None:
    Choices(3, (1.0, 0.0, 0.0, 0.0, 0.0), "model2vec:somewhere").save(tmp_path)
    assert Choices.load(tmp_path) == Choices(3, (1.0, 0.0, 0.0, 0.0, 0.0), "model2vec:somewhere")
    assert json.loads((tmp_path / "encoder.json").read_text()) == {"encoder": "model2vec:somewhere"}
