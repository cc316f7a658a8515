"""What only a GPU can tell is refused in one line where there is none."""

import pytest
import torch

from bench.scoring import gpu
from bench.timing import Measurement, Side


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(capsys):
    assert gpu.main(["runs/homeowner.toml"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no GPU: torch sees no CUDA device")
    assert said.err.count("\n") == 1


def test_a_comparison_that_fails_is_a_line_and_the_next_one_is_made(monkeypatch, capsys):
    def refuses(*_):
        raise RuntimeError("first line\nno memory for the cache")

    step = Measurement("grpo_step_vs_trl", 2.0, "x", 1.5, 2.5, sides={"trl": Side("s/step", (2.0,))})
    monkeypatch.setattr(gpu, "on_gpu", lambda recipe: None)
    monkeypatch.setattr(gpu, "joined", lambda setting, n_rows: setting)
    monkeypatch.setattr(gpu, "alone", lambda setting, rounds: iter(["score alone: 1 rows a call"]))
    monkeypatch.setattr(gpu, "require_vllm", lambda setting: setting)
    monkeypatch.setattr(gpu, "score_vs_vllm_in_process", refuses)
    monkeypatch.setattr(gpu, "step_vs_trl", lambda setting, rounds: step)
    assert gpu.main(["runs/homeowner.toml"]) == 2
    said = capsys.readouterr()
    assert said.err == "error: no memory for the cache\n"
    assert "score alone: 1 rows a call" in said.out
    assert "grpo_step_vs_trl: ratio 2.00 [1.50, 2.50]" in said.out
