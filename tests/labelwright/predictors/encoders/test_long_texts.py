"""Every encoder: long rows are refused, or shortened and counted; markup in a row is plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import toy_splits, toy_task
from static_model import static_model_folder
from tiny_models import encoder_folder, gliclass_folder, nli_folder

from baselines.embeddings import EmbeddingClassifier, NearestLabelClassifier
from baselines.finetuned import FineTunedClassifier
from baselines.pairs import PairsClassifier
from baselines.zero_shot import EntailmentClassifier, GliclassClassifier
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.cli import main
from labelwright.data.task import texts_and_labels
from labelwright.engines.opening import open_engine
from labelwright.engines.settings import EngineSettings
from labelwright.errors import DataError, RecipeError
from labelwright.predictors.encoders.long_texts import LongTexts
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration

X, Y = texts_and_labels(toy_splits().train)
LONG = "the pool pump is loud " * 200 + "fence"
KINDS = ["encoder", "static", "nearest", "finetuned", "pairs", "entailment", "gliclass"]


def made(kind: str, folder: Path) -> Any:
    """An unfitted estimator over a tiny model that reads 128 tokens (the static one 512)."""
    if kind == "static":
        return EmbeddingClassifier("logreg", f"model2vec:{static_model_folder(folder)}", strengths=[1.0])
    if kind == "entailment":
        return EntailmentClassifier(str(nli_folder(folder)))
    if kind == "gliclass":
        return GliclassClassifier(str(gliclass_folder(folder)))
    encoder = str(encoder_folder(folder))
    if kind == "encoder":
        return EmbeddingClassifier("logreg", encoder, strengths=[1.0])
    if kind == "nearest":
        return NearestLabelClassifier(encoder=encoder)
    if kind == "pairs":
        return PairsClassifier(encoder, max_pairs=1)
    return FineTunedClassifier(encoder, epochs=0)


@pytest.fixture(scope="module", params=KINDS)
def bundle(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    made(request.param, folder / "model").fit(X, Y).save(folder / "trained")
    return save(predictor_bundle(toy_task(), request.param, folder / "trained", Calibration()), folder / "b")


def ask(bundle: Any, how: str, texts: list[str]) -> tuple[np.ndarray, int]:
    engine = open_engine(bundle.weights, EngineSettings(long_rows=how))
    prompt = Prompt.for_task(toy_task(), Template())
    return engine.score(prompt.render_all(texts), prompt.options), engine.n_shortened


def test_long_rows_are_refused_with_row_and_remedy(bundle):
    with pytest.raises(DataError, match=r"row 2 \('the pool pump .*reads at most \d+ .*long_rows = \"head\""):
        ask(bundle, "refuse", [X[0], LONG])


def test_long_rows_are_shortened_and_counted(bundle):
    short, n_short = ask(bundle, "refuse", X[:3])
    head, n_head = ask(bundle, "head", [*X[:3], LONG])
    both, n_both = ask(bundle, "head_tail", [*X[:3], LONG])
    assert (n_short, n_head, n_both) == (0, 1, 1)
    np.testing.assert_allclose(head[:3], short, atol=1e-4)
    np.testing.assert_allclose(both[:3], short, atol=1e-4)
    # The head does not see how the row ends, head and tail do.
    other = LONG.removesuffix("fence") + "furnace duct filter"
    np.testing.assert_allclose(ask(bundle, "head", [other])[0], head[3:], atol=1e-4)
    assert np.abs(ask(bundle, "head_tail", [other])[0] - both[3:]).max() > 1e-4


def test_the_command_line_says_so(bundle, tmp_path, capsys):
    folder = str(bundle.weights.folder.parent)
    assert main(["predict", folder, LONG]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["predict", folder, LONG, "--json", "--long-rows", "head"]) == 0
    said = capsys.readouterr()
    assert "1 rows were shortened to fit the context" in said.err
    assert json.loads(said.out)["label"] in toy_task().names


@pytest.mark.parametrize("mark", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "<<LABEL>>"])
def test_markup_in_a_row_is_plain_text(bundle, mark):
    """Spelt with other letters it is plain, too, and to these tokenizers no closer to anything."""
    texts = [f"the pool {mark} water", f"the pool {mark.lower()} water"]
    found, _ = ask(bundle, "refuse", texts)
    if bundle.weights.base == "gliclass":
        # Its markers stand in the text that is tokenised, so a row's are parted by a space.
        texts = [f"the pool {mark[0]} {mark[1:]} water", texts[0]]
        found, _ = ask(bundle, "refuse", texts)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("kind", ["encoder", "finetuned", "pairs", "static"])
def test_training_refuses_or_counts_too(tmp_path, kind):
    texts, labels = [*X, LONG, LONG + " rail"], [*Y, "fence", "fence"]
    estimator = made(kind, tmp_path / "m")
    assert estimator.fit(texts, labels).n_shortened_ == 2
    assert estimator.fit(X, Y).n_shortened_ == 0
    estimator.long_rows = "refuse"
    with pytest.raises(DataError, match=f"row {len(X) + 1} "):
        estimator.fit(texts, labels)


def places(texts: list[str]) -> list[list[tuple[int, int]]]:
    """A token for every character that is no space."""
    return [[(at, at + 1) for at, one in enumerate(text) if one != " "] for text in texts]


@pytest.mark.parametrize(
    ("room", "short"), [(1, "a"), (2, "a f"), (3, "a b f"), (4, "a b e f"), (5, "a b c e f"), (6, "a b c d e f")]
)
def test_head_and_tail_are_whole_tokens_of_the_text(room, short):
    long_texts = LongTexts("head_tail")
    assert long_texts.fit(["a b c d e f"], room, places, "it") == [short]
    assert long_texts.n_shortened == (room < 6)


def test_another_way_is_refused():
    with pytest.raises(RecipeError, match="long_rows = 'tail'"):
        LongTexts("tail")
