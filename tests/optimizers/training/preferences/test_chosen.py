"""A person's preferences: what a file may say, and everything it may not, in one message."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes import toy_splits, toy_task

from labelwright.errors import DataError
from optimizers.training.preferences.chosen import check_chosen, read_chosen

SPLITS = toy_splits()
TRAIN, TASK = SPLITS.train, toy_task()


def written(folder, *lines):
    path = folder / "preferences.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def said(row, chosen="pool", rejected="fence", **more):
    return {"id": row.id, "chosen": chosen, "rejected": rejected, **more}


def test_rows_are_named_by_id_or_text_and_repeats_count_once(tmp_path):
    # A table has a column of ids whether or not a row has one.
    by_text = {"id": "", "text": TRAIN[1].text, "chosen": "hvac", "rejected": "pool"}
    path = written(tmp_path, said(TRAIN[0], why="asked twice"), said(TRAIN[0]), by_text)
    found = read_chosen(path, TRAIN, TASK)
    pool, fence, hvac = map(TASK.index, ("pool", "fence", "hvac"))
    assert found.pairs == [(0, pool, fence), (1, hvac, pool)]
    assert found.n_against_gold == (TRAIN[0].label != "pool") + (TRAIN[1].label != "hvac")


def numbered(*texts):
    """Train rows as data without ids has them."""
    return [replace(TRAIN[0], id=str(number), text=text) for number, text in enumerate(texts, 1)]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_ids_of_a_column_with_gaps_are_the_data_s(tmp_path, ending):
    """As data frames write whole numbers where one is missing: 2.0."""
    train = numbered("green water", "loose panel", "liner leaks")
    path = tmp_path / f"preferences.{ending}"
    lines = ["id,text,chosen,rejected", "2.0,,pool,fence", ",liner leaks,pool,hvac"]
    if ending == "jsonl":
        lines = ['{"id": 2.0, "chosen": "pool", "rejected": "fence"}',
                 '{"id": NaN, "text": "liner leaks", "chosen": "pool", "rejected": "hvac"}']  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    found = read_chosen(path, train, TASK)
    assert (found.pairs, found.n_elsewhere) == ([(1, 0, 1), (2, 0, 2)], 0)


def test_ids_that_the_data_itself_writes_so_are_taken_as_they_stand(tmp_path):
    train = [replace(row, id=id) for row, id in zip(TRAIN, ["1", "2.0"], strict=False)]
    with pytest.raises(DataError, match="none of its 1 rows is a train row"):
        check_chosen(written(tmp_path, {"id": "1.0", "chosen": "pool", "rejected": "fence"}), train, TASK)
    assert read_chosen(written(tmp_path, said(train[1])), train, TASK).pairs == [(1, 0, 1)]


def test_a_text_that_several_rows_have_is_meant_of_all_of_them(tmp_path):
    train = numbered("green water", "liner leaks", "green water")
    line = {"text": " green water ", "chosen": "pool", "rejected": "hvac"}
    assert read_chosen(written(tmp_path, line), train, TASK).pairs == [(0, 0, 2), (2, 0, 2)]
    back = {"id": "3", "chosen": "hvac", "rejected": "pool"}
    with pytest.raises(DataError, match="row 2: takes back"):
        read_chosen(written(tmp_path, line, back), train, TASK)


def test_a_row_is_named_by_the_task_s_own_columns_of_text_too(tmp_path):
    task, train = replace(TASK, text_columns=("title", "body")), numbered("Pump\nIt leaks.", "Gate")
    path = written(
        tmp_path,
        {"title": "Pump", "body": " It leaks.", "chosen": "pool", "rejected": "fence"},
        {"text": "Gate", "chosen": "fence", "rejected": "hvac"},
    )
    assert read_chosen(path, train, task).pairs == [(0, 0, 1), (1, 1, 2)]
    with pytest.raises(DataError, match="row 1: neither id nor 'title' and 'body'; say which row is meant"):
        read_chosen(written(tmp_path, {"title": "Pump", "chosen": "pool", "rejected": "fence"}), train, task)


def test_rows_of_other_splits_teach_nothing_and_are_counted(tmp_path):
    found = read_chosen(written(tmp_path, said(SPLITS.dev[0]), said(TRAIN[2])), TRAIN, TASK)
    assert ([row for row, _, _ in found.pairs], found.n_elsewhere) == ([2], 1)
    with pytest.raises(DataError, match="none of its 2 rows is a train row: give ids or texts of the recipe's data"):
        check_chosen(written(tmp_path, said(SPLITS.dev[0]), said(SPLITS.test[0])), TRAIN, TASK)


def test_all_faults_stand_in_one_message(tmp_path):
    path = written(
        tmp_path,
        said(TRAIN[0]),
        said(TRAIN[0], "fence", "pool"),
        said(TRAIN[1], "Pool"),
        {"id": TRAIN[1].id, "chosen": "pool"},
        {"id": " ", "text": None, "chosen": "pool", "rejected": "hvac"},
        said(TRAIN[2], "hvac", "hvac"),
        "{half",
    )
    with pytest.raises(DataError) as refused:
        read_chosen(path, TRAIN, TASK)
    for part in (
        "row 2: takes back what a row above says",
        "chosen is 'Pool': expected one of 'pool', 'fence', 'hvac'",
        "rejected is missing: expected one of",
        "neither id nor 'text'",
        "chosen and rejected are both 'hvac'",
        "line 7: not JSON",
    ):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file"):
        read_chosen(tmp_path / "nothing.jsonl", TRAIN, TASK)
