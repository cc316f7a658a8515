"""The verb ``retrieval``: a corpus, a bundle and an encoder in; what the label is worth out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelwright.bundle.store import load
from labelwright.bundle.types import Bundle
from labelwright.data.columns import TextColumns
from labelwright.data.records import Row
from labelwright.engines.protocol import Engine
from labelwright.errors import BundleError, DataError, RecipeError
from labelwright.files import write_json, write_text
from labelwright.predictors.encoders.sentence_encoder import DEFAULT, open_encoder
from labelwright.statistics.intervals import Interval
from labelwright.statistics.proportions import share_interval
from workbench.first.dialect import scan_found
from workbench.progress import Display, silence_libraries
from workbench.recipe.recipe import Recipe
from workbench.recipe.rows import make_splits, read_rows
from workbench.report.plots.figures import save
from workbench.retrieval.asking import Said, answered, answers_with, embedded
from workbench.retrieval.corpus.read import Corpus, Files, read_corpus
from workbench.retrieval.corpus.sides import Sides, sides_of
from workbench.retrieval.corpus.taught import Taught, count_taught
from workbench.retrieval.latency import median_ms, search_ms
from workbench.retrieval.measure import Measured, measure
from workbench.retrieval.report.page import PICTURE, answer, limits, page
from workbench.retrieval.report.picture import picture
from workbench.retrieval.report.result import Labels, RetrievalResult, Sizes, Way
from workbench.retrieval.search.metrics import depth_of
from workbench.retrieval.search.rankers import Fused, Meaning, Search, Words
from workbench.run.engines import Engines
from workbench.run.folder import RUNS
from workbench.run.usage import Load
from workbench.verbs import answering_bundle, known_run

FOLDER = "retrieval"
KEPT = "kept"


@dataclass(frozen=True)
class RetrievalSettings:
    """What is compared.

    Attributes
    ----------
    files : Files
    bundle : str
        Its folder; empty for what the recipe's newest run would answer with.
    taught : str
        A file or folder of the rows that the bundle was taught, where they are not the recipe's.
    k : int
        Of recall.
    encoder : str
        As in ``labelwright.predictors.encoders.sentence_encoder.open_encoder``.
    out : str
        A folder for the report; empty for ``runs/NAME/retrieval``.
    """

    files: Files
    bundle: str = ""
    taught: str = ""
    k: int = 10
    encoder: str = DEFAULT
    out: str = ""

    def __post_init__(self) -> None:
        if not (self.files.documents and self.files.queries):
            raise RecipeError(
                "retrieval needs DOCUMENTS=documents.jsonl, with id, text and category, and QUERIES=queries.jsonl, "
                "with id, text and relevant (ids of documents), or RELEVANT=pairs.txt in place of the last"
            )
        if self.k < 1:
            raise RecipeError(f"k is {self.k}: expected a number of documents, 1 or more, such as 10")


def retrieval(recipe: Recipe, run: str, settings: RetrievalSettings, display: Display) -> RetrievalResult:
    """Measure what a label brings to searches of a corpus, and write the report; returns what was found.

    Raises
    ------
    LabelwrightError
        A corpus that cannot be used, with all that is wrong with it; a bundle that answers no common labels.
    """
    folder = Path(settings.bundle) if settings.bundle else answering_bundle(known_run(recipe, run))
    out = Path(settings.out) if settings.out else RUNS / recipe.name / FOLDER
    bundle = _usable(load(folder), folder)
    corpus = read_corpus(settings.files, bundle.task.names, bundle.task.text, display.say)
    sides = sides_of(corpus.queries, recipe.seed)
    taught = _taught(recipe, settings, corpus, sides, bundle.task.text, display)
    display.say(f"{len(corpus.documents):,} documents, {len(corpus.queries):,} queries; the bundle is {folder}")
    silence_libraries()
    texts = [one.text for one in corpus.queries]
    with display.step("the bundle's labels", 1, 4):
        engine = Engines(recipe.model.settings)(bundle.weights)
        said = answered(texts, bundle, engine, folder, recipe.model.settings, out / KEPT, display.progress)
    with display.step("embeddings", 2, 4):
        documents = [one.text for one in corpus.documents]
        vectors = embedded([*documents, *texts], settings.encoder, out / KEPT, display.progress)
    with display.step("searches", 3, 4):
        known = dict(zip(texts, vectors[len(documents) :], strict=True))
        words = Words(documents)
        meaning = Meaning(vectors[: len(documents)], lambda some: np.stack([known[one] for one in some]))
        searches = (words, meaning, Fused((words, meaning)))
        found = measure(corpus, sides, said, searches, settings.k, recipe.seed, display.progress)
    with display.step("times", 4, 4), Load() as load_of_others:
        asked = Meaning(vectors[: len(documents)], open_encoder(settings.encoder).embed)
        timed = _timed(corpus, sides, said, found, (words, asked, Fused((words, asked))), settings.k)
        labels = _labels(corpus, sides, said, bundle, engine, folder)
    result = RetrievalResult(
        recipe.name, settings.k, settings.encoder, _sizes(corpus, sides), labels, timed, tuple(found.weights),
        tuple(found.curves), taught, load_of_others.others_busy_cores,
    )  # fmt: skip
    _write(result, out)
    for line in (*answer(result), *limits(result)[:1]):
        display.say(line)
    display.say(f"report: {out / 'report.md'}")
    return result


def _usable(bundle: Bundle, folder: Path) -> Bundle:
    if bundle.task.restricts_rows:
        raise BundleError(
            f"{folder}: a row of it has choices or points of its own; expected a bundle whose labels all rows share"
        )
    if len(bundle.task.names) < 2:
        raise BundleError(f"{folder}: it has one label, which tells no document from another; expected two at least")
    return bundle


def _taught(
    recipe: Recipe, settings: RetrievalSettings, corpus: Corpus, sides: Sides, columns: TextColumns, display: Display
) -> Taught:
    """How much of the corpus the bundle was taught; not known where neither a file nor the recipe's run says it."""
    if settings.taught:
        # What cannot be read was not taught.
        rows = [row for row in scan_found(Path(settings.taught), display.say, has_header=True) if isinstance(row, Row)]
        texts = [text for row in rows if (text := columns.seen(row.record))]
        if not texts:
            raise DataError(
                f"{settings.taught}: no row has a text in {columns}; name the file of the bundle's own rows"
            )
        return count_taught(corpus, sides.measured, texts, settings.taught)
    if settings.bundle and not Path(settings.bundle).resolve().is_relative_to((RUNS / recipe.name).resolve()):
        return Taught()
    splits = make_splits(read_rows(recipe), recipe.splits, recipe.seed).for_tuning()
    texts = [row.text for side in (splits.train, splits.dev, splits.calib) for row in side]
    return count_taught(corpus, sides.measured, texts, f"train, dev and calib of {recipe.name}")


def _timed(
    corpus: Corpus, sides: Sides, said: Said, found: Measured, searches: Sequence[Search], k: int
) -> tuple[Way, ...]:
    """Every way with its milliseconds."""
    texts = [corpus.queries[i].text for i in sides.measured]
    categories = np.array([one.category for one in corpus.documents])
    weights = {one.search: one.value for one in found.weights}
    measured = said.at(sides.measured)
    ms = {
        search.name: search_ms(search, texts, measured, weights[search.name], categories, depth_of(k))
        for search in searches
    }
    return tuple(replace(one, ms=ms[one.search].get(one.way)) for one in found.ways)


def _labels(corpus: Corpus, sides: Sides, said: Said, bundle: Bundle, engine: Engine, folder: Path) -> Labels:
    measured = said.at(sides.measured)
    gold = np.array([corpus.queries[i].category for i in sides.measured])
    texts = [corpus.queries[i].text for i in sides.measured]
    ms = median_ms(texts, lambda place: answers_with(bundle, engine, [texts[place]]))
    right, silent = measured.category == gold, measured.category < 0
    labelled = np.flatnonzero(~silent)
    # Where no query has a label nothing is known of how often one is right.
    accuracy = Interval(0.0, 0.0, 1.0)
    if len(labelled):
        accuracy = share_interval(right[labelled], [sides.groups[i] for i in labelled.tolist()])
    return Labels(str(folder), accuracy, int((~right & ~silent).sum()), int(silent.sum()), ms)


def _sizes(corpus: Corpus, sides: Sides) -> Sizes:
    return Sizes(
        documents=len(corpus.documents),
        queries=len(corpus.queries),
        choosing=len(sides.choosing),
        measured=len(sides.measured),
        groups=sides.n_groups,
        categories=len({one.category for one in corpus.documents}),
        relevant=float(np.mean([len(corpus.queries[i].relevant) for i in sides.measured])),
    )


def _write(result: RetrievalResult, out: Path) -> None:
    """The picture and the JSON first, the page that shows them last."""
    save({Path(PICTURE).stem: picture(result)}, out)
    write_json(out / "report.json", result.to_dict())
    write_text(out / "report.md", page(result))
