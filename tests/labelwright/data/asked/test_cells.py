import numpy as np
import pytest

from labelwright.data.asked.cells import AskedColumns, answers_of
from labelwright.data.asked.questions import Question
from labelwright.data.asked.rows import over_points
from labelwright.data.records import Row
from labelwright.data.task import Example, Label
from labelwright.errors import DataError

TOPICS = Question("topics", "labels", (Label("late"), Label("refund"), Label("b; c")))
STARS = Question("stars", "score", tuple(map(Label, "123")))
URGENT = Question("urgent", "yes_no")


def topics(cell, separator=";", columns=("topics",)):
    record = {"topics": cell} if len(columns) == 1 else dict(zip(columns, cell, strict=True))
    found = AskedColumns(TOPICS, columns, separator).read(record)
    return [label.name for label, said in zip(TOPICS.labels, found, strict=True) if said == "yes"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("late; refund", ["late", "refund"]),
        ("refund", ["refund"]),
        ('["late", "b; c"]', ["late", "b; c"]),
        (["late"], ["late"]),
        (np.array(["refund", "late"]), ["late", "refund"]),
        ([], []),
        ("[]", []),
        (" ;late; ", ["late"]),
    ],
)
def test_labels_of_a_cell(cell, expected):
    assert topics(cell) == expected


def test_a_column_a_label():
    assert topics([1, 0, "true"], columns=("l", "r", "b")) == ["late", "b; c"]
    assert topics(["No", "Y", 0.0], columns=("l", "r", "b")) == ["refund"]
    with pytest.raises(DataError, match="has 2 columns: expected one, or 3, one a label"):
        AskedColumns(TOPICS, ("l", "r"))
    three = Question("q", "labels", tuple(map(Label, "abc")))
    assert AskedColumns(three, ("a", "b", "c")).columns == ("a", "b", "c")
    with pytest.raises(DataError, match="in another order than its labels"):
        AskedColumns(three, ("b", "a", "c"))
    with pytest.raises(DataError, match="has 2 columns: expected one"):
        AskedColumns(STARS, ("l", "r"))


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("late; price; cost", "labels 'price' and 'cost' are not one of 'late', 'refund' and 'b; c'"),
        ("late; late", "the label 'late' stands in the cell twice"),
        ('["late"', "the labels are no list"),
        ({"late": 1}, "the labels are a dict"),
        ([["late"]], "holds something that is no label"),
        (["late", None], "holds something that is no label"),
    ],
)
def test_other_cells_are_refused(cell, said):
    with pytest.raises(DataError, match=said):
        topics(cell)


def test_who_forgets_the_separator_is_told():
    with pytest.raises(DataError, match=r"if they are several in one cell, say \[data\] separator"):
        topics("late; refund", separator="")


def test_answers_of_several_questions_and_all_their_faults():
    asked = [AskedColumns(TOPICS, ("topics",), ";"), AskedColumns(STARS, ("stars",)), AskedColumns(URGENT, ("urgent",))]
    found = answers_of({"topics": "late", "stars": 2.0, "urgent": None}, asked)
    # A cell that is empty is no answer, and no "no".
    assert [(point.name, said) for point, said in found] == [
        ("topics, late", "yes"),
        ("topics, refund", "no"),
        ("topics, b; c", "no"),
        ("stars", "2"),
    ]
    with pytest.raises(
        DataError, match=r"question 'stars': label '9' .*; question 'urgent': column 'urgent' holds 'x'"
    ):
        answers_of({"topics": "late", "stars": "9", "urgent": "x"}, asked)
    with pytest.raises(DataError, match=r"the label is empty; .* none of the labels is right for says \[\]"):
        answers_of({"topics": "", "stars": None, "urgent": ""}, asked)
    with pytest.raises(DataError, match="no column 'stars'"):
        answers_of({"topics": "late", "urgent": "yes"}, asked)


def test_rows_over_points_stay_together():
    asked = [AskedColumns(TOPICS, ("topics",), ";"), AskedColumns(URGENT, ("urgent",))]
    records = [Row(1, {"topics": "late", "urgent": "no"}), Row(4, {"topics": "", "urgent": "yes"})]
    rows = [Example("a", "Where is it?", ""), Example("b", "Now!", "", group="g")]
    found = [example for example, _ in over_points(rows, records, asked, "f.csv")]
    assert [one.label for one in found] == [
        *("topics, late: yes", "topics, refund: no", "topics, b; c: no", "urgent: no", "urgent: yes"),
    ]
    assert {one.group for one in found[:4]} == {"row: Where is it?"}
    assert found[4] == Example("b ? urgent", "Now!\n? urgent", "urgent: yes", group="g", row_text="Now!")
    with pytest.raises(DataError, match=r"f\.csv, row 4: question 'urgent': column 'urgent' holds 'perhaps'"):
        over_points(rows, [records[0], Row(4, {"topics": "", "urgent": "perhaps"})], asked, "f.csv")


def test_one_point_alone_is_the_label():
    (found,) = over_points([Example("a", "Fine.", "")], [Row(1, {"s": 3})], [AskedColumns(STARS, ("s",))], "f")
    assert found[0] == Example("a", "Fine.", "3")
