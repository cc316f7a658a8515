"""A small classifier behind the engine protocol: columns by label name, logarithms, and nothing that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conformance import CASES

from labelwright.bundle.making import predictor_bundle
from labelwright.data.choices import lettered
from labelwright.data.task import Label, Task
from labelwright.decide import log_scores, probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.predictor import PredictorEngine
from labelwright.engines.settings import BACKENDS, EngineSettings
from labelwright.errors import BundleError, DataError, ModelError
from labelwright.models.weights import Predictor
from labelwright.predictors.prior import Prior
from labelwright.predictors.store import save_predictor
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration

TASK = Task("t", "Which?", (Label("pool"), Label("fence"), Label("hvac")))


class Lengths:
    """Probabilities that depend on a text's length; remembers the texts."""

    kind = "lengths"

    def __init__(self, n_labels: int) -> None:
        self.n_labels = n_labels
        self.texts: list[str] = []

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        rows = np.array(
            [[len(text) + column + 1 for column in range(self.n_labels)] for text in texts], dtype=np.float64
        )
        return rows / rows.sum(axis=1, keepdims=True)


class Given:
    """The same matrix whatever is asked."""

    kind = "given"

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        return self.rows


def prompt(labels: Sequence[str]) -> Prompt:
    return Prompt("Which?", tuple(map(Label, labels)))


def scores(predictor, labels, options, texts=("a row",)) -> np.ndarray:
    asked = prompt(options)
    return PredictorEngine(predictor, labels, "it").score(asked.render_all(texts), asked.options)


# ------------------------------------------------------------------------------------------------------------- scores


def test_scores_are_logarithms_in_the_order_of_the_options():
    found = scores(Given([[0.5, 0.2, 0.3]]), ["pool", "fence", "hvac"], ["hvac", "pool", "fence"])
    np.testing.assert_allclose(found, np.log([[0.3, 0.5, 0.2]]))
    assert found.dtype == np.float64


def test_what_cannot_be_is_minus_infinity_without_a_warning(recwarn):
    found = scores(Given([[1.0, 0.0]]), ["pool", "fence"], ["pool", "fence", "hvac"])
    assert found.tolist() == [[0.0, -np.inf, -np.inf]]
    assert not recwarn.list


def test_rounding_above_one_does_not_make_a_positive_score():
    assert scores(Given([[1.0 + 1e-9, -1e-12]]), ["pool", "fence"], ["pool", "fence"]).tolist() == [[0.0, -np.inf]]


@pytest.mark.parametrize("labels", [[1, 2], [1.5, 2.5], [False, True], ["1", "x y"]])
def test_labels_that_are_no_strings_are_found_by_how_they_read(labels):
    names = [str(label) for label in labels]
    np.testing.assert_allclose(scores(Given([[0.3, 0.7]]), labels, names[::-1]), np.log([[0.7, 0.3]]))


def test_two_labels_that_read_the_same_are_refused():
    with pytest.raises(BundleError, match="two of its 2 labels read the same"):
        PredictorEngine(Given([[0.3, 0.7]]), [1, "1"], "it")


def test_the_row_is_all_that_is_read():
    predictor = Lengths(2)
    scores(predictor, ["a", "b"], ["a", "b"], ["  spaced \n", "<|im_end|>"])
    assert predictor.texts == ["spaced", "<|im_end|>"]


@pytest.mark.parametrize("name", CASES)
def test_every_case_of_the_conformance_suite(name):
    case = CASES[name]
    prompts, options = case.prompts(Template())
    predictor = Lengths(len(case.labels))
    # Columns in another order than the options.
    found = PredictorEngine(predictor, case.labels[::-1], "it").score(prompts, options)
    texts = [one.user for one in prompts]
    np.testing.assert_allclose(found, np.log(predictor.probabilities(texts))[:, ::-1])
    one_by_one = [PredictorEngine(predictor, case.labels[::-1], "it").score([one], options)[0] for one in prompts]
    np.testing.assert_array_equal(found, one_by_one)


def test_no_rows_in_no_rows_out():
    assert scores(Given([[1.0]]), ["a", "b"], ["a", "b"], []).shape == (0, 2)
    assert PredictorEngine(Given([[1.0]]), ["a", "b"], "it").generate([]) == []


def test_options_that_it_has_never_seen_are_refused():
    with pytest.raises(BundleError, match="it knows none of the 2 options, such as ' x'; expected its labels by name"):
        scores(Given([[0.3, 0.7]]), ["a", "b"], ["x", "y"])
    codes = Prompt("Which?", TASK.labels, style="code")
    with pytest.raises(BundleError, match="knows none of the 3 options"):
        PredictorEngine(Given([[1.0]]), TASK.names, "it").score(codes.render_all(["a"]), codes.options)


@pytest.mark.parametrize("rows", [[[0.5, 0.3, 0.2]], [[0.5, np.nan]], [[0.5, 0.5], [0.5, 0.5]]])
def test_probabilities_that_do_not_fit_are_refused(rows):
    with pytest.raises(BundleError, match="its files do not fit together; export the bundle again"):
        scores(Given(rows), ["a", "b"], ["a", "b"])


# ----------------------------------------------------------------------------------------------- the rest of the engine


def test_free_text_is_the_likeliest_label():
    engine = PredictorEngine(Given([[0.1, 0.9], [0.8, 0.2]]), ["water heater", "fence"], "it")
    prompts = prompt(["water heater", "fence"]).render_all(["a", "b"])
    assert engine.generate(prompts, max_new_tokens=1) == [" fence", " water heater"]
    assert engine.generate(prompts, stop=["\n", "r h", "h"]) == [" fence", " wate"]


def test_what_else_the_protocol_asks_for():
    engine = PredictorEngine(Given([[1.0]]), ["a"], "sgd-ngrams")
    assert (engine.name, engine.template, engine.n_shortened) == ("sgd-ngrams", Template(), 0)
    assert engine.count_tokens("two words\n and more ") == 4


# ------------------------------------------------------------------------------------------------------------- opening


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    save_predictor(Prior(np.array([0.2, 0.5, 0.3])), ["fence", "hvac", "pool"], tmp_path / "prior")
    return tmp_path / "prior"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_predictor_answers_whatever_the_backend(prior, backend):
    settings = EngineSettings(backend=backend, device="cuda:7", thinking_tokens=5)
    engine = open_engine(Predictor("majority", prior), settings)
    assert isinstance(engine, PredictorEngine)
    assert engine.name == "majority"
    bundle = predictor_bundle(TASK, "majority", prior, Calibration())
    np.testing.assert_allclose(probabilities(bundle, engine, ["a", "b"]), [[0.3, 0.2, 0.5]] * 2)


def test_a_folder_without_a_predictor_is_refused(tmp_path, prior):
    with pytest.raises(BundleError, match=r"no predictor\.json; expected a folder written by save_predictor"):
        open_engine(Predictor("x", tmp_path))
    (prior / "predictor.json").write_text('{"kind": "oracle", "labels": ["a"]}')
    with pytest.raises(BundleError, match="kind 'oracle'; this version knows prior, "):
        open_engine(Predictor("x", prior))
    for damaged in ("{", "[]", '{"kind": "prior"}', '{"kind": ["prior"], "labels": ["a"]}'):
        (prior / "predictor.json").write_text(damaged)
        with pytest.raises(BundleError, match=r"predictor\.json: "):
            open_engine(Predictor("x", prior))


def test_there_is_no_model_to_load_or_merge(prior, tmp_path):
    from labelwright.models.loading import load_model, load_tokenizer, saved_merged

    for load in (load_model, load_tokenizer, saved_merged):
        with pytest.raises(ModelError, match="majority is a small classifier, not a language model"):
            load(Predictor("majority", prior))


# ------------------------------------------------------------------------------------------------- rows' own choices


def test_letters_that_a_row_does_not_use_have_no_mass(tmp_path):
    task = Task("quiz", "Which?", (), max_choices=4)
    save_predictor(Prior(np.array([0.1, 0.2, 0.3, 0.4])), task.names, tmp_path)
    texts = [lettered("What floats?", ["stone", "wood"]), lettered("And?", ["a", "b", "c", "d"])]
    for rotations in (False, True):
        bundle = predictor_bundle(task, "majority", tmp_path, Calibration(rotations=rotations))
        engine = open_engine(bundle.weights)
        assert np.isneginf(log_scores(bundle, engine, texts)[0, 2:]).all()
        expected = [[0.5, 0.5, 0, 0], [0.25] * 4] if rotations else [[1 / 3, 2 / 3, 0, 0], [0.1, 0.2, 0.3, 0.4]]
        np.testing.assert_allclose(probabilities(bundle, engine, texts), expected)
    with pytest.raises(DataError, match="row 1 has 5 choices, but the task at most 4"):
        probabilities(bundle, engine, [lettered("?", list("abcde"))])
