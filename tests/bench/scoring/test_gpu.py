"""What only a GPU can tell is refused in one line where there is none."""

import pytest
import torch

from bench.scoring import gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line(capsys):
    assert gpu.main(["runs/homeowner.toml"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: no GPU: torch sees no CUDA device")
    assert said.err.count("\n") == 1
