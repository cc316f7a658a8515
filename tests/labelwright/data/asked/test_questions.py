import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.asked.classes import classes_of, classes_of_rows, columns_of
from labelwright.data.asked.questions import Question, points_of, put, put_all, row_of, split_put
from labelwright.data.task import Label, Task
from labelwright.errors import DataError

LABELS = (Label("late", "came too late"), Label("refund"))
TOPICS = Question("topics", "labels", LABELS)
STARS = Question("stars", "score", tuple(map(Label, "123")))
URGENT = Question("urgent", "yes_no", instructions="Is it urgent?")
TASK = Task.asking("mail", "Read the mail.", [TOPICS, STARS, URGENT])


def test_questions_come_down_to_points():
    points = points_of([TOPICS, STARS, URGENT])
    assert [point.name for point in points] == ["topics, late", "topics, refund", "stars", "urgent"]
    assert [point.question for point in points] == [0, 0, 1, 2]
    assert (points[0].about, points[3].about) == ("came too late", "Is it urgent?")
    assert TASK.names == (
        *("topics, late: yes", "topics, late: no", "topics, refund: yes", "topics, refund: no"),
        *("stars: 1", "stars: 2", "stars: 3", "urgent: yes", "urgent: no"),
    )


def test_one_point_is_an_ordinary_task():
    task = Task.asking("mail", "How many stars?", [STARS])
    assert (task.names, task.points, task.restricts_rows) == (("1", "2", "3"), (), False)
    alone = Task.asking("mail", "Which?", [TOPICS])
    assert [point.name for point in alone.points] == ["late", "refund"]
    assert alone.restricts_rows


@given(st.text(min_size=1).filter(str.strip))
def test_a_text_and_its_point_come_apart_again(text):
    for place, point in enumerate(TASK.points):
        row, found = split_put(put(text, point), TASK.points)
        assert (row, found) == (text.strip(), place)
        # Who writes a point into a row asks nothing.
        assert split_put(put(put(text, TASK.points[0]), point), TASK.points)[1] == place
    assert row_of(text, ()) == text


def test_a_text_without_a_point_is_refused():
    with pytest.raises(DataError, match=r"asks none of the points of this task \(topics, late, "):
        split_put("hello", TASK.points)
    with pytest.raises(DataError, match="asks none"):
        split_put("hello\n? price", TASK.points)


def test_classes_of_rows_are_those_of_their_points():
    texts = put_all("hello", TASK.points)
    found = classes_of(TASK, texts)
    assert found.tolist() == classes_of_rows(texts, 9, False, TASK.points).tolist()
    assert found.sum(axis=1).tolist() == [2, 2, 3, 2]
    for line, columns in zip(found, columns_of(TASK.points), strict=True):
        assert np.flatnonzero(line).tolist() == list(range(columns.start, columns.stop))
    assert classes_of(Task("t", "which?", LABELS), ["hello"]) is None


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Question("q", "many", LABELS), "kind = 'many': expected one of choice, labels, score, yes_no"),
        (lambda: Question(" ", "yes_no"), "give it a name"),
        (lambda: Question("a\nb", "yes_no"), "in one line"),
        (lambda: Question("q", "yes_no", LABELS), "leave its labels out"),
        (lambda: Question("q", "score", LABELS[:1]), "has 1 label"),
        (lambda: Question("q", "labels"), r"expected 2 at least; of one, ask \"yes_no\""),
        (lambda: Question("q", "score", tuple(map(Label, "132"))), "has level 2 behind 3: write the lowest first"),
        (lambda: Question("q", "score", (Label("1"), Label("1.0"))), r"has level 1\.0 behind 1: write the lowest"),
        (lambda: Question("q", "labels", (LABELS[0], LABELS[0])), "names the label 'late' more than once"),
        (lambda: Question("q", "labels", (Label(""), LABELS[0])), "has the label ''"),
        (lambda: Question("urgent ", "yes_no"), "no space around it"),
        (lambda: Question("q", "labels", (Label("a\n"), LABELS[0])), "no space around it"),
        (lambda: Task.asking("t", "i", [STARS, STARS]), "question 'stars' is there more than once"),
        (
            lambda: Task.asking(
                "t", "i", [Question("a", "labels", (Label("b"), Label("c"))), Question("a, b", "yes_no")]
            ),
            "'a, b'",
        ),
        (lambda: Task("t", "i", LABELS, questions=(TOPICS,)), "other labels than theirs"),
    ],
)
def test_what_is_no_question_is_refused_in_a_line(ask, said):
    with pytest.raises(DataError, match=said) as error:
        ask()
    assert "\n" not in str(error.value)
