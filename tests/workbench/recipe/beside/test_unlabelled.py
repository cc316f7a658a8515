"""The pool that students learn from: what is drawn of it, and what is left out, by why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwright.data.task import Example, normalise
from labelwright.errors import DataError, RecipeError
from workbench.recipe.beside.unlabelled import check_unlabelled, read_unlabelled
from workbench.recipe.read import read_recipe
from workbench.recipe.tables.candidates import DistilTable
from workbench.recipe.tables.data import DataTable

TAUGHT = [Example("1", "Pump is loud", "pool")]
MEASURED = [Example("2", "No heat!", "hvac", group="a"), Example("3", "gate stuck", "fence")]


def read(path: Path, records: list[dict], most: int = 100, seed: int = 0, **columns: str):
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    table = DataTable(path="rows.jsonl", unlabelled=str(path), **columns)
    recipe = SimpleNamespace(data=table, distil=DistilTable(most_rows=most), seed=seed)
    return read_unlabelled(recipe, TAUGHT, MEASURED)


def test_what_is_measured_taught_repeated_or_empty_is_left_out_and_counted(tmp_path):
    texts = ["no heat", "NO  HEAT!!", "pump is loud.", "new one", "New one!", "", "two"]
    records = [{"text": text, "label": "whatever"} for text in texts] + [{"text": "third", "group": "a"}]
    found = read(tmp_path / "pool.jsonl", records, group="group")
    assert set(found.texts) == {"new one", "two"}
    assert found.left_out == {"measured": 3, "taught": 1, "repeated": 1, "empty": 1, "beyond": 0}
    assert found.told.startswith("3 with the text or the group of a row of dev, calib or test, or nearly the text, 1 ")


def test_groups_and_texts_of_the_pool_connect_with_what_is_measured(tmp_path):
    pairs = [
        ("further", "h"),  # connected by the row below alone
        ("other words", "h"),
        ("other words", "g"),
        ("gate stuck!", "g"),  # a dev text, so its group is
        ("third", "a"),
        ("third", None),  # a text of a group that is measured
        ("", "a"),
        ("", "i"),
        ("free", "i"),
        ("alone", None),
    ]
    records = [{"text": text, "group": group} for text, group in pairs]
    found = read(tmp_path / "pool.jsonl", records, group="group")
    assert set(found.texts) == {"free", "alone"}
    assert found.left_out == {"measured": 6, "taught": 0, "repeated": 0, "empty": 2, "beyond": 0}


def test_what_nobody_can_see_of_the_pool_is_said(tmp_path):
    pool = tmp_path / "pool.csv"
    pool.write_text("text,thread\nhello,1\n")
    table = DataTable(path="rows.jsonl", unlabelled=str(pool))
    assert check_unlabelled(table) == []
    assert check_unlabelled(replace(table, group="thread")) == []
    (said,) = check_unlabelled(replace(table, group="group"))
    assert "has no 'group' (group)" in said
    (said,) = check_unlabelled(replace(table, out_of_scope="none"))
    assert "which of its rows are out of scope is not known" in said


def test_a_group_is_no_column_where_the_recipe_names_none(tmp_path):
    assert read(tmp_path / "pool.jsonl", [{"text": "third", "group": "a"}]).texts == ("third",)


@given(st.lists(st.text("aAbß1. !¿", max_size=5), max_size=25), st.integers(1, 9))
def test_who_is_drawn_hangs_on_the_texts_alone(tmp_path_factory, texts, most):
    path = tmp_path_factory.getbasetemp() / "drawn.jsonl"
    records = [{"text": text} for text in texts]
    try:
        found = read(path, records, most)
    except DataError:
        assert not {normalise(text.strip()) for text in texts} - {"", "no heat", "pump is loud", "gate stuck"}
        return
    marks = [normalise(text) for text in found.texts]
    assert len(marks) == len(set(marks)) <= most
    assert sum(found.left_out.values()) + len(found.texts) == len(texts)
    assert {normalise(one) for one in read(path, records[::-1], most).texts} == set(marks)


def test_another_seed_draws_others(tmp_path):
    records = [{"text": f"row {n}"} for n in range(60)]
    one, other = (set(read(tmp_path / "p.jsonl", records, 20, seed).texts) for seed in (0, 1))
    assert len(one) == len(other) == 20
    assert one != other


def test_a_pool_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"none of its 1 row can be learnt; left out: 1 with the text or the group"):
        read(tmp_path / "pool.jsonl", [{"text": "No heat"}])
    with pytest.raises(DataError, match="rows 1 and 2: the text is a list, not text"):
        read(tmp_path / "pool.jsonl", [{"text": []}, {"text": [2]}])


RECIPE = """
[data]
path = "rows.jsonl"
%s
[task]
instructions = "Which?"
[baselines]
names = ["majority", "sgd-ngrams", "minilm-knn"]
[models]
candidates = ["free"]
"""


@pytest.mark.parametrize(
    ("data", "distil", "told"),
    [
        ("", "[distil]\nmost_rows = 5", "[distil]: nobody learns: set [data] unlabelled, rows without labels, or name"),
        ("", '[distil]\nhosted_model = "far"', "[distil]: nobody learns: set [data] unlabelled"),
        ("", '[distil]\nstudents = ["minilm-knn"]', "students: 'minilm-knn' cannot learn from probabilities"),
        (
            'choices = "c"',
            '[distil]\nstudents = ["sgd-ngrams"]',
            "students: rows bring their own choices, and students",
        ),
        ("", '[distil]\nstudents = ["sgd-ngrams"]\nhosted_url = "http://127.0.0.1:1/v1"', "hosted_url alone: expected"),
        (
            'unlabelled = "p.csv"',
            '[distil]\nteacher = "sgd-ngrams"\nhosted_model = "far"',
            "[distil]: teacher and hosted_model: students have one teacher",
        ),
        ('unlabelled = "rows.jsonl"', "", "unlabelled = 'rows.jsonl': expected a file of its own"),
        (
            'unlabelled = "p.csv"',
            '[distil]\nstudents = ["minilm-knn", "sft"]',
            "students: 'minilm-knn' cannot learn from probabilities; expected some of: sgd-ngrams; [distil]: students: "
            "'sft' is not in [baselines] names",
        ),
        ('unlabelled = "p.csv"', '[distil]\nstudents = ["gepa"]', "students: 'gepa' cannot learn from probabilities"),
        ('unlabelled = "p.csv"', '[distil]\nteacher = "free"', "teacher: unknown candidate 'free'"),
        (
            'unlabelled = "p.csv"',
            '[distil]\nteacher = "ensemble"\n[ensemble]\nmost_members = 0',
            "teacher = 'ensemble': this recipe leaves it out",
        ),
        ('unlabelled = "p.csv"\nchoices = "c"', "", "unlabelled: rows bring their own choices"),
        ('unlabelled = "p.csv"', "[distil]\nmost_rows = 0", "most_rows = 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused_when_they_are_read(tmp_path, data, distil, told):
    path = tmp_path / "r.toml"
    path.write_text(RECIPE % data + distil)
    with pytest.raises(RecipeError) as refused:
        read_recipe(path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pool_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = DataTable(path="rows.jsonl", unlabelled="pool.csv")
    with pytest.raises(DataError, match=r"pool\.csv"):
        check_unlabelled(table)
    Path("pool.csv").write_text("message\nhello\n")
    with pytest.raises(DataError, match=r"pool\.csv: no column 'text' for the text; it has 'message'"):
        check_unlabelled(table)
    Path("pool.csv").write_text("text\nhello\n")
    assert check_unlabelled(table) == []
