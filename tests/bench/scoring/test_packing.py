"""The scorer's measurements run on a tiny model and show both sides; no test here looks at how fast anything is."""

import pytest

from bench.scoring.flops import flop_share
from bench.scoring.packing import expansion, latency, score_vs_generate


@pytest.mark.parametrize(
    ("measure", "sides"),
    [
        (score_vs_generate, {"score", "generate"}),
        (latency, {"score", "generate"}),
        (expansion, {"bounded", "whole"}),
        (flop_share, {"scorer", "product"}),
    ],
)
def test_a_scoring_measurement_shows_both_sides_of_every_round(setting, measure, sides, shows_both_sides):
    shows_both_sides(measure(setting, n_rows=4, rounds=2), sides, n_rounds=2)


def test_expansion_compares_the_two_ways_and_puts_the_setting_back(setting):
    default = setting.engine.unexpanded_mass
    assert expansion(setting, n_rows=4, rounds=1).facts["max_probability_difference"] < 1e-3
    assert setting.engine.unexpanded_mass == default > 0
