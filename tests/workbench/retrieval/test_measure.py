"""What a label brings, on a corpus small enough to be worked out; the measured queries choose nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.retrieval.asking import Said
from workbench.retrieval.corpus.read import Corpus, Document, Query
from workbench.retrieval.corpus.sides import Sides
from workbench.retrieval.measure import Used, find_all, measure
from workbench.retrieval.report.result import BOOST, BY_CHANCE, FILTER, PLAIN, RIGHT
from workbench.retrieval.search.metrics import Judged

N = 60
LABELS = ("a", "b")


class Lengths:
    """Scores by the document's place alone: the label is all that can tell documents of one query from another's."""

    name = "lengths"

    def scores(self, text: str) -> np.ndarray:
        return np.linspace(1, 0.5, 20)


def corpus() -> Corpus:
    documents = tuple(Document(f"d{i}", f"text {i}", i % 2) for i in range(20))
    queries = tuple(Query(f"q{i}", f"query {i}", i % 2, {(i % 2) + 2: 1}) for i in range(N))
    return Corpus(documents, queries, LABELS)


def said(share_wrong: float) -> Said:
    rng = np.random.default_rng(1)
    gold = np.arange(N) % 2
    category = np.where(rng.random(N) < share_wrong, 1 - gold, gold)
    probs = np.full((N, 2), 0.1)
    probs[np.arange(N), category] = 0.9
    return Said(probs, category)


SIDES = Sides(tuple(range(20)), tuple(range(20, N)), tuple(f"g{i}" for i in range(20, N)))


def found(share_wrong: float, of: Corpus | None = None):
    return measure(of or corpus(), SIDES, said(share_wrong), (Lengths(),), 10, 0, lambda *_: None)


def ways(measured) -> dict[str, float]:
    return {one.way: one.metrics["nDCG@10"].value for one in measured.ways}


def test_right_labels_help_and_wrong_ones_hurt():
    good, bad = found(0.0), found(0.9)
    assert ways(good)[FILTER] == ways(good)[RIGHT] > ways(good)[PLAIN]
    assert ways(good)[BOOST] > ways(good)[PLAIN]
    assert ways(bad)[FILTER] < ways(bad)[PLAIN]
    # Nothing is lost by a label that the choosing queries have shown to mislead.
    assert ways(bad)[BOOST] == ways(bad)[PLAIN]
    assert bad.weights[0].value == 0


def test_differences_are_paired_and_corrected_for_all_uses():
    measured = found(0.0)
    by_way = {one.way: one for one in measured.ways}
    assert by_way[PLAIN].against_plain == by_way[RIGHT].against_plain == {}
    difference = by_way[FILTER].against_plain["nDCG@10"]
    assert difference.value.value == pytest.approx(ways(measured)[FILTER] - ways(measured)[PLAIN])
    assert difference.p_holm == pytest.approx(min(1, 2 * difference.p_value))
    assert difference.value.low > 0


def test_queries_with_a_wrong_label_are_told_apart():
    assert {one.ndcg_where_wrong for one in found(0.0).ways} == {None}
    where_wrong = {one.way: one.ndcg_where_wrong for one in found(0.3).ways}
    assert where_wrong[FILTER] == 0
    assert where_wrong[PLAIN] == pytest.approx(ways(found(0.3))[PLAIN], abs=0.05)


def test_the_measured_queries_choose_nothing():
    whole = corpus()
    other = tuple(
        replace(one, relevant={0: 1, 19: 1}) if i in SIDES.measured else one for i, one in enumerate(whole.queries)
    )
    assert found(0.1, replace(whole, queries=other)).weights == found(0.1).weights


def test_curves_are_of_every_use_and_of_both_kinds_of_mistake():
    measured = found(0.2)
    assert len(measured.curves) == 4
    curve = next(one for one in measured.curves if (one.way, one.wrong) == (FILTER, BY_CHANCE))
    assert curve.ndcg[-1].value == pytest.approx(ways(measured)[RIGHT])
    assert curve.ndcg[0].value == 0
    assert curve.needed is not None
    # With two labels a wrong one finds nothing: needed is what plain search is worth of what the right one is.
    assert curve.needed.value == pytest.approx(ways(measured)[PLAIN] / ways(measured)[RIGHT], abs=0.03)


def used(probs: np.ndarray, category: np.ndarray) -> Used:
    whole = corpus()
    judged = Judged([one.relevant for one in whole.queries], 10)
    return Used(find_all(whole, Lengths(), 10, lambda _: None), Said(probs, category), 0.5, judged, range(N))


def test_without_an_answer_there_is_no_filter_and_no_boost():
    silent = used(np.zeros((N, 2)), np.full(N, -1))
    assert silent.filtered(silent.said.category).tolist() == silent.plain().tolist()
    assert silent.boosted(silent.said.probs).tolist() == silent.plain().tolist()


def test_a_label_is_put_in_place_with_the_certainty_there_was():
    probs = np.tile([0.7, 0.3], (N, 1))
    put = used(probs, np.zeros(N, dtype=int)).as_sure_of(np.arange(N) % 2)
    assert put[:2].tolist() == [[0.7, 0.3], [0.3, 0.7]]
    assert probs[1].tolist() == [0.7, 0.3]
