"""Very many labels: what the comparison holds in memory does not grow with candidates x rows x labels."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from comparison_fakes import make_report

from labelwright.data.task import Example
from workbench.compare.candidate import Candidate, Kept
from workbench.compare.details import rows_jsonl
from workbench.compare.leaderboard import build
from workbench.report.markdown import markdown
from workbench.report.plots.captions import MOST_LABELS
from workbench.report.plots.figures import figures
from workbench.report.report import Report

N_ROWS, N_LABELS, N_CANDIDATES = 400, 400, 12


def kept_candidates(folder: Path, n_candidates: int = N_CANDIDATES) -> list[Candidate]:
    """Candidates as the comparison gives them, their probabilities in files."""
    rng, gold = np.random.default_rng(0), np.arange(N_ROWS) % N_LABELS
    candidates = []
    for number in range(n_candidates):
        logits = rng.normal(size=(N_ROWS, N_LABELS))
        logits[np.arange(N_ROWS), gold] += 6
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        path = folder / f"{number}.npz"
        np.savez(path, raw=probs, probs=probs)
        candidates.append(Candidate(f"r{number}", "baseline", raw=Kept(path, "raw"), probs=Kept(path, "probs")))
    return candidates


def rows_and_names() -> tuple[list[Example], list[str]]:
    names = [f"label {i}" for i in range(N_LABELS)]
    return [Example(str(i), f"text {i}", names[i % N_LABELS]) for i in range(N_ROWS)], names


def test_the_comparison_holds_few_probabilities_at_a_time(tmp_path: Path) -> None:
    candidates, (test, names) = kept_candidates(tmp_path), rows_and_names()
    all_of_them = 2 * N_CANDIDATES * N_ROWS * N_LABELS * 8
    # Imports, and whatever is made once.
    rows_jsonl(candidates[:2], build(candidates[:2], test, names, 100, 0), test)
    tracemalloc.start()
    try:
        board = build(candidates, test, names, 100, 0)
        rows_jsonl(candidates, board, test)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.75 * all_of_them, f"{peak / 1e6:.0f} MB, all probabilities are {all_of_them / 1e6:.0f} MB"


def test_a_kept_array_is_read_when_asked_for_and_a_given_one_is_given_back(tmp_path: Path) -> None:
    (candidate,) = kept_candidates(tmp_path, 1)
    assert candidate.probs.shape == (N_ROWS, N_LABELS)
    assert candidate.probs is not candidate.probs
    given = np.eye(3)
    assert Candidate("r", "llm", raw=given, probs=given).probs is given
    assert Candidate("r", "llm", failed="no").probs.size == 0


def test_of_very_many_labels_the_most_mistaken_are_drawn(tmp_path: Path) -> None:
    candidates, (test, names) = kept_candidates(tmp_path, 1), rows_and_names()
    probs = candidates[0].probs
    # Label 7 is taken for label 390 throughout.
    wrong = [i for i in range(N_ROWS) if i % N_LABELS == 7]
    probs[wrong] = np.eye(N_LABELS)[390]
    board = build([Candidate("r", "baseline", raw=probs, probs=probs)], test, names, 100, 0)
    axes = figures(make_report(board, test, names))["confusion"].axes[0]
    shown = [tick.get_text() for tick in axes.get_yticklabels()]
    shown = list(dict.fromkeys(shown))
    assert len(shown) == MOST_LABELS
    assert {"label 7", "label 390"} <= set(shown)
    assert shown == sorted(shown, key=names.index)
    assert f"the {MOST_LABELS} most mistaken of {N_LABELS} labels" in axes.get_title(loc="left")
    width, height = axes.get_figure().get_size_inches()
    assert max(width, height) < 20


def test_the_report_of_very_many_labels_is_small_and_quickly_read(tmp_path: Path) -> None:
    """What it keeps of the answers grows with the rows, not with the pairs of labels."""
    candidates, (test, names) = kept_candidates(tmp_path, 3), rows_and_names()
    report = make_report(build(candidates, test, names, 100, 0), test, names)
    written = json.dumps(report.to_json())
    assert len(written) < 1_000_000
    assert all(len(one.confusion) <= N_ROWS for one in report.tables.values())
    begun = time.process_time()
    again = Report.from_json(json.loads(written))
    assert time.process_time() - begun < 2
    assert markdown(again) == markdown(report)


@pytest.mark.parametrize("n_labels", [2, 3, 300])
def test_sums_by_label_are_the_matrix_products(n_labels: int) -> None:
    from labelwright.statistics.metrics import _sums_by_label

    rng = np.random.default_rng(n_labels)
    labels = rng.integers(0, n_labels + 1, size=50)
    weights = rng.integers(0, 4, size=(7, 50)).astype(float)
    expected = weights @ (labels[:, None] == np.arange(n_labels))
    assert (_sums_by_label(weights, labels, n_labels) == expected).all()
    assert (_sums_by_label(weights[0], labels, n_labels) == expected[0]).all()
