"""What is said of rows is what a run does with them."""

from __future__ import annotations

from labelwright.data.task import Example
from workbench.first.findings import is_english, languages, look, n_tokens, sentences


def examples(*rows: tuple[str, str]) -> list[Example]:
    return [Example(str(i), text, label) for i, (text, label) in enumerate(rows, start=1)]


ROWS = examples(
    ("the pool is green", "pool"),
    ("The pool is green!", "Pool"),
    ("the pool is green", "hvac"),
    ("no heat upstairs", "hvac"),
    ("cold upstairs", "hvac"),
)


def test_spellings_are_named_and_count_as_one_label() -> None:
    found = look(ROWS)
    assert found.spellings == (("pool", "Pool"),)
    assert found.counts == {"pool": 2, "hvac": 3}
    assert found.conflicting == ((0, 2),)
    assert found.n_near == 2


def test_independent_rows_are_counted_by_label() -> None:
    found = look([*ROWS, *examples(("a", "car"), ("A", "car"))])
    assert found.families["car"] == 1
    assert found.rare[0] == "car"
    (said,) = (one for one in sentences(found) if "fewer than" in one)
    assert said.startswith(
        "labels with fewer than 4 independent rows, one a side: 'car' (1), 'pool' (1) and 'hvac' (3)"
    )
    assert "add 7 rows in all" in said


def test_rows_that_will_be_left_out_teach_nothing() -> None:
    rows = examples(("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("C", "z"), ("e", "z"), ("f", "z"))
    assert look(rows).unlearnable == ("y",)
    assert look(rows, examples(("A", "x"), ("b", "x"))).unlearnable == ("x",)


def test_labels_that_only_the_test_has() -> None:
    found = look(ROWS, examples(("x", "POOL"), ("y", "roof")))
    assert found.untaught == {"roof": 1}
    assert "labels that only the test has rows of: 'roof' (1)" in sentences(found, "the test")


def test_tokens_are_counted_roughly_in_any_script() -> None:
    assert n_tokens("don't panic") == 5
    assert n_tokens("没有暖气") == 4
    assert n_tokens("!!!") == 3


def test_languages_of_many_short_texts() -> None:
    german = [f"Wo bleibt die Lieferung mit der Nummer {i}, bitte?" for i in range(30)]
    english = [f"where is the parcel with the number {i} please" for i in range(30)]
    assert is_english(languages(english))
    assert list(languages(german)) == ["de"]
    assert set(languages([*german, *english])) == {"de", "en"}
    assert not is_english(languages([*german, *english]))
