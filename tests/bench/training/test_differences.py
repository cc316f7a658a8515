"""Every arm against every other one: paired by row, each column in its own unit, seeds one behind the other."""

from __future__ import annotations

import pytest

from bench.training.differences import REWARD, Column, joined, named, pairs


def run(arm, right, log_loss, seed=0, setting="clean"):
    families = [f"{seed} {family}" for family in "aabb"]
    return {"setting": setting, "arm": arm, "families": families, "right": right, "log_loss": log_loss}


def test_every_arm_is_held_against_every_other_in_its_own_unit():
    found = [
        run("sft", [False] * 4, [2.0] * 4),
        run("mean", [True] * 4, [1.0] * 4),
        run("sft", [True] * 4, [0.5] * 4, setting="gold"),
    ]
    lines = pairs(named(found, "setting", "arm"))
    assert lines == [
        "| arm | against | accuracy, points | log loss |",
        "|---|---|---|---|",
        "| clean mean | clean sft | +100.0 [+100.0, +100.0] | -1.00 [-1.00, -1.00] |",
        "| gold sft | clean sft | +100.0 [+100.0, +100.0] | -1.50 [-1.50, -1.50] |",
        "| gold sft | clean mean | +0.0 [+0.0, +0.0] | -0.50 [-0.50, -0.50] |",
    ]


def test_differences_are_of_the_same_rows_of_the_same_seeds():
    """Rows that differ by as much in both arms have no interval, however much they differ from each other."""
    found = [
        run("a", [0, 1, 0, 1], [1, 2, 3, 4]),
        run("b", [1, 1, 0, 1], [2, 3, 4, 5]),
        run("a", [1, 0, 0, 0], [7, 8, 0, 9], seed=1),
        run("b", [1, 1, 1, 0], [8, 9, 1, 10], seed=1),
    ]
    arms = named(found, "arm")
    assert joined(arms["b"], "log_loss").tolist() == [2, 3, 4, 5, 8, 9, 1, 10]
    (line,) = pairs(arms)[2:]
    assert line.endswith("| +1.00 [+1.00, +1.00] |")
    assert line.startswith("| b | a | +37.5 [")
    with pytest.raises(ValueError, match="broadcast"):
        pairs(named(found[:-1], "arm"))


def test_columns_are_who_asks_s_own():
    found = [
        {"method": name, "families": ["a", "b"], "found": values, "reward": values}
        for name, values in (("random", [0.25, 0.5]), ("evidence", [0.5, 0.75]))
    ]
    told = pairs(named(found, "method"), (Column("found", "found"), REWARD))
    assert told[0] == "| arm | against | found | reward, points |"
    assert told[2] == "| evidence | random | +0.25 [+0.25, +0.25] | +25.0 [+25.0, +25.0] |"
