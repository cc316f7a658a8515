"""A person's preferences: what a file may say, and everything it may not, in one message."""

from __future__ import annotations

import json

import pytest
from fakes import toy_splits, toy_task

from labelwright.errors import DataError
from optimizers.training.preferences.chosen import read_chosen

SPLITS = toy_splits()
TRAIN, NAMES = SPLITS.train, list(toy_task().names)


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
    found = read_chosen(path, TRAIN, NAMES)
    pool, fence, hvac = map(NAMES.index, ("pool", "fence", "hvac"))
    assert found.pairs == [(0, pool, fence), (1, hvac, pool)]
    assert found.n_against_gold == (TRAIN[0].label != "pool") + (TRAIN[1].label != "hvac")


def test_rows_of_other_splits_teach_nothing_and_are_counted(tmp_path):
    found = read_chosen(written(tmp_path, said(SPLITS.dev[0]), said(TRAIN[2])), TRAIN, NAMES)
    assert ([row for row, _, _ in found.pairs], found.n_elsewhere) == ([2], 1)
    with pytest.raises(DataError, match="none of its 2 rows is a train row: give ids or texts of the recipe's data"):
        read_chosen(written(tmp_path, said(SPLITS.dev[0]), said(SPLITS.test[0])), TRAIN, NAMES)


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
        read_chosen(path, TRAIN, NAMES)
    for part in (
        "row 2: takes back what a row above says",
        "chosen is 'Pool': expected one of 'pool', 'fence', 'hvac'",
        "rejected is missing: expected one of",
        "neither id nor text",
        "chosen and rejected are both 'hvac'",
        "line 7: not JSON",
    ):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jsonl: no such file"):
        read_chosen(tmp_path / "nothing.jsonl", TRAIN, NAMES)
