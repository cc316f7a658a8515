"""Which program is best on which dev rows, as the search left it."""

from __future__ import annotations

from pathlib import Path

from optimizers.gepa.pareto_front import draw_front, front_of, price_front

PROGRAMS = [
    {"program": 0, "n_tokens": 9, "dev_score": 0.5, "best_on": ["a", "b"]},
    {"program": 1, "n_tokens": 40, "dev_score": 0.2, "best_on": []},
    {"program": 2, "n_tokens": 60, "dev_score": 0.7, "best_on": ["b", "c", "d"]},
]
ROWS = ["a", "b", "c", "d", "nobody"]


def test_the_front_has_the_programs_that_are_best_somewhere_best_first() -> None:
    front, best = front_of(PROGRAMS, ROWS)
    assert [one["program"] for one in front] == [2, 0]
    assert best.tolist() == [[False, True, True, True, False], [True, True, False, False, False]]


def test_the_picture_is_there_also_of_a_search_in_which_nobody_earned_anything(tmp_path: Path) -> None:
    for number, programs in enumerate((PROGRAMS, [{"program": 0, "n_tokens": 9, "dev_score": 0.0, "best_on": []}])):
        path = tmp_path / f"{number}.png"
        draw_front(programs, ROWS, path)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.png", "1.png"]


def test_a_program_is_worth_its_tokens_where_none_is_both_shorter_and_better() -> None:
    dearer = {"program": 3, "n_tokens": 80, "dev_score": 0.7, "best_on": []}
    shorter = {"program": 4, "n_tokens": 9, "dev_score": 0.4, "best_on": []}
    assert [one["program"] for one in price_front([dearer, shorter, *PROGRAMS])] == [0, 2]
