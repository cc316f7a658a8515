"""What text-embeddings-inference takes and gives, without a server."""

from __future__ import annotations

import math

import pytest

from labelwright.errors import DataError
from labelwright.serve.wires.sequences import predictions, read_inputs

NAMES = ("pool", "fence", "hvac")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (["a", "b"], "inputs: a pair of texts"),
        ([["a"], ["b", "c"], ["d", "e"]], "inputs, rows 2 and 3: a pair of texts"),
        (["a", "b", "c"], "list is no text"),
        ([], "list is no text"),
        ([["a"], "b", []], "row 3: list is no text"),
        (3, "int is no text"),
        (None, "NoneType is no text"),
        ({"a": 1}, "dict is no text"),
        (" ", "the text is empty"),
        ([["a"], ["\ud800"]], "row 2: the text holds half a character"),
    ],
)
def test_what_is_no_text_is_said_in_one_line(inputs, said):
    with pytest.raises(DataError, match=said) as caught:
        read_inputs(inputs)
    assert "\n" not in str(caught.value)


def test_the_likeliest_label_comes_first():
    assert predictions(NAMES, [0.2, 0.7, 0.1]) == [
        {"score": 0.7, "label": "fence"},
        {"score": 0.2, "label": "pool"},
        {"score": 0.1, "label": "hvac"},
    ]
    assert [one["label"] for one in predictions(NAMES, [0.25, 0.5, 0.25])] == ["fence", "hvac", "pool"]


def test_raw_scores_are_what_a_softmax_makes_the_probabilities_of():
    raw = predictions(NAMES, [0.2, 0.8, 0.0], raw_scores=True)
    weights = {one["label"]: math.exp(one["score"]) for one in raw}
    assert weights == pytest.approx({"pool": 0.2, "fence": 0.8, "hvac": 0.0}, abs=1e-15)
