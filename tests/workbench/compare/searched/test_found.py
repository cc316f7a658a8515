"""What a search found: what counts as best, and that it is read as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labelwright.statistics.intervals import Interval
from workbench.compare.searched.found import Searched, Trial, read_found, read_steps, write_found, write_steps


def trial(accuracy: float, log_loss: float) -> Trial:
    return Trial({"alpha": 0.1, "strengths": [1.0]}, Interval(accuracy, accuracy / 2, 1.0), log_loss, 1.5)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    failed = Trial({"alpha": 2.0}, seconds=0.5, failed="ValueError: no")
    given_up = replace(trial(0.5, 2.0), share=0.25, way=(None, 2.0))
    found = Searched("log_loss", {"alpha": "0 to 1"}, trial(0.5, 1.0), (failed, trial(0.6, 0.9), given_up), 1, 12)
    write_found(tmp_path / "a" / "found.json", found)
    assert read_found(tmp_path / "a" / "found.json") == found
    assert read_found(tmp_path / "none.json") is None
    write_steps(tmp_path / "trials" / "t.json", [given_up, failed])
    assert read_steps(tmp_path / "trials" / "t.json") == (given_up, failed)
    assert read_steps(tmp_path / "trials" / "u.json") == ()


def test_records_are_those_that_were_the_best_so_far() -> None:
    trials = (Trial({}, failed="no"), trial(0.5, 1.0), trial(0.9, 1.0), trial(0.4, 0.8))
    found = Searched("log_loss", {}, trial(0.8, 0.7), trials, 3, 12)
    assert (found.records(), found.is_better_on_dev) == ([1, 3], False)
    by_accuracy = Searched("accuracy", {}, trial(0.8, 0.7), trials, 2, 12)
    assert (by_accuracy.records(), by_accuracy.is_better_on_dev) == ([1, 2], True)
    assert found.seconds == 4.5


def test_what_was_given_up_is_no_record_however_good_it_was() -> None:
    given_up = replace(trial(0.9, 0.1), share=0.25)
    found = Searched("log_loss", {}, trial(0.8, 0.7), (given_up, trial(0.4, 0.8)), 1, 12)
    assert (given_up.reached("log_loss"), given_up.loss("log_loss")) == (0.1, None)
    assert (found.records(), found.n_given_up) == ([1], 1)
