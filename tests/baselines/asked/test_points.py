import numpy as np
import pytest

import baselines
from baselines.asked.points import PerPoint
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import load, save
from labelwright.data.asked.questions import Question, put, put_all
from labelwright.data.task import Label, Task
from labelwright.decide import probabilities
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import BundleError, DataError
from labelwright.predictors.store import load_predictor, save_predictor
from labelwright.statistics.calibration import Calibration

WORDS = {"pool": "chlorine", "fence": "picket", "gas": "odour"}
QUESTIONS = [
    Question("topics", "labels", tuple(map(Label, WORDS))),
    Question("long", "yes_no"),
]
TASK = Task.asking("t", "What is it about?", QUESTIONS)


def rows():
    """Texts of one or two words, with what is right of each point; nobody writes of gas."""
    said = []
    for first in ("chlorine", "picket", "hello"):
        for second in ("chlorine", "picket", "you"):
            for n in range(4):
                text = f"{first} {second} {n}" + " and so on" * (n % 2)
                right = {f"topics, {name}": "yes" if word in text else "no" for name, word in WORDS.items()}
                said += [(put(text, point), point, right | {"long": "yes" if n % 2 else "no"}) for point in TASK.points]
    return [text for text, _, _ in said], [point.class_of(right[point.name]) for _, point, right in said]


@pytest.fixture(scope="module")
def fitted():
    texts, labels = rows()
    estimator = baselines.make("sgd-ngrams", TASK, 0)
    assert isinstance(estimator, PerPoint)
    return estimator.fit(texts, labels, groups=[text.partition("\n")[0] for text in texts])


def test_each_point_is_learnt_by_itself(fitted):
    texts, labels = rows()
    assert (fitted.predict(texts) == np.array(labels)).mean() > 0.95
    probs = fitted.predict_proba(texts)
    assert probs.sum(axis=1) == pytest.approx(1.0)
    assert ((probs > 0).sum(axis=1) <= 2).all()
    # All train rows said no.
    (gas,) = fitted.predict_proba([put("odour of gas", TASK.points[2])])
    assert fitted.classes_[gas.argmax()] == "topics, gas: no"


def test_what_was_trained_is_what_ships(fitted, tmp_path):
    save_predictor(fitted.predictor_, fitted.classes_, tmp_path / "predictor")
    bundle = save(predictor_bundle(TASK, "sgd-ngrams", tmp_path / "predictor", Calibration()), tmp_path / "bundle")
    engine = open_engine(bundle.weights, EngineSettings())
    texts = put_all("chlorine and picket", TASK.points)
    order = [list(TASK.names).index(name) for name in fitted.classes_]
    assert probabilities(bundle, engine, texts)[:, order] == pytest.approx(fitted.predict_proba(texts))


def test_files_that_no_point_has_are_refused(fitted, tmp_path):
    save_predictor(fitted.predictor_, fitted.classes_, tmp_path / "predictor")
    folder = tmp_path / "bundle"
    save(predictor_bundle(TASK, "sgd-ngrams", tmp_path / "predictor", Calibration()), folder)
    (tmp_path / "predictor" / "point-001" / "evil.py").write_text("print()")
    with pytest.raises(BundleError, match=r"evil\.py: not allowed in a bundle"):
        save(predictor_bundle(TASK, "sgd-ngrams", tmp_path / "predictor", Calibration()), tmp_path / "other")
    (folder / "predictor" / "point-000" / "evil.py").write_text("print()")
    with pytest.raises(BundleError, match=r"evil\.py"):
        load(folder)
    (tmp_path / "none").mkdir()
    save_predictor(fitted.predictor_, fitted.classes_, tmp_path / "none")
    for number in range(4):
        (tmp_path / "none" / f"point-{number:03}").rename(tmp_path / f"away-{number}")
    with pytest.raises(BundleError, match="no classifiers of points"):
        load_predictor(tmp_path / "none")


def test_a_point_that_nobody_answered_is_named():
    texts, labels = rows()
    answered = [(text, label) for text, label in zip(texts, labels, strict=True) if not label.startswith("long")]
    with pytest.raises(DataError, match="no train row has an answer to 'long'"):
        baselines.make("sgd-ngrams", TASK, 0).fit(*map(list, zip(*answered, strict=True)))


def test_who_cannot_is_refused():
    for name in ("encoder-ce", "minilm-nearest-name"):
        with pytest.raises(DataError, match=f"{name} needs one label a row"):
            baselines.make(name, TASK, 0)
