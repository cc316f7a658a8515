"""What was found, as one typed value: every face is made of it, and ``report.json`` is it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from labelwright.statistics.intervals import Interval
from workbench.compare.board import Difference
from workbench.retrieval.corpus.taught import Taught

VERSION = 1
# What is done with a label, in the order of the report. The last is what a filter could reach at best.
PLAIN, FILTER, BOOST, RIGHT = "plain", "filter", "boost", "filter, every label right"
# How labels are made wrong: any other label, or as the bundle mixes them up.
BY_CHANCE, CONFUSED = "by chance", "as the bundle mixes labels up"


@dataclass(frozen=True)
class Way:
    """A search with one use of the label, on the measured queries.

    Attributes
    ----------
    metrics : mapping of name to Interval
        Each in [0, 1].
    against_plain : mapping of name to Difference
        Less the same search without a label, paired; empty for that one, and for what no bundle does.
    ndcg_where_wrong : float or None
        The mean over the queries to which the bundle gives a wrong label; None where there are none.
    ms : float or None
        Of one query, the median; the classifier's time is not in it.
    """

    search: str
    way: str
    metrics: Mapping[str, Interval]
    against_plain: Mapping[str, Difference]
    ndcg_where_wrong: float | None = None
    ms: float | None = None


@dataclass(frozen=True)
class Weight:
    """The weight of a search's boost.

    Attributes
    ----------
    value : float
        What a logarithm of probability counts in the search's scores; 0: the label is not used.
    tried : tuple of (float, float)
        Each weight with its mean nDCG on the queries that choose.
    """

    search: str
    value: float
    tried: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curve:
    """What a search is worth over the accuracy of labels.

    Attributes
    ----------
    search, way, wrong : str
        ``wrong`` is ``BY_CHANCE`` or ``CONFUSED``.
    accuracy : tuple of float
        From 0 to 1.
    ndcg : tuple of Interval
        The mean nDCG at each, over several draws.
    needed : Interval or None
        The accuracy from which on the label helps more than it hurts: where the curve crosses plain search, and the
        accuracies at which the two are not told apart. None where not even right labels help.
    """

    search: str
    way: str
    wrong: str
    accuracy: tuple[float, ...]
    ndcg: tuple[Interval, ...]
    needed: Interval | None


@dataclass(frozen=True)
class Sizes:
    """Of what all this was measured."""

    documents: int
    queries: int
    choosing: int
    measured: int
    groups: int
    categories: int
    relevant: float


@dataclass(frozen=True)
class Labels:
    """The bundle's labels of the measured queries.

    Attributes
    ----------
    bundle : str
        Where it lies.
    accuracy : Interval
        How often it says the right category, of the queries that it gives a label.
    wrong, unlabelled : int
        Measured queries to which it gives a wrong label, and those to which it gives none: these are searched without a
        filter.
    ms : float or None
        Of one query, the median.
    """

    bundle: str
    accuracy: Interval
    wrong: int
    unlabelled: int
    ms: float | None = None


@dataclass(frozen=True)
class RetrievalResult:
    """All of it.

    Attributes
    ----------
    k : int
        Of recall.
    encoder : str
        What embeds.
    others_busy_cores : float or None
        While times were taken.
    """

    name: str
    k: int
    encoder: str
    sizes: Sizes
    labels: Labels
    ways: tuple[Way, ...]
    weights: tuple[Weight, ...]
    curves: tuple[Curve, ...]
    taught: Taught
    others_busy_cores: float | None = None

    def way(self, search: str, way: str) -> Way:
        """One line of it."""
        return next(one for one in self.ways if (one.search, one.way) == (search, way))

    def curve(self, search: str, way: str, wrong: str) -> Curve:
        """One of the curves."""
        return next(one for one in self.curves if (one.search, one.way, one.wrong) == (search, way, wrong))

    @property
    def searches(self) -> tuple[str, ...]:
        """Their names, each once."""
        return tuple(dict.fromkeys(one.search for one in self.ways))

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; an interval is a list of value, low and high."""
        return {"format": "labelwright-retrieval", "version": VERSION, **asdict(self)}
