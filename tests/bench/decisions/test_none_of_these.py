"""Over made-up vectors: what was taught is told from what is new, and a file that is missing is said."""

from __future__ import annotations

import numpy as np
import pytest

from bench.decisions.none_of_these import main, measured, recalls
from bench.decisions.scope import N_DRAWS

RNG = np.random.default_rng(0)


def rows(middles: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    gold = np.repeat(middles, n)
    vectors = 3 * np.eye(16)[gold] + RNG.normal(size=(len(gold), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), gold


def test_what_was_taught_is_found_by_it_and_what_is_new_is_not() -> None:
    n_taught: list[int] = []
    each = dict(measured("one", {"one": rows(list(range(10)), 30), "other": rows([14, 15], 30)}, 40, n_taught))
    assert len(n_taught) == N_DRAWS
    # Two labels of 30 rows teach, those of them that are train rows.
    assert all(0 < n <= 40 for n in n_taught)
    assert list(each) == ["taught", "new", "far"]
    found = {kind: auroc for kind, (auroc, _) in each.items()}
    assert each["taught"][1]["score x none of these"].mean() > each["taught"][1]["score"].mean()
    assert list(found["new"]) == ["score", "none of these alone", "a label of its own", "score x none of these"]
    alone, both = (found["taught"][name].mean() for name in ("none of these alone", "score x none of these"))
    assert min(alone, both) > found["taught"]["score"].mean()
    assert found["far"]["none of these alone"].mean() < found["far"]["score x none of these"].mean()


def test_what_is_found_is_counted_at_the_threshold_that_keeps_95_of_100() -> None:
    values = np.concatenate([np.arange(100.0), [-1.0, 4.0, 50.0, 99.0]])
    assert recalls({"it": values}, np.arange(104) < 100) == {"it": 0.5}


def test_a_folder_without_the_datasets_is_refused_in_a_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
