"""What is asked for: labels that are near each other are told apart, seeds go round, nothing hangs on chance alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from labelwright.data.task import Example, Label, Task
from workbench.recipe.tables.synthetic import SyntheticTable
from workbench.synthetic.orders import Orders
from workbench.synthetic.wording import ask_for_rows

LABELS = (Label("pool"), Label("fountain", "water that jumps"), Label("fence"))
ROWS = [
    Example("1", "green water in the basin", "pool"),
    Example("2", "water pump of the basin", "fountain"),
    Example("3", "a rotten post", "fence"),
    Example("4", "cold water and a basin", "pool"),
]


def vectors(texts):
    return TfidfVectorizer().fit_transform(list(texts))


def orders(pool=(), seed=0) -> Orders:
    return Orders(LABELS, ROWS, pool, SyntheticTable(), seed, vectors)


def test_the_labels_whose_rows_are_near_are_named_first_each_with_a_row_of_its_own():
    found = orders()
    assert {name: near[0] for name, near in found.confusable.items()} == {
        "pool": "fountain", "fountain": "pool", "fence": "pool",
    }  # fmt: skip
    order = found.next("pool")
    assert [name for name, _ in order.confusable] == ["fountain", "fence"]
    assert dict(order.confusable)["fountain"] == "water pump of the basin"
    assert order.label == LABELS[0]


def test_every_train_row_of_a_label_is_a_seed_before_one_is_again():
    found = orders()
    seeds = [found.next("pool").seed.id for _ in range(4)]
    assert set(seeds[:2]) == set(seeds[2:]) == {"1", "4"}
    assert found.next("fence").seed.id == "3"


def test_the_same_seed_orders_the_same_and_another_one_otherwise():
    def all_of(found: Orders) -> list[object]:
        return [found.next(label.name) for label in LABELS for _ in range(5)]

    assert all_of(orders()) == all_of(orders())
    assert all_of(orders()) != all_of(orders(seed=1))


@pytest.mark.parametrize("pool", [(), ("the post is rotten",)])
def test_a_label_without_any_row_is_ordered_by_its_name_and_description(pool):
    found = Orders((*LABELS, Label("hvac", "air that is cold")), ROWS, pool, SyntheticTable(), 0, vectors)
    order = found.next("hvac")
    assert (order.seed.text, order.label.description) == ("", "air that is cold")
    task = Task("repairs", "Whose is it?", (*LABELS, order.label))
    (asked,) = ask_for_rows(task, order, 0.9, 100).turns
    assert '"hvac" (air that is cold)' in asked
    assert "A real message" not in asked
    # Nothing was shown: nothing is referred to.
    (alone,) = ask_for_rows(task, replace(order, confusable=()), 0.9, 100).turns
    assert "above" in asked
    assert "above" not in alone


@pytest.mark.parametrize("label", ["pool", "fence"])
def test_rows_of_the_pool_go_to_the_label_that_they_are_nearest_to(label):
    found = orders(("the post is rotten", "basin with cold water"))
    order = found.next(label)
    assert (order.seed.text, order.seed.id) == (
        "basin with cold water" if label == "pool" else "the post is rotten", "",
    )  # fmt: skip
    # A label that no row of the pool is nearest to has its train rows.
    assert found.next("fountain").seed.id == "2"
