"""Cases are kept as they come, and not measured twice."""

import pytest

from bench.growth import __main__ as growth
from bench.growth.cases import Case, Measured, Series, series
from bench.growth.fit import expected
from labelwright.errors import LabelwrightError


@pytest.fixture
def asked(monkeypatch):
    seen = []

    def measure(case, folder):
        seen.append(case.n_rows)
        if case.n_rows == 1000 and case.what == "broken":
            raise LabelwrightError("it\nfailed")
        return Measured(0.01 * case.n_rows, 0.1 * case.n_rows, 10_000_000, {"confidence": 0.5}, "2026-01-02")

    monkeypatch.setattr(growth, "measure", measure)
    monkeypatch.setattr(growth, "machine_facts", lambda: {"cpu": "A", "cores": 2, "torch": "2", "date": "today"})
    return seen


def test_a_killed_measurement_goes_on(asked, tmp_path):
    arguments = ["--only", "rows", "--series", "n-grams", "--out", str(tmp_path), "--seconds", "50", "--note", "Alone."]
    assert growth.main(arguments) == 0
    assert asked == [100, 1000]
    said = (tmp_path / "README.md").read_text()
    assert "rows, n-grams, 10000: left out, it would take about 100 CPU s, and 50 are the most (" in said
    assert "rows, n-grams, 1000000: left out" in said
    assert "rows, model: not measured at 10, 30, 100, 300, 1,000, 3,000, 10,000." in said
    assert "A, 2 cores, torch 2; 2026-01-02. Alone." in said
    assert growth.main([*arguments, "--seconds", "1", "--at", "100", "100000"]) == 0
    assert asked == [100, 1000]
    assert growth.main([*arguments, "--seconds", "150"]) == 0
    assert asked == [100, 1000, 10_000]
    assert growth.main(["--draw", "--out", str(tmp_path)]) == 0
    assert asked == [100, 1000, 10_000]
    said = (tmp_path / "README.md").read_text()
    assert "rows, n-grams, 100000: left out, it would take about 1000 CPU s, and 150 are the most" in said
    assert "rows, n-grams, 10000: left out" not in said, "it was measured since"


def test_the_next_case_is_expected_to_grow_as_the_last_two_did(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(
        growth, "measure", lambda case, folder: asked.append(case.n_rows) or Measured(case.n_rows**2, 1.0, 1)
    )
    kept = growth.Kept(tmp_path / "cases.jsonl", "A")
    # As x the third would be 90, by the square of the first two it is 81.
    growth.run(Series("rows", "square", (1, 3, 9, 27), lambda x: Case("score", "", n_rows=x)), kept, 85)
    assert asked == [1, 3, 9]
    assert kept.left_out()["rows, square, 27"].startswith("it would take about 729 CPU s, and 85 are the most")


def test_a_fresh_measurement_lets_the_largest_cases_through():
    """What they took on two cores of a Xeon, by the case before them; a machine half as fast measures them, too."""
    for xs, ys, x in (
        ([1e4, 1e5], [1.36, 10.1], 1e6),
        ([100, 300], [40.2, 38.3], 1000),
        ([77, 300], [7.59, 48.0], 1000),
        ([77, 300], [5.96, 13.9], 1000),
    ):
        assert 2 * expected(xs, ys, x) < growth.MOST_S
    assert expected([1000, 3000], [72.9, 192.9], 10_000) < growth.MOST_S


def test_a_case_that_fails_is_left_out_with_its_reason(asked, tmp_path):
    (one, *_) = series("broken")
    broken = Series("rows", "odd", one.xs[:3], lambda x: Case("score", "broken", n_rows=x))
    kept = growth.Kept(tmp_path / "cases.jsonl", "A")
    growth.run(broken, kept, 1e9)
    assert [*kept.left_out()] == ["rows, odd, 1000"]
    assert kept.left_out()["rows, odd, 1000"].startswith("it failed (20")
    assert [*kept.read()] == ["rows, odd, 100", "rows, odd, 10000"]


def test_a_case_that_fails_the_second_time_keeps_what_it_took(asked, tmp_path):
    kept = growth.Kept(tmp_path / "cases.jsonl", "A")
    kept.add("rows, odd, 1000", Measured(77.0, 88.0, 1, {}, "2026-01-01"))
    growth.run(Series("rows", "odd", (1000,), lambda x: Case("score", "broken", n_rows=x)), kept, 1e9, again=True)
    assert asked == [1000]
    assert (kept.read()["rows, odd, 1000"].cpu_s, kept.left_out()) == (77.0, {})


def test_cases_of_another_machine_are_no_part_of_the_growth(asked, tmp_path):
    kept, others = (growth.Kept(tmp_path / "cases.jsonl", name) for name in ("A, 2 cores", "B, 2 cores"))
    others.add("rows, n-grams, 100", Measured(77.0, 88.0, 1, {}, "2025-01-01"))
    others.leave_out("rows, n-grams, 1000", "odd reasons")
    arguments = ["--only", "rows", "--series", "n-grams", "--at", "100", "--out", str(tmp_path)]
    assert growth.main(arguments) == 0
    assert asked == [100]
    assert kept.read()["rows, n-grams, 100"].cpu_s == 1.0
    assert others.read()["rows, n-grams, 100"].cpu_s == 77.0
    said = (tmp_path / "README.md").read_text()
    assert "| n-grams | 100 | 1 | 10 | 10 |" in said
    assert "odd reasons" not in said


def test_what_is_there_is_measured_again_where_that_is_asked_for(asked, tmp_path):
    arguments = ["--only", "rows", "--series", "n-grams", "--out", str(tmp_path), "--seconds", "50"]
    assert growth.main(arguments) == 0
    assert growth.main([*arguments, "--again", "--at", "1000"]) == 0
    assert asked == [100, 1000, 1000]
    assert growth.main([*arguments, "--again", "--at", "1000", "--seconds", "1"]) == 0
    assert asked == [100, 1000, 1000], "too long now, and what is there stays"
    assert "1000: left out" not in (tmp_path / "README.md").read_text()


def test_nothing_measured_is_said(tmp_path, capsys):
    assert growth.main(["--draw", "--out", str(tmp_path)]) == 2
    assert "nothing is measured yet" in capsys.readouterr().err
