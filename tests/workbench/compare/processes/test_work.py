"""What is asked of a candidate's process: what it needs of a machine, and whom it waits for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import workbench_fakes
from small_comparison import edit_recipe, know_two_ngrams, new_toy_run, opened

from labelwright.files import write_json
from workbench.compare.processes.pool import CandidateFailedError
from workbench.compare.processes.work import Listener, Needs, OneByOne, Work, needs_of, shared_with, work_of
from workbench.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of the toy recipe with two n-gram models and pipelines that share a stage."""
    workbench_fakes.install(monkeypatch.setattr)
    know_two_ngrams(monkeypatch)
    workbench_fakes.write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    edit_recipe('"majority", "words", "absent"]', '"majority", "words", "chars"]')
    edit_recipe("[compare]\n", '[models]\ncandidates = ["sft", "sft+grpo"]\n[compare]\nseeds = 2\ncurves = []\n')
    return new_toy_run()


def test_memory_is_what_the_newest_result_says_with_room(run: RunFolder) -> None:
    comparison = opened(run)
    assert needs_of(comparison, "words") == Needs(1, 0, 2**29)
    assert needs_of(comparison, "sft") == Needs(2, 1, 6 * 2**30)
    # Under whatever settings: another hash, and a result without a price beside it.
    place = comparison.root / "words"
    place.mkdir(parents=True)
    write_json(place / "0000.json", {"cost": {"peak_memory_bytes": 4_000_000}, "scores": {}})
    write_json(place / "0001.json", {"scores": {}})
    assert needs_of(comparison, "words").memory_bytes == 5_000_000


def test_pipelines_that_share_a_stage_wait_for_whoever_does_it(run: RunFolder) -> None:
    after = shared_with(opened(run), ["words", "sft", "sft+grpo"])
    assert [list(after(name)) for name in ("words", "sft", "sft+grpo")] == [[], [], ["sft"]]


def test_a_work_is_what_is_missing(run: RunFolder) -> None:
    comparison = opened(run)
    work = work_of(comparison, "words")
    assert work.jobs == tuple(comparison.jobs("words"))
    assert (work.teacher, work.trial, work.log) == ("", None, comparison.root / "words" / "log.txt")


def test_one_by_one_a_failure_is_told_and_the_next_is_run() -> None:
    asked: list[Any] = []

    def run(jobs: Any, family: str, log: Path, say: Any, record: Any, **how: Any) -> None:
        asked.append((family, how))
        say(1, 2, "half")
        if family == "a":
            raise CandidateFailedError("no", lasting=False)

    heard: list[Any] = []
    listener = Listener(
        lambda name: heard.append(("begins", name)),
        lambda *said: heard.append(said),
        lambda entry: None,
        lambda name, error: heard.append(("ended", name, error and str(error))),
    )
    works = {
        "a": Work((), "a", Path("log"), Needs(1, 0, 1), trial={"settings": {"alpha": 1}}),
        "b": Work((), "b", Path("log"), Needs(1, 0, 1), teacher="c"),
    }
    OneByOne(SimpleNamespace(run=run)).run(["a", "b"], works.__getitem__, listener)  # type: ignore[arg-type]
    assert asked == [("a", {"trial": {"settings": {"alpha": 1}}}), ("c", {"asks_teacher": True}), ("b", {})]
    half = [("a", 1, 2, "half"), ("b", 1, 2, "half"), ("b", 1, 2, "half")]
    assert heard == [
        *[("begins", "a"), half[0], ("ended", "a", "no")],
        *[("begins", "b"), *half[1:], ("ended", "b", None)],
    ]
