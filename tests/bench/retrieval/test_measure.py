"""The commands that a person would type, in their order, and no further than the first that fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from word_encoder import WordEncoder

from baselines.linear import sgd_chars
from bench.retrieval import measure
from bench.retrieval.corpora import KINDS, write_corpus
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import Label, Task, read_examples, texts_and_labels
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration
from workbench.api import Run
from workbench.retrieval import asking, run
from workbench.retrieval.report.result import BY_CHANCE, FILTER, PLAIN, RIGHT

DATA = Path(__file__).resolve().parents[3] / "../shared/data"


@pytest.fixture
def typed(monkeypatch, tmp_path) -> list[list[str]]:
    """What is asked of the workbench, each in the corpus' folder; a comparison in a folder "broken" fails."""
    commands: list[list[str]] = []

    def workbench(command: list[str]) -> int:
        assert Path("corpus.toml").is_file()
        commands.append(command)
        if command[0] == "retrieval":
            Path("runs/corpus/retrieval").mkdir(parents=True)
            Path("runs/corpus/retrieval/report.md").write_text("the report")
        return 2 if Path.cwd().name == "broken" else 0

    def write(kind, data, folder, seed, n_taught) -> None:
        folder.mkdir(parents=True)

    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(measure, "workbench_main", workbench)
    monkeypatch.setattr(measure, "write_corpus", write)
    return commands


def test_a_bundle_is_compared_exported_and_measured(typed, tmp_path, capsys):
    assert measure.main(["--folder", str(tmp_path / "it"), "--k", "7", "--seed", "3"]) == 0
    assert [command[0] for command in typed] == ["compare", "export", "retrieval"]
    assert "--candidate=minilm-logreg" in typed[1]
    assert "--k=7" in typed[2]
    assert (tmp_path / "it" / "corpus.toml").read_text().startswith("seed = 3\n")
    assert "the report" in capsys.readouterr().out


def test_what_fails_ends_it(typed, tmp_path):
    assert measure.main(["--folder", str(tmp_path / "broken")]) == 2
    assert len(typed) == 1


def test_data_that_is_not_there_is_one_line(tmp_path, capsys):
    assert measure.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.skipif(not (DATA / "hint3_sofmattress").is_dir(), reason="needs ../shared/data")
def test_questions_of_a_shop_are_measured_from_end_to_end(tmp_path, monkeypatch):
    """Real questions; a linear model on characters labels them, and words stand in for the encoder."""
    write_corpus(KINDS["sofmattress"], DATA, tmp_path, seed=0)
    (tmp_path / "corpus.toml").write_text(measure.RECIPE, encoding="utf-8")
    taught = read_examples(tmp_path / "taught.jsonl")
    task = Task("shop", "What is it about?", tuple(map(Label, sorted({row.label for row in taught}))))
    estimator = sgd_chars(task, 0).fit(*texts_and_labels(taught))
    save_predictor(estimator.predictor_, estimator.classes_, tmp_path / "fitted")
    save(predictor_bundle(task, "sgd-chars", tmp_path / "fitted", Calibration()), tmp_path / "bundle")
    for room in (asking, run):
        monkeypatch.setattr(room, "open_encoder", lambda name: WordEncoder())
    monkeypatch.chdir(tmp_path)
    found = Run("corpus.toml").retrieval(
        "documents.jsonl", "queries.jsonl", "pairs.txt", bundle="bundle", taught="taught.jsonl"
    )
    assert (found.taught.documents, found.taught.queries) == (0, 0)
    assert 0.3 < found.labels.accuracy.value < 0.9
    for search in found.searches:
        plain, right = (found.way(search, way).metrics["nDCG@10"].value for way in (PLAIN, RIGHT))
        assert 0.1 < plain < right <= 1
        # Relevance is the category here: a wrong one finds nothing, so that the line begins at 0.
        needed = found.curve(search, FILTER, BY_CHANCE).needed
        assert needed is not None
        assert needed.value == pytest.approx(plain / right, abs=0.02)
        assert found.way(search, FILTER).ndcg_where_wrong == 0
    # Embeddings find every document: with the right label all of them are relevant.
    assert found.way("embeddings", RIGHT).metrics["nDCG@10"].value == pytest.approx(1)
