"""Memory of a training step, by labels: each number is of a process of its own."""

import pytest

from bench.scoring import label_memory
from labelwright.engines.packed.chunks import CHUNK_TOKENS

UNBOUNDED, USUAL = label_memory.UNBOUNDED, CHUNK_TOKENS["cpu"]


@pytest.mark.parametrize(
    ("more", "bounds"),
    [([], [UNBOUNDED, USUAL]), (["--chunks"], [USUAL]), (["--chunks", "--tokens", "512"], [512])],
)
def test_every_number_of_labels_is_measured(monkeypatch, capsys, more, bounds):
    asked = []
    monkeypatch.setattr(label_memory, "_in_a_process", lambda *one: asked.append(one) or ["5", "7", "1.5"])
    assert label_memory.main(["--labels", "30", "4000", *more]) == 0
    assert asked == [(n_labels, most) for n_labels in (30, 4000) for most in bounds]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(asked)
    assert lines[-1].startswith(f" 4000 labels,      5 tokens, chunks of {bounds[-1]:<4}:      7 MiB, 1.5 s")


def test_a_step_is_measured_beyond_what_its_process_holds_already():
    n_tokens, mebibytes, seconds = label_memory._in_a_process(60, UNBOUNDED)
    # 4 rows of 40 tokens, and behind each a node for every 50 labels and two for each.
    assert int(n_tokens) == 4 * (40 + 2 + 2 * 60)
    # A process that has only imported torch holds more than that.
    assert 0 < int(mebibytes) < 250
    assert float(seconds) > 0
