"""``[compare]`` and ``[money]``: what the comparison measures, and what answers cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from labelwright.settings import Check, Items, Range, Text
from workbench.recipe.faults import address_fault
from workbench.recipe.tables.fields import Names, Price


@dataclass(frozen=True)
class CompareTable:
    """``[compare]``: what the comparison measures besides the test scores.

    Attributes
    ----------
    seeds : int
        Trainings of every candidate that trains no transformer, with the split fixed, and as many with the split
        varied.
    heavy_seeds : int
        The same for candidates that train a transformer.
    splits : int
        Trainings with the split varied, of candidates that train no transformer; 0: as many as ``seeds``.
    curves : tuple of str
        Candidates whose learning curve is drawn: test accuracy against training rows a label. Where a recipe does not
        say, those of the default that stand in it; ``noise`` likewise.
    curve_rows : tuple of int
        Training rows a label, each 1 or more; all there are is always one more point.
    noise : tuple of str
        Baselines, best of different families, that answer train rows they were not shown (three folds), to find rows
        whose label they doubt together.
    generate_rows : int
        Test rows answered by free generation, to see how often the answer is a label; 0 leaves it out.
    steering_rows : int
        Test rows that every candidate answers five times more, each time with an ending that asks for another label, to
        see how often that becomes the answer; 0 leaves it out.
    latency_rows : int
        Rows timed one by one.
    bootstrap : int
        Resamples behind the 95 % intervals of all metrics but accuracy.
    margin : float
        Share of accuracy that a cheaper candidate may lose and still be as good as the best; above 0, below 0.5. It is
        shipped only where the test rows show that it loses no more.
    engine : {"local", "ray"}
        Whether candidates run one after another on this machine, or as tasks of Ray, several at once.
    address : str
        The Ray cluster, "host:port" or "auto"; empty: RAY_ADDRESS, or where that is not set a cluster of this machine
        alone, for as long as the comparison takes.
    """

    seeds: Annotated[int, Range(1, 1000)] = 3
    heavy_seeds: Annotated[int, Range(1, 1000)] = 1
    splits: Annotated[int, Range(0, 1000)] = 0
    curves: Names = ("sgd-ngrams", "minilm-nearest-name", "minilm-logreg")
    curve_rows: Annotated[tuple[Annotated[int, Range(1)], ...], Items()] = (1, 2, 4, 8, 16)
    noise: Names = ("sgd-chars", "minilm-logreg")
    generate_rows: Annotated[int, Range(0)] = 64
    steering_rows: Annotated[int, Range(0)] = 0
    latency_rows: Annotated[int, Range(1)] = 40
    bootstrap: Annotated[int, Range(100, 100_000)] = 2000
    margin: Annotated[float, Range(0, 0.5, "()", "a share of accuracy above 0 and below 0.5, such as 0.02")] = 0.02
    engine: Literal["local", "ray"] = "local"
    address: Annotated[str, Text(), Check(address_fault)] = ""


@dataclass(frozen=True)
class MoneyTable:
    """``[money]``: what answering rows costs, for the report to hold accuracy against. Mistakes have ``[costs]``.

    Attributes
    ----------
    person : float, optional
        What a person's answers to 1,000 rows cost; left out where nobody is asked.
    hour : float, optional
        What an hour of the machine costs, with which milliseconds become money.
    candidates : mapping of str to float
        What a candidate's answers to 1,000 rows cost, a hosted model's say, in the place of its milliseconds.
    """

    person: Price | None = None
    hour: Price | None = None
    candidates: Mapping[str, Price] = field(default_factory=dict)
