"""The verb from end to end: files and a bundle in, a report out, and nothing slow done twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import WORDS, toy_examples, toy_task
from word_encoder import WordEncoder

from baselines.linear import sgd_ngrams
from labelwright.bundle.making import predictor_bundle
from labelwright.bundle.store import save
from labelwright.data.task import texts_and_labels
from labelwright.errors import RecipeError
from labelwright.predictors.store import save_predictor
from labelwright.statistics.calibration import Calibration
from workbench.api import Run
from workbench.cli import main
from workbench.retrieval import asking, run
from workbench.retrieval.corpus.read import Files
from workbench.retrieval.kept import CHUNK_TEXTS
from workbench.retrieval.run import RetrievalSettings

DOCUMENTS = [
    {"id": f"{label}-{word}-{n}", "text": f"how to mend a {word} number {n}", "category": label}
    for label, words in WORDS.items()
    for word in words
    for n in range(3)
]
QUERIES = [
    {"id": f"q-{word}-{n}", "text": f"{said} {word} {n}", "relevant": [f"{label}-{word}-{i}" for i in range(3)]}
    for label, words in WORDS.items()
    for word in words
    for n, said in enumerate(("the broken", "which", "see about my"))
]


@pytest.fixture
def encoder(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> WordEncoder:
    """In a folder with a corpus and a bundle of words; what is asked to embed."""
    one = WordEncoder()
    monkeypatch.setattr(asking, "open_encoder", lambda name: one)
    monkeypatch.setattr(run, "open_encoder", lambda name: one)
    for name, rows in (("documents", DOCUMENTS), ("queries", QUERIES)):
        (workspace / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    estimator = sgd_ngrams(toy_task(), 0)
    estimator.fit(*texts_and_labels(toy_examples()))
    save_predictor(estimator.predictor_, estimator.classes_, workspace / "fitted")
    save(predictor_bundle(toy_task(), "sgd-ngrams", workspace / "fitted", Calibration()), workspace / "bundle")
    return one


GIVEN = ["retrieval", "toy.toml", "--documents=documents.jsonl", "--queries=queries.jsonl", "--bundle=bundle", "--k=5"]


def test_a_corpus_and_a_bundle_become_a_report(encoder, capsys):
    assert main(GIVEN) == 0
    said = capsys.readouterr().out
    assert "54 documents, 54 queries; the bundle is bundle" in said
    assert "filter-then-search" in said
    folder = Path("runs/toy/retrieval")
    assert f"report: {folder / 'report.md'}" in said
    report = json.loads((folder / "report.json").read_text())
    assert report["format"] == "labelwright-retrieval"
    assert len(report["ways"]) == 12
    assert len(report["curves"]) == 12
    assert {way["search"] for way in report["ways"]} == {"bm25", "embeddings", "fused"}
    assert report["sizes"]["measured"] + report["sizes"]["choosing"] == 54
    assert all(way["ms"] > 0 for way in report["ways"] if "right" not in way["way"])
    page = (folder / "report.md").read_text()
    assert "| BM25 | plain |" in page
    assert "(accuracy.png)" in page
    assert (folder / "accuracy.png").stat().st_size > 5000


def beyond_probes(encoder):
    """What it embedded besides that by which it is known."""
    return [texts for texts in encoder.asked if tuple(texts) != asking.PROBES]


def test_begun_again_it_embeds_nothing_and_asks_the_bundle_nothing(encoder, monkeypatch):
    assert main(GIVEN) == 0
    first = json.loads(Path("runs/toy/retrieval/report.json").read_text())
    encoder.asked.clear()
    asked = []
    real = asking.score_rows
    monkeypatch.setattr(asking, "score_rows", lambda *given: asked.append(given[2]) or real(*given))
    assert main(GIVEN) == 0
    second = json.loads(Path("runs/toy/retrieval/report.json").read_text())
    # Times alone are taken again: one query at a time.
    assert {len(texts) for texts in (*beyond_probes(encoder), *asked)} == {1}
    assert CHUNK_TEXTS > 1
    for report in (first, second):
        report["others_busy_cores"] = report["labels"]["ms"] = None
        for way in report["ways"]:
            way["ms"] = None
    assert first == second


def test_a_kill_in_between_leaves_what_was_asked(encoder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run, "measure", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Run("toy.toml").retrieval("documents.jsonl", "queries.jsonl", bundle="bundle")
    assert not Path("runs/toy/retrieval/report.md").exists()
    encoder.asked.clear()
    assert Run("toy.toml").retrieval("documents.jsonl", "queries.jsonl", bundle="bundle").sizes.documents == 54
    assert {len(texts) for texts in beyond_probes(encoder)} == {1}


def test_what_the_bundle_was_taught_is_counted_where_it_is_known(encoder, capsys):
    assert main(GIVEN) == 0
    assert "Which of the texts the bundle was taught is not known" in capsys.readouterr().out
    taught = [{"text": QUERIES[0]["text"].upper()}, {"text": DOCUMENTS[0]["text"]}, {"text": "else"}, {"text": ""}]
    Path("taught.jsonl").write_text("".join(json.dumps(row) + "\n" for row in taught))
    assert main([*GIVEN, "--taught=taught.jsonl"]) == 0
    said = capsys.readouterr().out
    assert "taught the texts of 1 document and of 1 queries" in said
    assert "(3 rows, taught.jsonl)" in said


def test_the_recipes_rows_count_for_a_bundle_of_its_run(encoder, capsys):
    Path("runs/toy").mkdir(parents=True)
    Path("bundle").rename("runs/toy/bundle")
    assert main([*GIVEN[:4], "--bundle=runs/toy/bundle"]) == 0
    assert "train, dev and calib of toy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["retrieval", "toy.toml"], "retrieval needs DOCUMENTS=documents.jsonl"),
        ([*GIVEN, "--k=0"], "k is 0: expected a number of documents"),
        (GIVEN[:4], "no run of toy under"),
        ([*GIVEN[:4], "--bundle=nowhere"], "nowhere"),
        ([*GIVEN, "--relevant=none.txt"], "none.txt: no such file"),
        ([*GIVEN, "--taught=documents.csv"], "documents.csv: no such file"),
        ([*GIVEN[:2], "--documents=queries.jsonl", *GIVEN[3:]], "no category"),
    ],
)
def test_what_cannot_be_used_is_one_line(encoder, capsys, given, told):
    assert main(given) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_settings_mistake_is_told_before_anything_is_read():
    with pytest.raises(RecipeError, match="DOCUMENTS"):
        RetrievalSettings(Files("a", ""))
