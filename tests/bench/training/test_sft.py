"""Fine-tuning is timed on both sides, and both are scored."""

import math

from bench.training.sft import sft_vs_trl


def test_fine_tuning_is_timed_and_scored_on_both_sides(setting, shows_both_sides):
    measured = sft_vs_trl(setting, n_rows=4, rounds=2, steps=2)
    shows_both_sides(measured, {"trl", "ours"}, n_rounds=2)
    facts = measured.facts
    assert facts["train_rows"] + facts["dev_rows"] == len(setting.examples)
    for side in ("untuned", "trl", "ours"):
        assert 0 <= facts[f"dev_{side}"]["accuracy"] <= 1
        assert math.isfinite(facts[f"dev_{side}"]["log_loss"])
    assert facts["dev_trl"] != facts["dev_untuned"] != facts["dev_ours"]
