"""The report says what the numbers say, no more, and shows text as text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Difference
from workbench.retrieval.corpus.taught import Taught
from workbench.retrieval.report.page import answer, limits, page
from workbench.retrieval.report.picture import picture
from workbench.retrieval.report.result import (
    BOOST,
    BY_CHANCE,
    CONFUSED,
    FILTER,
    PLAIN,
    RIGHT,
    Curve,
    Labels,
    RetrievalResult,
    Sizes,
    Way,
    Weight,
)  # fmt: skip

HALF = Interval(0.5, 0.4, 0.6)
CLEAR = Difference(Interval(0.2, 0.1, 0.3), 0.001, 0.002)
WORSE = Difference(Interval(-0.2, -0.3, -0.1), 0.001, 0.002)
UNSURE = Difference(Interval(0.1, 0.0, 0.2), 0.04, 0.08)


def result(filtered: Difference = CLEAR, boosted: Difference = UNSURE, needed: Interval | None = HALF):
    metrics = {"nDCG@10": HALF, "recall@20": HALF, "MRR@20": HALF}
    ways = tuple(
        Way("bm25", way, metrics, {"nDCG@10": against} if against else {}, 0.125, ms)
        for way, against, ms in (
            (PLAIN, None, 1.0),
            (FILTER, filtered, 1.0),
            (BOOST, boosted, 2.0),
            (RIGHT, None, None),
        )
    )
    curves = tuple(
        Curve("bm25", way, kind, (0.0, 0.5, 1.0), (HALF, HALF, HALF), needed)
        for way in (FILTER, BOOST)
        for kind in (BY_CHANCE, CONFUSED)
    )
    sizes = Sizes(1000, 300, 90, 210, 70, 12, 3.5)
    labels = Labels("bundle", Interval(0.9, 0.85, 0.94), 17, 4, 12.0)
    weight = Weight("bm25", 0.25, ((0.0, 0.4), (0.25, 0.6)))
    return RetrievalResult("it", 20, "minilm", sizes, labels, ways, (weight,), curves, Taught(), 0.0)


def test_the_answer_says_which_way_each_difference_points():
    (line,) = answer(result())
    assert "BM25: nDCG@10 0.500 [0.400, 0.600] plain" in line
    assert "filter-then-search +0.200 [+0.100, +0.300] (better)" in line
    assert "boost by probability +0.100 [+0.000, +0.200] (not told apart)" in line
    assert "stops hurting from 50.0 [40.0, 60.0] % of right labels on; the bundle has 90.0 [85.0, 94.0] % of" in line
    assert line.endswith("of the queries that it gives a label, and gives none to 1.9 %.")
    assert "-0.200 [-0.300, -0.100] (worse)" in answer(result(filtered=WORSE))[0]
    assert "does not help even where every label is right" in answer(result(needed=None))[0]


def test_the_page_has_every_number_and_says_how_it_was_corrected():
    text = page(result())
    assert "| BM25 | filter-then-search | 0.500 [0.400, 0.600] |" in text
    assert "| +0.200 [+0.100, +0.300] | 0.002 | – | – | 0.125 | 1 |" in text
    assert "17 queries have a wrong label" in text
    assert "Holm's of 2 sign-flip tests" in text
    assert "12 ms a query (p50)" in text
    assert "| BM25 | 0.25 | 0.600 | 0.400 |" in text
    assert "| BM25 | filter-then-search | never | never |" in page(result(needed=None))


def test_a_name_is_no_markup():
    text = page(replace(result(), name="<script> | # x", encoder="[a](b)"))
    assert "<script>" not in text
    assert "[a](b)" not in text


@pytest.mark.parametrize(
    ("taught", "told"),
    [
        (Taught(), "is not known"),
        (
            Taught("rows.jsonl", 90, 0, 0, 0),
            "No document and no query has the text of a row that the bundle was taught",
        ),
        (Taught("rows.jsonl", 90, 2, 3, 1), "2 documents and of 3 queries, 1 of them measured"),
    ],
)
def test_what_the_bundle_was_taught_comes_first_among_the_limits(taught, told):
    assert told in limits(replace(result(), taught=taught))[0]


def test_few_groups_and_a_busy_machine_are_said():
    few = replace(result(), sizes=replace(result().sizes, groups=9), others_busy_cores=1.5)
    assert any("Of 9 groups" in one for one in limits(few))
    assert any("kept 1.5 cores busy" in one for one in limits(few))
    assert any("unknown number" in one for one in limits(replace(few, others_busy_cores=None)))
    assert not any("groups" in one or "cores" in one for one in limits(result()))


def test_the_picture_shows_every_curve_and_where_the_bundle_is():
    (panel,) = picture(result()).axes
    assert panel.get_title(loc="left") == "BM25"
    at = [line.get_xdata()[0] for line in panel.get_lines() if line.get_label() == "the bundle"]
    assert at == [90.0]
    assert {"plain search", "filter-then-search", "boost by probability"} <= {
        line.get_label() for line in panel.get_lines()
    }


def test_panels_share_a_scale_that_holds_every_curve():
    first = result()
    high = Interval(0.9, 0.8, 0.95)
    better = tuple(replace(one, search="fused", ndcg=(high,) * 3) for one in first.curves)
    both = replace(
        first,
        ways=(*first.ways, *(replace(one, search="fused") for one in first.ways)),
        curves=(*first.curves, *better),
    )
    low, top = {panel.get_ylim() for panel in picture(both).axes}.pop()
    assert low == 0
    assert top > 0.95


def test_the_result_is_json():
    written = json.loads(json.dumps(result().to_dict()))
    assert written["labels"]["accuracy"] == [0.9, 0.85, 0.94]
    assert written["ways"][1]["against_plain"]["nDCG@10"]["p_holm"] == 0.002
