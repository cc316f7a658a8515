"""Ratios of times are taken in rounds."""

from bench.timing import Side, pairwise, ratio, take_turns


def test_sides_take_turns_and_a_ratio_is_the_median_of_the_rounds():
    log = []

    def side(name, values):
        return lambda: log.append(name) or values.pop(0)

    taken = take_turns({"a": side("a", [2.0, 9.0, 4.0]), "b": side("b", [1.0, 3.0, 1.0])}, rounds=3)
    assert log == ["a", "b"] * 3
    measured = ratio("r", pairwise(taken["a"], taken["b"]), goal=3.0, sides={"a": Side("s", tuple(taken["a"]))})
    # Ratios 2, 3, 4: the ratio of the medians would be 4.
    assert (measured.low, measured.value, measured.high) == (2.0, 3.0, 4.0)
    assert measured.reached
    assert measured.as_json()["sides"]["a"] == {"unit": "s", "median": 4.0, "values": [2.0, 9.0, 4.0]}
    assert ratio("r", [2.9], goal=3.0, sides={}).reached is False
    assert ratio("r", [2.9], sides={}).reached is None
    assert ratio("r", [2.9], goal=3.0, at_most=True, sides={}).reached is True
    assert ratio("r", [3.1], goal=3.0, at_most=True, sides={}).reached is False
