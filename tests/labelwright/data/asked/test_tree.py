"""Trees that are read off labels' names, and names that are none."""

from __future__ import annotations

import numpy as np
import pytest

from labelwright.bundle.document import from_json, to_json
from labelwright.bundle.types import Bundle
from labelwright.data.asked.questions import Question
from labelwright.data.asked.tree import Tree, tree_faults
from labelwright.data.task import Label, Task
from labelwright.errors import DataError
from labelwright.models.weights import Base
from labelwright.prompt import Prompt, Template
from labelwright.statistics.calibration import Calibration
from labelwright.statistics.hierarchical import node_sums

NAMES = ("billing > refund > late", "billing > refund > lost", "billing > invoice", "other")


def task_of(*names: str, separator: str = " > ") -> Task:
    return Task("t", "What?", tuple(map(Label, names)), tree_separator=separator)


def test_nodes_and_what_lies_under_them():
    tree = Tree.of(NAMES, " > ")
    assert tree.depth == 3
    assert tree.nodes(1) == [("billing",), ("other",)]
    assert tree.nodes(2) == [("billing", "refund"), ("billing", "invoice"), ("other",)]
    assert tree.at == ((0, 0, 0, 1), (0, 0, 1, 2), (0, 1, 2, 3))
    assert tree.lengths == (3, 3, 2, 1)
    probs = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert node_sums(probs, tree.at[0])[0] == pytest.approx([0.6, 0.4])
    assert node_sums(probs, tree.at[1])[0] == pytest.approx([0.3, 0.3, 0.4])
    assert tree.name(tree.nodes(2)[0]) == "billing > refund"


@pytest.mark.parametrize(
    ("names", "separator", "message"),
    [
        (("a", "a > b"), " > ", "'a' is a label, and so is 'a > b' below it: name what is left over"),
        (("a > b", "a > b > c"), " > ", "'a > b' is a label, and so is 'a > b > c' below it"),
        (("a >  > b", "c"), " > ", "the label 'a >  > b' has an empty part, so a level is skipped"),
        ((" > b", "c"), " > ", "has an empty part"),
        (("a > b", "a >  b"), " > ", "'a > b' and 'a >  b' are one path: keep one"),
        (("a > b", "a >c"), " > ", "the label 'a >c' has '>' in a part: write the separator as ' > '"),
        (("a", "b"), " > ", "no label has it in its name"),
        (("a", "b"), "  ", "expected what stands between the parts"),
    ],
)
def test_a_broken_tree_is_one_line(names, separator, message):
    assert any(message in fault for fault in tree_faults(names, separator))
    with pytest.raises(DataError) as caught:
        task_of(*names, separator=separator)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_that_is_broken_is_said_at_once():
    with pytest.raises(DataError, match=r"empty part.*is a label, and so is"):
        task_of("a", "a > b", "c > ")


def test_a_tree_is_of_one_list_of_labels():
    with pytest.raises(DataError, match="leave the tree out"):
        Task("t", "What?", max_choices=3, tree_separator=" > ")
    asked = Task.asking("t", "What?", [Question("q", "choice", tuple(map(Label, NAMES)))])
    with pytest.raises(DataError, match="leave the tree out"):
        Task("t", "What?", asked.labels, questions=asked.questions, tree_separator=" > ")


def test_a_bundle_knows_its_tree(tmp_path):
    task = task_of(*NAMES)
    bundle = Bundle(task, Prompt.for_task(task, Template()), Base("fake"), Calibration())
    written = to_json(bundle, None)
    assert from_json(written, tmp_path)["task"].tree == task.tree
    assert task_of("a", "b", separator="").tree is None
    assert (task.structure, task_of("a", "b", separator="").structure) == ("tree", "")
