"""Searches with a label and without, on the same queries; what each is worth, and how they differ.

Three searches, each plain, filtered by the label that the bundle says, and boosted by the probabilities that it gives
the categories of documents. A use of the label is told apart from the plain search by the sign-flip test over groups of
queries, corrected (Holm 1979) for all uses of all searches; its interval is at a level at which all of them hold
together (Bonferroni), made to agree with the test, as in the comparison of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from labelwright.statistics.intervals import holm, mean_interval, paired_cost_test
from labelwright.statistics.metrics import Floats, Ints
from workbench.compare.board import Difference
from workbench.compare.differences import TOLD_APART, agreeing
from workbench.retrieval.asking import Said
from workbench.retrieval.corpus.read import Corpus
from workbench.retrieval.corpus.sides import Sides
from workbench.retrieval.needed import curve_of, wrong_labels
from workbench.retrieval.report.result import BOOST, FILTER, PLAIN, RIGHT, Curve, Way, Weight
from workbench.retrieval.search.found import Found, best_of_each, log_probabilities
from workbench.retrieval.search.metrics import Judged, depth_of, metric_names
from workbench.retrieval.search.rankers import Search
from workbench.retrieval.weights import choose_weight

Progress = Callable[[int, int], None]


@dataclass
class Measured:
    """What was found, search by search."""

    ways: list[Way] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def measure(
    corpus: Corpus, sides: Sides, said: Said, searches: Sequence[Search], k: int, seed: int, progress: Progress
) -> Measured:
    """Every search with every use of the label.

    Parameters
    ----------
    said : Said
        What the bundle says of all queries.
    """
    judged = Judged([one.relevant for one in corpus.queries], k)
    gold = np.array([corpus.queries[i].category for i in sides.measured])
    values: dict[tuple[str, str], Floats] = {}
    out = Measured()
    total = len(searches) * len(corpus.queries)
    for number, search in enumerate(searches):
        tell = partial(_tell, progress, number * len(corpus.queries), total)
        found = find_all(corpus, search, depth_of(k), tell)
        first = [found[i] for i in sides.choosing]
        weight = choose_weight(search.name, first, said.at(sides.choosing).probs, judged, sides.choosing)
        used = Used([found[i] for i in sides.measured], said.at(sides.measured), weight.value, judged, sides.measured)
        values |= {
            (search.name, PLAIN): used.plain(),
            (search.name, FILTER): used.filtered(used.said.category),
            (search.name, BOOST): used.boosted(used.said.probs),
            (search.name, RIGHT): used.filtered(gold),
        }
        out.weights.append(weight)
        out.curves += _curves(search.name, used, gold, values[search.name, PLAIN][:, 0], sides, seed)
    labelled = said.at(sides.measured).category
    out.ways += _ways(values, metric_names(k), sides.groups, (labelled >= 0) & (labelled != gold))
    return out


def find_all(corpus: Corpus, search: Search, depth: int, progress: Callable[[int], None]) -> list[Found]:
    """What a search finds for every query; ``progress`` hears how many are done."""
    categories = np.array([one.category for one in corpus.documents])
    found = []
    for number, query in enumerate(corpus.queries, start=1):
        found.append(best_of_each(search.scores(query.text), categories, depth))
        progress(number)
    return found


def _tell(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


@dataclass(frozen=True)
class Used:
    """One search's measured queries: what each ranking is worth, (n_queries, 3), for any use of any label.

    Attributes
    ----------
    queries : sequence of int
        What ``judged`` calls them.
    """

    found: Sequence[Found]
    said: Said
    weight: float
    judged: Judged
    queries: Sequence[int]

    def plain(self) -> Floats:
        """Without a label."""
        return self.judged.values(self.queries, [one.plain() for one in self.found])

    def filtered(self, category: Ints) -> Floats:
        """Only documents of each query's category, (n_queries,); of all where that is below 0."""
        rankings = [one.filtered(int(c)) for one, c in zip(self.found, category, strict=True)]
        return self.judged.values(self.queries, rankings)

    def boosted(self, probs: Floats) -> Floats:
        """By the probabilities of the categories, (n_queries, n_labels); a row of zeros, no answer, changes nothing."""
        added = self.weight * log_probabilities(probs)
        rankings = [one.boosted(row) for one, row in zip(self.found, added, strict=True)]
        return self.judged.values(self.queries, rankings)

    def as_sure_of(self, category: Ints) -> Floats:
        """The bundle's probabilities, each query's likeliest label and the given one exchanged.

        So that a label is put in place of what the bundle says, with all the certainty that it had: when it is really
        wrong a bundle is less sure, and boosting then costs less than is measured so.
        """
        probs, rows = self.said.probs.copy(), np.arange(len(category))
        top = probs.argmax(axis=1)
        probs[rows, top], probs[rows, category] = probs[rows, category], probs[rows, top]
        return probs


def _curves(name: str, used: Used, gold: Ints, plain: Floats, sides: Sides, seed: int) -> list[Curve]:
    def by_filter(labels: Ints) -> Floats:
        return used.filtered(labels)[:, 0]

    def by_boost(labels: Ints) -> Floats:
        return used.boosted(used.as_sure_of(labels))[:, 0]

    return [
        curve_of(name, way, wrong, gold, plain, worth, sides.groups)
        for wrong in wrong_labels(gold, used.said.probs, seed)
        for way, worth in ((FILTER, by_filter), (BOOST, by_boost))
    ]


def _ways(
    values: Mapping[tuple[str, str], Floats], names: Sequence[str], groups: Sequence[str], wrong: NDArray[np.bool_]
) -> list[Way]:
    """Every search and use of the label with its intervals, and its differences to the plain search.

    Parameters
    ----------
    wrong : bool ndarray of shape (n_queries,)
        Whether the bundle gives a query a wrong label.
    """
    differences: dict[tuple[str, str], dict[str, Difference]] = {key: {} for key in values}
    tested = [key for key in values if key[1] in (FILTER, BOOST)]
    for column, name in enumerate(names):
        net = {key: (values[key] - values[key[0], PLAIN])[:, column] for key in tested}
        p_values = {str(place): paired_cost_test(net[key], groups) for place, key in enumerate(tested)}
        corrected = holm(p_values)
        for place, key in enumerate(tested):
            interval = mean_interval(net[key], groups, level=1 - TOLD_APART / len(tested))
            p, p_holm = p_values[str(place)], corrected[str(place)]
            differences[key][name] = Difference(agreeing(interval, p_holm), p, p_holm)
    ways = []
    for key, of in values.items():
        metrics = {name: mean_interval(of[:, i], groups) for i, name in enumerate(names)}
        where_wrong = float(of[wrong, 0].mean()) if wrong.any() else None
        ways.append(Way(*key, metrics, differences[key], where_wrong))
    return ways
