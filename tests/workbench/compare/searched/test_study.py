"""What is tried next: within the space, the same whenever it is asked again, whatever happened to the files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from labelwright.errors import MissingExtraError
from labelwright.statistics.intervals import Interval
from workbench.compare.searched.found import Trial
from workbench.compare.searched.study import Study, is_given_up
from workbench.recipe.tables.search import Span, Values

SPACE = {
    "alpha": Span(1e-6, 1e-2, log=True),
    "longest": Span(3, 7, whole=True),
    "strengths": Span(0.1, 10, listed=True),
    "head": Values(("logreg", "svm")),
    "some": Values(([1.0], [1.0, 2.0])),
}

FAILED = Trial({}, failed="no")


def rounds(journal: Path, n_rounds: int, seed: int = 3, size: int = 4) -> list[list[dict[str, Any]]]:
    """Rounds of trials, of which those with a small alpha are good, and one in each fails."""
    study, asked = Study(SPACE, seed, journal), []
    for _ in range(n_rounds):
        asked.append(study.ask(size))
        study.tell([FAILED, *(done(one["alpha"]) for one in asked[-1][1:])], "log_loss")
    return asked


def done(loss: float, *way: float | None, share: float = 1.0) -> Trial:
    return Trial({}, Interval(0.5, 0.4, 0.6), loss, share=share, way=way)


def test_a_search_that_is_asked_again_is_the_same_one(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    whole = rounds(journal, 5)
    # What a kill may leave: half a line, and a lock.
    with journal.open("a") as file:
        file.write('{"op_code": 4, "wor')
    journal.with_name("s.journal.lock").symlink_to(journal)
    assert rounds(journal, 3) == whole[:3], "a killed search goes on as it would have"
    assert rounds(tmp_path / "other.journal", 5) == whole
    assert rounds(tmp_path / "third.journal", 5, seed=4) != whole
    # Nothing but JSON lines.
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_trials_are_of_the_space_and_of_its_types(tmp_path: Path) -> None:
    drawn = [one for some in rounds(tmp_path / "s.journal", 6) for one in some]
    for one in drawn:
        assert 1e-6 <= one["alpha"] <= 1e-2
        assert type(one["longest"]) is int
        assert 3 <= one["longest"] <= 7
        assert len(one["strengths"]) == 1
        assert 0.1 <= one["strengths"][0] <= 10
        assert one["head"] in ("logreg", "svm")
        assert one["some"] in ([1.0], [1.0, 2.0])
    # By factors: as many below a hundredth of the range's top as drawn evenly over powers of ten.
    assert sum(one["alpha"] < 1e-4 for one in drawn) > len(drawn) / 4
    first = list(drawn[:4])
    assert len({one["alpha"] for one in first}) == 4, "those of a round are drawn apart"


# Losses at two shares and at the end; the medians are 3 and 30, whatever came of them.
EARLIER = [[1.0, 10.0, 9.0], [2.0, 20.0, 1.0], [3.0, 30.0, 7.0], [4.0, 40.0, 3.0], [5.0, 50.0, 5.0]]


@pytest.mark.parametrize(
    ("way", "is_worse"),
    [
        ([3.1], True),
        ([3.0], False),
        ([2.0, 30.1], False),  # the best so far counts, as Optuna has it
        ([31.0, 30.1], True),
        ([None, 30.1], True),
        ([None, 29.0], False),
    ],
)
def test_a_trial_is_given_up_where_half_of_those_before_were_better_at_its_share(
    way: list[float | None], is_worse: bool
) -> None:
    assert is_given_up(way, EARLIER) is is_worse
    assert not is_given_up(way, EARLIER[:4]), "four are too few to tell"


def test_a_share_that_nobody_could_learn_gives_nobody_up() -> None:
    assert not is_given_up([99.0], [[None, *one[1:]] for one in EARLIER])
    # And who could not counts as nobody.
    assert is_given_up([3.6], [*EARLIER, [None, 0.0, 0.0]])


def test_what_was_given_up_is_told_with_what_it_had_reached(tmp_path: Path) -> None:
    def journal(name: str, given_up: Trial) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        study, path = Study(SPACE, 3, tmp_path / f"{name}.journal"), tmp_path / f"{name}.journal"
        # The sampler draws by chance until it knows of ten.
        for _ in range(3):
            study.ask(4)
            study.tell([given_up, done(2.0, 4.0), done(1.0, 3.0), done(3.0, None)], "log_loss")
        return study.ask(4), [json.loads(line) for line in path.read_text().splitlines()]

    drawn, lines = journal("a", done(5.0, 5.0, share=0.125))
    ends = [line["state"] for line in lines if line["op_code"] == 6]
    states = optuna.trial.TrialState
    assert ends == 3 * [states.PRUNED, states.COMPLETE, states.COMPLETE, states.COMPLETE]
    told = [line["intermediate_value"] for line in lines if line["op_code"] == 7]
    assert told == 3 * [5.0, 4.0, 3.0]
    assert drawn != journal("b", FAILED)[0], "what was given up teaches the sampler, what failed does not"


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"labelwright\[tune\]"):
        Study(SPACE, 0, tmp_path / "s.journal")
    with pytest.raises(MissingExtraError, match=r"labelwright\[tune\]"):
        is_given_up([1.0], EARLIER)
