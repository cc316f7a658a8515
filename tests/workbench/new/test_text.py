"""What is written reads back as what was put in, whatever it holds."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from labelwright.plain_text import printable
from workbench.new.text import Line, recipe_text, toml_value
from workbench.recipe.read import read_recipe

# Whatever UTF-8 can hold: quotes, backslashes, line ends, controls, text that looks like TOML.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-(2**31), 2**31), st.floats(0, 1), st.lists(TEXTS, max_size=40))
# What a recipe takes for a name: no control characters but line ends and tabs.
NAMES = st.text(
    st.one_of(st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from("\n\r\t")), min_size=1, max_size=30
).filter(str.strip)


@given(VALUES, TEXTS, TEXTS)
@example('"]\nlabel = "owned', '"""', "# x\ny = 1")
@example("\x7f\x85\u2028\u202e\U000e0001", "\\", "\r")
def test_any_value_is_read_back(value: Any, comment: str, head: str) -> None:
    text = recipe_text([head], {"data": [Line("key", value, comment)], "task": []})
    assert tomllib.loads(text) == {"data": {"key": value}}
    # Nothing in it drives a terminal, or reads as what it is not.
    assert printable(text, keep="\n") == text


@given(NAMES, NAMES, st.lists(NAMES, min_size=2, max_size=4, unique=True))
def test_a_recipe_has_the_columns_and_labels_that_were_found(
    tmp_path_factory: Any, text: str, label: str, labels: list[str]
) -> None:
    if text == label or any(len(one.splitlines()) > 1 for one in labels):
        return  # two columns are needed, and a label is one line: both are refused elsewhere
    path: Path = tmp_path_factory.mktemp("recipe") / "r.toml"
    data = [Line("path", "rows.csv"), Line("text", text, text), Line("label", label, label)]
    task = [Line("instructions", "Name it.", label), Line("labels", labels, text)]
    path.write_text(recipe_text([text], {"data": data, "task": task}), encoding="utf-8")
    recipe = read_recipe(path)
    assert (recipe.data.text, recipe.data.label) == (text, label)
    assert [one.name for one in recipe.task.labels] == labels


def test_long_lists_are_wrapped_and_comments_stand_beside() -> None:
    names = [f"candidate {i}" for i in range(30)]
    text = recipe_text([], {"": [Line("seed", 3, "of all")], "baselines": [Line("names", names, "many")], "gepa": []})
    assert max(map(len, text.splitlines())) <= 120
    assert tomllib.loads(text) == {"seed": 3, "baselines": {"names": names}}
    assert "seed = 3                                    # of all\n" in text
    assert "[gepa]" not in text
    assert toml_value(()) == "[]"
