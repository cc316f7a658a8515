"""What is true of rows, of answers to their points: by hand, and against the sets of labels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.cells import AskedColumns
from labelwright.data.asked.questions import Question
from labelwright.data.asked.rows import over_points
from labelwright.data.label import Label
from labelwright.data.records import Row
from labelwright.data.task import Example, Task, group_keys
from labelwright.decisions.decision import LIKELIEST, Decision
from labelwright.decisions.whole_rows import joint_metrics, whole_rows
from labelwright.statistics.label_sets import SET_METRICS, LabelSets
from labelwright.statistics.proportions import wilson

TOPICS = Question("topics", "labels", (Label("late"), Label("refund")))
URGENT = Question("urgent", "yes_no")
STARS = Question("stars", "score", (Label("1"), Label("2"), Label("3")))
TASK = Task.asking("mail", "Read the mail.", [TOPICS, URGENT, STARS])
ASKED = tuple(AskedColumns(one, (one.name,), ";") for one in TASK.questions)
# What rows are, and what is said of them; the second is labelled for one question only, the third has no topic.
ROWS = [
    {"topics": "late; refund", "urgent": "yes", "stars": "3"},
    {"topics": "", "urgent": "no", "stars": ""},
    {"topics": [], "urgent": "", "stars": "1"},
]
SAID = [
    {"late": 0.9, "refund": 0.4, "urgent": 0.8, "stars": 2},
    {"urgent": 0.1},
    {"late": 0.2, "refund": 0.1, "stars": 0},
]


def examples_of(records: list[dict], groups: list[str] | None = None) -> list[Example]:
    rows = [Example(str(n), f"text {n}", "", group=groups and groups[n]) for n in range(len(records))]
    return [one for one, _ in over_points(rows, [Row(n, one) for n, one in enumerate(records)], ASKED, "f")]


def probs_of(examples: list[Example], said: list[dict]) -> np.ndarray:
    probs = np.zeros((len(examples), len(TASK.names)))
    for number, example in enumerate(examples):
        given = said[int(example.id.split(" ")[0])]
        point = example.id.rpartition(", ")[2] if ", " in example.id else example.id.rpartition(" ? ")[2]
        if point == "stars":
            probs[number, TASK.index("stars: 1") + given["stars"]] = 1.0
        else:
            yes = TASK.index(example.label.rpartition(": ")[0] + ": yes")
            probs[number, [yes, yes + 1]] = given[point], 1 - given[point]
    return probs


def test_rows_by_hand():
    examples = examples_of(ROWS)
    whole = whole_rows(examples, probs_of(examples, SAID), TASK, LIKELIEST)
    assert (whole.n_rows, whole.n_answers) == (3, 8)
    assert whole.exact.tolist() == [False, True, True]
    topics, urgent, stars = whole.questions
    assert (topics.rows.tolist(), urgent.rows.tolist(), stars.rows.tolist()) == ([0, 2], [0, 1], [0, 2])
    assert topics.sets.gold.tolist() == [[True, True], [False, False]]
    assert topics.sets.said.tolist() == [[True, False], [False, False]]
    assert topics.sets.probs.tolist() == [[0.9, 0.4], [0.2, 0.1]]
    assert (topics.exact.tolist(), urgent.exact.tolist(), stars.exact.tolist()) == (
        [False, True],
        [True, True],
        [True] * 2,
    )
    exact, questions = joint_metrics(whole, 50)
    assert exact == wilson(2 / 3, 3)
    assert {name: list(one) for name, one in questions.items()} == {
        "topics": list(SET_METRICS), "urgent": ["exact_match"], "stars": ["exact_match"]
    }  # fmt: skip
    assert questions["topics"]["micro_f1"].value == pytest.approx(2 / 3)


def test_it_is_the_decision_that_says():
    examples = examples_of(ROWS)
    leant = Decision.of_task(TASK, (0.5, 0.3, 0.5, 0.5))
    whole = whole_rows(examples, probs_of(examples, SAID), TASK, leant)
    assert whole.questions[0].sets.said.tolist() == [[True, True], [False, False]]
    assert whole.exact.all()


def test_a_row_without_an_answer_is_wrong_and_is_said_to_have_no_label():
    examples = examples_of(ROWS)
    whole = whole_rows(examples, np.zeros((8, len(TASK.names))), TASK, LIKELIEST)
    assert not whole.exact.any()
    assert not whole.questions[0].sets.said.any()
    assert not whole.questions[0].exact.any()


def test_groups_are_those_of_the_rows():
    examples = examples_of(ROWS, ["a", "b", "a"])
    whole = whole_rows(examples, probs_of(examples, SAID), TASK, LIKELIEST, group_keys(examples))
    assert whole.groups == ["group a", "group b", "group a"]
    assert whole.groups_of(whole.questions[1]) == ["group a", "group b"]


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_a_question_alone_is_its_sets(seed, n_rows):
    """In any order, with every row answered: the metrics of the sets as they stand in the file."""
    rng = np.random.default_rng(seed)
    gold, probs = rng.random((n_rows, 2)) < 0.5, rng.random((n_rows, 2))
    names = [label.name for label in TOPICS.labels]
    records = [
        {"topics": [n for n, has in zip(names, row, strict=True) if has], "urgent": "no", "stars": "1"} for row in gold
    ]
    said = [{**dict(zip(names, row, strict=True)), "urgent": 0.0, "stars": 0} for row in probs.tolist()]
    examples = [examples_of(records)[i] for i in rng.permutation(4 * n_rows)]
    whole = whole_rows(examples, probs_of(examples, said), TASK, LIKELIEST)
    sets = LabelSets.of(gold, probs >= 0.5, probs)
    for name, metric in SET_METRICS.items():
        assert float(metric(whole.questions[0].sets)) == pytest.approx(float(metric(sets))), name
    assert whole.exact.mean() == pytest.approx(sets.exact.mean())
