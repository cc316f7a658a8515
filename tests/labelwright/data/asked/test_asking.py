"""How a row of each kind of task is asked, and which questions from elsewhere are a task's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import toy_task

from labelwright.data.asked.asking import AskedRow, Own, asking
from labelwright.data.asked.questions import Question
from labelwright.data.task import Label, Task
from labelwright.errors import DataError

QUIZ = Task("quiz", "Which?", (), max_choices=3)
TOPICS = Question("topics", "labels", (Label("pool", "water"), Label("fence")))
STARS = Question("stars", "score", (Label("1", "bad"), Label("2"), Label("3", "good")), "How content is the writer?")
URGENT = Question("urgent", "yes_no", instructions="Is it urgent?")
WHO = Question("who", "choice", (Label("owner"), Label("tenant"), Label("agent")))
MAIL = Task.asking("mail", "Read the mail.", (TOPICS, STARS, URGENT, WHO))
YES_NO = (("yes", ""), ("no", ""))


def options(*names: str) -> list[tuple[str, str]]:
    return [(name, "") for name in names]


@pytest.mark.parametrize(
    ("task", "row"),
    [
        (toy_task(), AskedRow(("a text",))),
        (QUIZ, AskedRow(("a text\nA. x\nB. y",), ("x", "y"))),
        (Task.asking("t", "i", (TOPICS,)), AskedRow(("a text\n? pool", "a text\n? fence"))),
        (Task.asking("t", "i", (STARS,)), AskedRow(("a text",))),
    ],
)
def test_a_row_of_a_file_a_table_and_an_array_is_asked_alike(task, row):
    kind, cells = asking(task), {"choices": ["x", "y"]}
    assert kind.row("a text", cells["choices"]) == kind.of_table("a text", {"text": "a text", **cells}) == row
    assert kind.rows_of([("a text", ["x", "y"])] if kind.columns else ["a text"]) == [row]
    assert kind.typed("a text | x | y" if kind.columns else "a text") == row


def test_choices_are_a_column_of_their_own_or_behind_letters():
    kind = asking(QUIZ)
    assert kind.of_table("a\nA. x\nB. y", {}) == AskedRow(("a\nA. x\nB. y",))
    for text, record, said in (("a", {"choices": []}, "no choices"), ("a\nA. x\nB. y\nC. z\nD. w", {}, "at most 3")):
        with pytest.raises(DataError, match=said):
            kind.of_table(text, record)
    for rows, said in (("one", "one string"), ([1], "row 1 of X is a int"), (["a", ("b", ["x"])], "no lettered")):
        with pytest.raises(DataError, match=said):
            kind.rows_of(rows)


def test_what_takes_one_label_a_row_is_told_why_it_cannot():
    assert [asking(task).beyond for task in (toy_task(), QUIZ, MAIL)] == [
        "", "rows bring their own choices", "several points are asked of each row",
    ]  # fmt: skip
    assert [asking(task).listed for task in (toy_task(), QUIZ, MAIL)] == [toy_task().names, None, None]
    assert asking(Task.asking("t", "i", (TOPICS,))).listed == ("pool", "fence")


def test_what_is_asked_is_said_in_a_line():
    assert asking(toy_task()).said(2) == "one of 3 labels: pool, fence and 1 more"
    assert asking(MAIL).said(9) == (
        "topics: any of pool and fence; stars: one of the levels 1, 2 and 3; urgent: yes or no; "
        "who: one of owner, tenant and agent"
    )
    assert [asking(task).size for task in (toy_task(), QUIZ, Task.asking("t", "i", (TOPICS,)), MAIL)] == [
        "3 labels", "up to 3 choices of each row", "any of 2 labels", "answers to 4 questions",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given", "called", "own"),
    [
        ("yes_no", YES_NO, "urgent", Own("x\n? urgent", (7, 8))),
        ("yes_no", YES_NO, " Is it  urgent?", Own("x\n? urgent", (7, 8))),
        ("yes_no", YES_NO, "topics, pool", Own("x\n? topics, pool", (0, 1))),
        ("yes_no", YES_NO, "pool", Own("x\n? topics, pool", (0, 1))),
        ("yes_no", YES_NO, "Is it about a roof?", None),
        ("yes_no", YES_NO, "stars", None),
        ("yes_no", YES_NO, "", None),
        ("score", options("1", "2", "3"), "stars", Own("x\n? stars", (4, 5, 6))),
        ("score", options("bad", "2", "3: good"), "How content is the writer?", Own("x\n? stars", (4, 5, 6))),
        ("score", options("3", "2", "1"), "stars", None),
        ("score", options("1", "2"), "stars", None),
        ("score", options("1", "2", "3"), "How polite is it?", None),
        ("choice", options("agent", "owner", "tenant"), "Who wrote it?", Own("x\n? who", (11, 9, 10))),
        ("choice", options("tenant", "owner"), "Who?", Own("x\n? who", (10, 9), is_part=True)),
        ("choice", options("tenant", "roof"), "who", None),
        ("choice", options("no", "yes"), "urgent", Own("x\n? urgent", (8, 7))),
        ("choice", options("yes", "no"), "Is it late?", None),
        ("choice", options("pool", "fence"), "Which of them?", None),
    ],
)
def test_a_question_of_a_task_with_several_is_known_by_name_and_a_choice_by_its_options(kind, given, called, own):
    assert asking(MAIL).own("x", kind, given, [called]) == own


def test_a_choice_that_two_questions_have_is_known_by_its_name():
    task = Task.asking("t", "i", (WHO, replace(WHO, name="to whom")))
    given = options("owner", "agent")
    assert asking(task).own("x", "choice", given, ["?"]) is None
    assert asking(task).own("x", "choice", given, ["to whom"]) == Own("x\n? to whom", (3, 5), is_part=True)


def test_a_task_of_one_question_has_its_answers_as_labels():
    stars, urgent = (asking(Task.asking("t", "i", (one,))) for one in (STARS, URGENT))
    assert stars.own("x", "score", options("1", "2", "3"), ["stars"]) == Own("x", (0, 1, 2))
    assert stars.own("x", "score", options("1", "2", "3"), ["?"]) is None
    assert stars.own("x", "choice", options("3", "1"), ["?"]) is None
    assert stars.own("x", "choice", options("3", "1"), ["stars"]) == Own("x", (2, 0), is_part=True)
    assert urgent.own("x", "yes_no", YES_NO, ["urgent"]) == Own("x", (0, 1))
    assert urgent.own("x", "yes_no", YES_NO, ["late"]) is None


def test_labels_and_choices_are_known_by_their_options_alone():
    assert asking(toy_task()).own("x", "choice", options("hvac", "pool"), ["?"]) == Own("x", (2, 0), is_part=True)
    assert asking(toy_task()).own("x", "yes_no", YES_NO, ["pool"]) is None
    assert asking(QUIZ).own("x", "choice", [("a", "big"), ("b", "")]) == Own("x\nA. a: big\nB. b", (0, 1))
    assert asking(QUIZ).own("x", "choice", options(*"abcd")) is None
    assert asking(QUIZ).own("x", "score", options(*"ab")) is None
