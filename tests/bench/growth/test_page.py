"""The page has every case, and a picture a dimension."""

from bench.growth.cases import Measured, series
from bench.growth.page import draw, page

ALL = series("tiny", quick=True)


def found(*names):
    own = [one for one in ALL if one.name in names]
    return {one.key(x): Measured(0.01 * x, 0.02 * x, 1_000_000 * x) for one in own for x in one.xs}


def test_cases_and_exponents_are_there(tmp_path):
    said = page(ALL, found("n-grams"), {"rows, model, 10": "it would take long"}, "A machine.")
    assert "| n-grams | 1,000 | 10 | 20 | 1000 |" in said
    # Two cases say how the last step was, and no more.
    assert "| n-grams | not told | x^1.00 | not told | x^1.00 | nowhere |" in said
    assert "- rows, model, 10: left out, it would take long.\n- rows, model: not measured at 30.\n" in said
    assert "- threads, model: not measured at 1, 2." in said
    assert "## Threads" not in said
    draw(ALL, found("n-grams"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.svg", "rows.svg", "tokens.svg"]
    assert said.count(".svg") == 3


def test_the_same_cases_give_the_same_picture(tmp_path):
    draw(ALL, found("n-grams"), tmp_path)
    first = (tmp_path / "rows.svg").read_bytes()
    draw(ALL, found("n-grams"), tmp_path)
    assert (tmp_path / "rows.svg").read_bytes() == first


def test_growth_is_told_without_its_start():
    (rows,) = [one for one in series("tiny") if (one.dimension, one.name) == ("rows", "n-grams")]
    cases = {rows.key(x): Measured(1 + 0.001 * x, 1.0, 50_000_000) for x in rows.xs}
    said = page([rows], cases, {}, "A machine.")
    assert "| n-grams | x^1.00 | x^1.00 | not told | x^0.00 | nowhere |" in said
    assert "Not on this page" not in said
