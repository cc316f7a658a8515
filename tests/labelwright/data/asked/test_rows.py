"""Rows become examples of their points, and examples rows again, in whatever order they come."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import YES, Question, points_of
from labelwright.data.asked.rows import over_points, rejoined
from labelwright.data.label import Label
from labelwright.data.records import Row
from labelwright.data.task import Example
from labelwright.errors import DataError

TOPICS = Question("topics", "labels", (Label("late"), Label("a ? late"), Label("refund")))
URGENT = Question("urgent", "yes_no")
ASKED = (AskedColumns(TOPICS, ("topics",), ";"), AskedColumns(URGENT, ("urgent",)))
POINTS = points_of([TOPICS, URGENT])


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "late", "late; refund", "a ? late"]), st.sampled_from(["", "yes", "no"])),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 100),
)
def test_examples_are_put_together_to_the_rows_that_they_were(cells, seed):
    cells = [one for one in cells if any(one)] or [("late", "")]
    # Ids that end as those of examples do are still told apart.
    rows = [Example(f"{n} ? late" * (n % 2) or str(n), f"text {n}", "") for n in range(len(cells))]
    records = [Row(n, {"topics": topics, "urgent": urgent}) for n, (topics, urgent) in enumerate(cells)]
    examples = [one for one, _ in over_points(rows, records, ASKED, "f")]
    random.Random(seed).shuffle(examples)
    found = rejoined(examples, POINTS)
    told = {
        (examples[found.first[row]].text.split("\n")[0], POINTS[point].name)
        for row, point in zip(found.row, found.point, strict=True)
    }
    expected = {
        (row.text, point.name)
        for row, (topics, urgent) in zip(rows, cells, strict=True)
        for point in POINTS
        if (topics if point.question == 0 else urgent)
    }
    assert told == expected
    assert len(found.first) == len(cells)
    assert [found.row[first] for first in found.first] == list(range(len(cells)))


def test_a_point_that_is_asked_twice_is_refused():
    examples = [Example("1 ? topics, late", "a\n? topics, late", POINTS[0].class_of(YES))] * 2
    with pytest.raises(DataError, match="row '1' is asked 'topics, late' twice"):
        rejoined(examples, POINTS)
