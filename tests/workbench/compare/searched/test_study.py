"""What is tried next: within the space, the same whenever it is asked again, whatever happened to the files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from labelwright.errors import MissingExtraError
from workbench.compare.searched.study import Study
from workbench.recipe.tables.search import Span, Values

SPACE = {
    "alpha": Span(1e-6, 1e-2, log=True),
    "longest": Span(3, 7, whole=True),
    "strengths": Span(0.1, 10, listed=True),
    "head": Values(("logreg", "svm")),
    "some": Values(([1.0], [1.0, 2.0])),
}


def rounds(journal: Path, n_rounds: int, seed: int = 3, size: int = 4) -> list[list[dict[str, Any]]]:
    """Rounds of trials, of which those with a small alpha are good, and one in each fails."""
    study, asked = Study(SPACE, seed, journal), []
    for _ in range(n_rounds):
        asked.append(study.ask(size))
        study.tell([None, *(one["alpha"] for one in asked[-1][1:])])
    return asked


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


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"labelwright\[tune\]"):
        Study(SPACE, 0, tmp_path / "s.journal")
