import pytest

from labelwright.data.asked.levels import level_values


@pytest.mark.parametrize(
    ("names", "values"),
    [(("1", "2.5"), [1, 2.5]), (("3", "1"), [1, 2]), (("low", "2"), [1, 2]), (("1", "nan", "inf"), [1, 2, 3])],
)
def test_what_levels_count_as(names, values):
    assert level_values(names) == values
