"""Time a row with many labels is held against few."""

from bench.scoring.labels import codes_151_vs_18


def test_time_is_compared_between_many_and_few_labels(setting, monkeypatch, shows_both_sides):
    monkeypatch.setattr("bench.scoring.labels.N_CODES", 12)  # the tiny model reads 512 tokens
    measured = codes_151_vs_18(setting, n_rows=4, rounds=2)
    shows_both_sides(measured, {"many", "few"}, n_rounds=2)
    assert measured.at_most
    assert (measured.facts["many"]["labels"], measured.facts["few"]["labels"]) == (12, 18)
