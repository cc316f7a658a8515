"""The page shows what was measured."""

from bench.results_page import page
from bench.timing import Side, ratio


def test_the_page_shows_every_measurement():
    one = ratio("r", [2.9], goal=3.0, at_most=True, sides={"a": Side("s", (2.0,))})
    machine = {"cpu": "c", "threads": 2, "gpu": None, "torch": "t", "transformers": "f", "date": "d"}
    text = page({"machine": {**machine, "bf16_matmul_flops_per_s": 4e11}, "measurements": {"r": one.as_json()}})
    assert "| r | 2.90 x | 2.90 to 2.90 | at most 3 | yes | a 2.00 s |" in text
    assert "400 GFLOP/s" in text
