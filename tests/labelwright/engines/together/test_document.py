"""``together.json``: what is written is read, and what a stranger may have written is refused in one line."""

from __future__ import annotations

import json

import pytest

from labelwright.engines.together.document import FILE, MOST_MEMBERS, read_plan, write_plan
from labelwright.engines.together.plan import Level, Plan
from labelwright.errors import BundleError

PLAN = Plan((Level((1.0, 0.0), 0.9), Level((0.25, 0.75))), "probability")


def test_what_is_written_is_read(tmp_path):
    assert write_plan(PLAN, ["a", "b"], tmp_path) == read_plan(tmp_path)
    plan, names, folders = read_plan(tmp_path)
    assert (plan, names, folders) == (PLAN, ("a", "b"), (tmp_path / "0", tmp_path / "1"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("members", [], "0 members, expected 1 to"),
        ("members", ["x"] * (MOST_MEMBERS + 1), "33 members"),
        ("members", ["a", 3], "not names"),
        ("mean", "median", "mean is 'median'"),
        ("mean", None, "expected one of log, probability"),
        ("levels", [], "1 to 8 levels"),
        ("levels", "ab", "1 to 8 levels"),
        ("levels", [[]], "not an object"),
        ("levels", [{"weights": [1.0, 1.0]}], "'threshold' is missing"),
        ("levels", [{"weights": [1.0], "threshold": 0.5}], "not 2 numbers"),
        ("levels", [{"weights": [1.0, True], "threshold": 0.5}], "not 2 numbers"),
        ("levels", [{"weights": [1.0, -1.0], "threshold": 0.5}], "0 or more"),
        ("levels", [{"weights": [0.0, 0.0], "threshold": 0.5}], "one of them above 0"),
        ("levels", [{"weights": [1e308, 1e308], "threshold": 0.5}], "one of them above 0"),
        ("levels", [{"weights": [1.0, 0.0], "threshold": 1.5}], "threshold is 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, key, value, said):
    write_plan(PLAN, ["a", "b"], tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**content, key: value}))
    with pytest.raises(BundleError, match=r"together\.json: .*; copy the whole folder again") as caught:
        read_plan(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"members": ["a"], "mean": "log"}'])
def test_a_damaged_file_is_one_line(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BundleError, match=r"together\.json"):
        read_plan(tmp_path)


def test_nobody_is_no_plan(tmp_path):
    with pytest.raises(BundleError, match="0 members"):
        write_plan(PLAN, [], tmp_path)
