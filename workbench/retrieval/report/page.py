"""``report.md``: what was found in words and tables, its first lines the answer."""

from __future__ import annotations

from labelwright.plain_text import escaped
from workbench.compare.differences import TOLD_APART
from workbench.report.markdown import markdown_table
from workbench.report.table import NOTHING, Cell, Column, Table
from workbench.retrieval.corpus.taught import Taught
from workbench.retrieval.report.result import (
    BOOST,
    BY_CHANCE,
    CONFUSED,
    FILTER,
    PLAIN,
    RIGHT,
    Curve,
    RetrievalResult,
    Way,
)
from workbench.run.usage import DISTURBED_CORES
from workbench.wording import DASH, milliseconds, number, p_value, parts, percent, plural

PICTURE = "accuracy.png"
_SEARCHES = {"bm25": "BM25", "embeddings": "embeddings", "fused": "both fused"}
_WAYS = {PLAIN: "plain", FILTER: "filter-then-search", BOOST: "boost by probability", RIGHT: RIGHT}
# Resampled groups below which percentile intervals are known to leave out the truth too often.
_FEW_GROUPS = 20


def shown(search: str) -> str:
    """What a search is called."""
    return _SEARCHES.get(search, search)


def answer(result: RetrievalResult) -> list[str]:
    """The answer in sentences, one a search."""
    lines = []
    for search in result.searches:
        told = [_told(result.way(search, way), _WAYS[way]) for way in (FILTER, BOOST)]
        plain = result.way(search, PLAIN)
        ndcg = next(iter(plain.metrics))
        value = " ".join(parts(plain.metrics[ndcg], is_share=False))
        lines.append(f"{shown(search)}: {ndcg} {value} plain; {told[0]}; {told[1]}. {_needed_told(result, search)}")
    return lines


def page(result: RetrievalResult) -> str:
    """The whole report as Markdown."""
    paragraphs = [
        f"# What a label is for: {escaped(result.name)}",
        "\n".join(f"- {escaped(one, 2000)}" for one in answer(result)),
        _of_what(result),
        "## Searches",
        markdown_table(_ways(result)),
        _about_ways(result),
        "## How accurate labels must be",
        markdown_table(_needed(result)),
        _about_needed(result),
        f"![nDCG over the accuracy of labels]({PICTURE})",
        "## The weight of the boost",
        markdown_table(_weights(result)),
        "## Limits",
        "\n".join(f"- {escaped(one, 2000)}" for one in limits(result)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def limits(result: RetrievalResult) -> list[str]:
    """What a reader must know before a number is believed."""
    said = [
        _taught_told(result.taught),
        "BM25 without stop words or stemming, words parted by white space and signs: of languages that write without "
        "spaces it finds little. Of a text that the encoder cannot read whole, embeddings know the beginning.",
        "Categories of documents are taken to be right.",
        "In the curves of boosting the bundle is as sure of a wrong label as it was of its own; really it is less sure "
        "where it is wrong, and boosting costs less.",
    ]
    if result.sizes.groups < _FEW_GROUPS:
        said.append(f"Of {result.sizes.groups} groups intervals by resampling are too narrow: more groups are needed.")
    if result.others_busy_cores is None or result.others_busy_cores > DISTURBED_CORES:
        busy = "an unknown number of" if result.others_busy_cores is None else f"{result.others_busy_cores:.1f}"
        said.append(f"Times were taken while other processes kept {busy} cores busy.")
    return said


def _taught_told(taught: Taught) -> str:
    """Which texts the bundle was taught, as far as anybody knows."""
    too_good = "there its labels, and what they bring, are too good"
    if not taught.source:
        return f"Which of the texts the bundle was taught is not known (TAUGHT=rows.jsonl says it): {too_good}."
    rows = f"{plural(taught.n_rows, 'row')}, {taught.source}"
    if not taught.documents and not taught.queries:
        return f"No document and no query has the text of a row that the bundle was taught ({rows})."
    return (
        f"The bundle was taught the texts of {plural(taught.documents, 'document')} and of {taught.queries:,} queries, "
        f"{taught.measured:,} of them measured ({rows}): {too_good}."
    )


def _told(way: Way, name: str) -> str:
    """How a use of the label compares with none."""
    difference = next(iter(way.against_plain.values()))
    word = "better" if difference.value.value > 0 else "worse"
    value, ends = parts(difference.value, is_share=False, signed=True)
    return f"{name} {value} {ends} ({word if difference.p_holm < TOLD_APART else 'not told apart'})"


def _needed_told(result: RetrievalResult, search: str) -> str:
    curve = result.curve(search, FILTER, BY_CHANCE)
    if curve.needed is None:
        return "A filter does not help even where every label is right."
    has = f"{percent(result.labels.accuracy)} %{_silent_told(result)}"
    return f"A filter stops hurting from {percent(curve.needed)} % of right labels on; the bundle has {has}."


def _silent_told(result: RetrievalResult) -> str:
    """Of what its accuracy is, where a bundle leaves queries without a label."""
    silent, measured = result.labels.unlabelled, result.sizes.measured
    if not silent:
        return ""
    return f" of the queries that it gives a label, and gives none to {100 * silent / measured:.1f} %"


def _of_what(result: RetrievalResult) -> str:
    sizes = result.sizes
    return (
        f"{sizes.documents:,} documents of {sizes.categories} categories, {sizes.relevant:.1f} of them relevant to a "
        f"query on average; {sizes.measured:,} queries in {plural(sizes.groups, 'group')} are measured, "
        f"{sizes.choosing:,} others choose the weights. The bundle is right on {percent(result.labels.accuracy)} % of "
        f"the measured queries that get a label; {result.labels.unlabelled:,} got none and are searched without a "
        f"filter. Embeddings by {escaped(result.encoder)}."
    )


def _ways(result: RetrievalResult) -> Table:
    names = list(result.ways[0].metrics)
    columns = [Column("search", "words"), Column("label", "words"), *map(Column, names)]
    for name in names[:2]:
        columns += [Column(f"{name} less plain"), Column("p, corrected")]
    columns += [Column(f"{names[0]} where the label is wrong"), Column("ms a query, p50")]
    return Table("searches", "Searches", columns, [_row(way, names) for way in result.ways])


def _row(way: Way, names: list[str]) -> list[Cell]:
    row = [Cell(shown(way.search)), Cell(_WAYS[way.way])]
    row += [Cell(*parts(way.metrics[name], is_share=False)) for name in names]
    for name in names[:2]:
        difference = way.against_plain.get(name)
        if difference is None:
            row += [NOTHING, NOTHING]
        else:
            row += [Cell(*parts(difference.value, is_share=False, signed=True)), Cell(p_value(difference.p_holm))]
    return [*row, Cell(number(way.ndcg_where_wrong, "{:.3f}")), Cell(milliseconds(way.ms))]


def _about_ways(result: RetrievalResult) -> str:
    n_tested = sum(bool(way.against_plain) for way in result.ways)
    return (
        f"95 % intervals over groups of queries. Differences are paired; their intervals hold together for all "
        f"{n_tested} of a metric, p-values are Holm's of {n_tested} sign-flip tests. {result.labels.wrong:,} queries "
        f"have a wrong label. The classifier's own time, {milliseconds(result.labels.ms)} ms a query (p50), comes to "
        "that of every search that uses the label."
    )


def _needed(result: RetrievalResult) -> Table:
    columns = [Column("search", "words"), Column("label", "words")]
    columns += [Column(f"needed %, wrong {kind}") for kind in (BY_CHANCE, CONFUSED)]
    columns += [Column("all right"), Column("half wrong"), Column("all wrong")]
    rows = []
    for search in result.searches:
        for way in (FILTER, BOOST):
            curves = [result.curve(search, way, kind) for kind in (BY_CHANCE, CONFUSED)]
            at = [Cell(*parts(curves[0].ndcg[i], is_share=False)) for i in (-1, len(curves[0].ndcg) // 2, 0)]
            rows.append([Cell(shown(search)), Cell(_WAYS[way]), *map(_needed_cell, curves), *at])
    return Table("needed", "How accurate labels must be", columns, rows)


def _needed_cell(curve: Curve) -> Cell:
    return Cell("never") if curve.needed is None else Cell(*parts(curve.needed))


def _about_needed(result: RetrievalResult) -> str:
    return (
        "Right labels of the measured queries, a share of them replaced: by any other label, or by one that the bundle "
        "says instead. Needed is the accuracy at which the curve crosses plain search, with those that are not told "
        f"apart from it; the last three columns are {next(iter(result.ways[0].metrics))}, wrong {BY_CHANCE}."
    )


def _weights(result: RetrievalResult) -> Table:
    columns = [Column("search", "words"), Column("weight of ln P"), Column("nDCG of the queries that choose")]
    columns.append(Column("without it"))
    rows = []
    for weight in result.weights:
        best = dict(weight.tried)[weight.value]
        told = f"{weight.value:.3g}" if weight.value else f"0 {DASH} the label is not used"
        rows.append([Cell(shown(weight.search)), Cell(told), Cell(f"{best:.3f}"), Cell(f"{weight.tried[0][1]:.3f}")])
    return Table("weights", "The weight of the boost", columns, rows)
